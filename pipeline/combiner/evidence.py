"""How well each prior of the age bands, three shares, explains photos without labels.

Predictions distribute in each band in a way that is known from the validation people (`densities`); those of photos
without labels are a mixture of these. For each prior that may be, Rao's score statistic (1948) tells how far the
predictions are from what that prior would show, in units of what chance would do to it: that of the validation people
behind the densities, and that of the eval people. The unit of chance is a person, since a person's photos are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from models.labels import BANDS, GENDERS
from pipeline.combiner.densities import Densities

TOWARD_MULTINOMIAL = 5.0
"""As how many people the noise of photos drawn by chance counts beside that of a band's own people."""
GENDER_SHIFT = 1.0
"""The deviation, in logits, of what the genders of photos are expected to be shifted by."""
TINY = 1e-9
"""A variance, in squared shares, below what people can be told apart by."""


def chi2_quantile(share: float, degrees: int) -> float:
    """Of the chi-squared distribution; scipy.stats would say the same a fifth of a second later."""
    return float(2 * gammaincinv(degrees / 2, share))


def em(density: NDArray, count: NDArray, steps: int = 1000, tolerance: float = 1e-7) -> NDArray[np.float64]:
    """(K,) the prior of greatest likelihood (Saerens et al. 2002), each two steps extrapolated.

    density: (K, C) probabilities of each cell for each class; count: (C,) photos in each cell. The extrapolation
    (SQUAREM, Varadhan and Roland 2008) is dropped wherever it would lower the likelihood.
    """
    used = count > 0
    density, count = density[:, used], count[used] / count.sum()
    prior = np.full(len(density), 1 / len(density))

    def step(prior: NDArray) -> NDArray:
        return prior * (density @ (count / (prior @ density)))

    for _ in range(steps):
        one = step(prior)
        two = step(one)
        if np.abs(two - prior).max() < tolerance:
            return two
        first, second = one - prior, two - 2 * one + prior
        length = np.sqrt((first @ first) / max(second @ second, 1e-300))
        if length > 1:
            far = np.maximum(prior + 2 * length * first + length**2 * second, 0.1 * two)
            far /= far.sum()
            if count @ np.log(far @ density) >= count @ np.log(two @ density):
                two = far
        prior = two
    return prior


@dataclass(frozen=True)
class Evidence:
    """What photos without labels say about the prior of the bands.

    density (3, F) of each band, with the genders that the photos have; raw (3, F) the same, not smoothed; noise
    (3, F, F) how a person of a band varies around it; people (3,) as how many people each density rests on; seen (F,)
    the photos' shares of the cells; eval_people: as how many people the photos count; genders (3, 2) shares of the
    genders inside each band.
    """

    density: NDArray[np.float64]
    raw: NDArray[np.float64]
    noise: NDArray[np.float64]
    people: NDArray[np.float64]
    seen: NDArray[np.float64]
    eval_people: float
    genders: NDArray[np.float64]

    @property
    def likeliest(self) -> NDArray[np.float64]:
        """(3,) the prior of greatest likelihood."""
        return em(self.density, self.seen)

    def statistic(self, priors: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The score statistic (Q,) of priors (Q, 3), and the logarithm of how sharply it tells priors apart there (Q,).

        Were a prior the true one, its statistic would be drawn from chi-squared with two degrees of freedom.
        """
        mixed = priors @ self.density
        ends = self.density[[0, 2]] - self.density[1]
        score = ends / mixed[:, None, :]  # (Q, 2, F)
        off = score @ self.seen
        times = priors / self.eval_people + priors**2 / self.people
        flat = score.reshape(-1, score.shape[-1])
        variance = np.zeros((len(priors), 2, 2))
        for band, noise in enumerate(self.noise):
            spread = (flat @ noise).reshape(score.shape) @ score.transpose(0, 2, 1)
            variance += times[:, band, None, None] * spread
        variance += TINY * np.eye(2)
        information = score @ ends.T
        found = (off[:, None, :] @ np.linalg.solve(variance, off[:, :, None]))[:, 0, 0]
        _, sharp = np.linalg.slogdet(information)
        _, width = np.linalg.slogdet(variance)
        return found, sharp - width / 2

    def misfit(self) -> float:
        """How far the photos are from the nearest mixture of real predictions: Hansen's J (1982), cells joined to ten.

        Were they a mixture of the bands, it would be near chi-squared with seven degrees of freedom; what is usual for
        such predictions is found on one's own people.
        """
        prior = self.likeliest
        joined, turned = self._turned(prior)
        # the fitted prior may go along two ways: what is left across them is the misfit
        ways = turned @ ((self.raw[[0, 2]] - self.raw[1]) @ joined).T
        rest = turned @ ((self.seen - prior @ self.raw) @ joined)
        rest -= ways @ np.linalg.lstsq(ways, rest, rcond=None)[0]
        return float(rest @ rest)

    def misfit_of(self, ages: NDArray, prior: NDArray) -> float:
        """The same of predicted ages that another model expects, (F / 2,), in a prior (3,); nothing is taken off."""
        joined, turned = self._turned(prior)
        expected = np.repeat(ages / len(GENDERS), len(GENDERS))
        rest = turned @ ((self.seen - expected) @ joined)
        return float(rest @ rest)

    def _turned(self, prior: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cells joined to ten (F, 9), and what makes the noise of those even in a prior (3,), (9, 9)."""
        joined = _joined(self.raw.shape[1])
        times = prior / self.eval_people + prior**2 / self.people
        noise = np.einsum("b,bfg->fg", times, self.noise)
        variance = joined.T @ noise @ joined
        variance += (1e-3 * np.trace(variance) / len(variance) + TINY) * np.eye(len(variance))
        return joined, np.linalg.inv(np.linalg.cholesky(variance))


def evidence(densities: Densities, seen: NDArray, eval_people: float) -> Evidence:
    """What photos say, given the densities.

    seen: (F,) their shares of the cells; eval_people: as how many people they count. The genders inside the bands are
    those of the validation people, all bands shifted alike toward the predicted genders that are seen, as far as these
    tell.
    """
    people = densities.people.reshape(len(BANDS), -1)
    train = people / np.maximum(people.sum(1, keepdims=True), 1)
    women = seen.reshape(-1, len(GENDERS)).sum(0)[1]
    genders, by_gender = train, densities.density.reshape(len(BANDS), len(GENDERS), -1)
    said = by_gender.reshape(len(BANDS), len(GENDERS), -1, len(GENDERS)).sum(2)[..., 1]
    about = (women * eval_people + 0.5) / (eval_people + 1)  # nobody seen is not nobody for sure
    error = about * (1 - about) * (1 / eval_people + 1 / people.sum())
    for _ in range(4):
        prior = em(np.einsum("bg,bgf->bf", genders, by_gender), seen)
        genders = _shifted(train, prior, said, women, error)
    density = np.einsum("bg,bgf->bf", genders, by_gender)
    noise, raw = _noise(densities, genders, density)
    return Evidence(
        density=density,
        raw=raw,
        noise=noise,
        people=1 / np.maximum((genders**2 / np.maximum(people, 1)).sum(1), TINY),
        seen=seen,
        eval_people=eval_people,
        genders=genders,
    )


def _noise(densities: Densities, genders: NDArray, density: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, F, F) how a person of a band varies around the mean of their class, and (3, F) the mean of a band.

    Few people tell little of how much people vary: each band's noise is drawn toward that of photos which fall by the
    density (3, F), as many times as large as it is for all bands.
    """
    own, free, raw = [], [], []
    for band in range(len(BANDS)):
        inside = densities.kind // len(GENDERS) == band
        kind, shares = densities.kind[inside] % len(GENDERS), densities.shares[inside]
        mean = [shares[kind == g].mean(0) if (kind == g).any() else shares.mean(0) for g in range(len(GENDERS))]
        mean = np.stack(mean)
        raw.append(genders[band] @ mean)
        rest = shares - mean[kind]
        weight = (genders[band] / np.maximum(np.bincount(kind, minlength=len(GENDERS)), 1))[kind]
        free.append(len(shares) - len(np.unique(kind)))
        own.append((rest * weight[:, None]).T @ rest * (len(shares) / max(free[-1], 1)))
    multinomial = np.stack([np.diag(row) - np.outer(row, row) for row in density])
    free, own = np.array(free), np.stack(own)
    traces = [np.trace(table, axis1=1, axis2=2) for table in (own, multinomial)]
    times = (free @ traces[0]) / (free @ traces[1]) if free.any() else 1.0
    weight = (free / (free + TOWARD_MULTINOMIAL))[:, None, None]
    return weight * own + (1 - weight) * times * multinomial, np.stack(raw)


def _shifted(train: NDArray, prior: NDArray, said: NDArray, women: float, error: float) -> NDArray[np.float64]:
    """(3, 2) genders inside the bands: those of train (3, 2), their odds times one factor for all bands.

    prior (3,); said (3, 2): how often each is predicted to be a woman; women: how often that is seen, with an error of
    that variance. The factor's logarithm is drawn toward 0 as Gaussians of GENDER_SHIFT and of its error have it.
    """

    def genders(shift: float) -> NDArray:
        made = train * np.exp([0.0, shift])
        return made / np.maximum(made.sum(1, keepdims=True), 1e-300)

    low, high = -4.0, 4.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if prior @ (genders(middle) * said).sum(1) < women else (low, middle)
    inside = genders(middle)
    slope = prior @ (inside.prod(1) * (said[:, 1] - said[:, 0]))  # of the predicted women over the shift
    return genders(middle * slope**2 * GENDER_SHIFT**2 / max(slope**2 * GENDER_SHIFT**2 + error, 1e-300))


def _joined(cells: int, groups: int = 10) -> NDArray[np.float64]:
    """(F, groups - 1) which group of the predicted ages a cell is in; the last is left out, as shares sum to one."""
    bins = cells // len(GENDERS)
    group = np.arange(bins) * min(groups, bins) // bins
    return np.repeat(np.eye(group.max() + 1)[group], len(GENDERS), axis=0)[:, :-1]
