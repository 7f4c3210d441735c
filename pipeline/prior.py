"""How often each age band occurs in photos without labels: the mix that best explains their answers.

A specialist's answers distribute in its own way for each true label, and that way is known from the
validation people. Photos without labels are a mix of those distributions; the mix of greatest likelihood is
found by EM (Saerens, Latinne, Decaestecker 2002). With few people the distribution of the age answer in a
band is not read off that band alone: answers are regressed on true age, the residuals of all people are
pooled, and a band is the mix of those residuals over the ages of its people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS
from pipeline.answers import Known

STEP = 0.25
"""The bins of age answers, in years: well below any network's error."""
SMOOTHING = 0.75
"""The standard deviation, in years, of the kernel over pooled residuals."""
PULL = 30.0
"""A band's own scale and gender confusion count as its people against this many of the pool."""
WIDE = 0.1
"""How far mixes vary between photo sets at the least, when the uncertainty of one is told."""
ROUNDS = 8
"""The line and the bands' offsets from it are fitted in turn so often."""
CLASSES = len(BANDS) * len(GENDERS)
"""The labels of the mix; a class is band * 2 + gender."""


class AnswerModel:
    """The distribution of (age answer, answered gender) for each band and gender, from validation people.

    rows: validation answers beside the truth; span: the lowest and highest answer to provide for. The
    histograms' codes are prepared once, so that `density` for resampled people takes a millisecond.
    """

    def __init__(self, rows: Known, span: tuple[float, float]) -> None:
        first = rows.first
        self.rows, self.age, self.band = rows, rows.age[first], rows.band[first]
        self.mean = np.bincount(rows.person, rows.answer) / np.bincount(rows.person)
        start = np.floor(min(span[0], rows.answer.min())) - 1
        stop = np.ceil(max(span[1], rows.answer.max())) + 1
        self.grid = np.arange(start, stop + STEP, STEP)
        self.reach = int(np.ceil((stop - start) / STEP))
        self.answered = rows.cell % len(GENDERS)
        bend = np.arange(-4 * SMOOTHING, 4 * SMOOTHING + STEP / 2, STEP)
        self.kernel = np.exp(-0.5 * (bend / SMOOTHING) ** 2)
        self.kernel /= self.kernel.sum()

    def line(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """(P,) the answer to expect of each person: a line in age and an offset for each band.

        weights: (P,) times each person counts. An offset is kept as far as it exceeds its own error, so
        it is drawn toward the line when a band has few people (James and Stein 1961, positive part).
        """
        w = np.ones(len(self.age)) if weights is None else weights
        people = np.maximum(np.bincount(self.band, w, minlength=len(BANDS)), 1e-9)
        age = self.age - w @ self.age / w.sum()
        spread = max(w @ age**2, 1e-9)
        offset = np.zeros(len(BANDS))
        for _ in range(ROUNDS):
            straight = self.mean - offset[self.band]
            line = w @ straight / w.sum() + (w @ (age * straight)) / spread * age
            rest = self.mean - line
            own = np.bincount(self.band, w * rest, minlength=len(BANDS)) / people
            error = (w @ (rest - own[self.band]) ** 2) / w.sum() / people
            offset = own * np.maximum(0.0, 1 - error / np.maximum(own**2, 1e-12))
        return line + offset[self.band]

    def density(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """(6, bins * 2) chances of each (answer bin, answered gender), for each class; rows sum to one."""
        rows, person = self.rows, self.rows.person
        w = np.ones(len(self.age)) if weights is None else weights
        expected, by_photo = self.line(w), w[person]
        residual = rows.answer - expected[person]
        people = np.bincount(self.band, w, minlength=len(BANDS))
        photos = np.maximum(np.bincount(rows.band, by_photo, minlength=len(BANDS)), 1e-9)
        square = np.bincount(rows.band, by_photo * residual**2, minlength=len(BANDS))
        pool = square.sum() / photos.sum()
        scale = np.sqrt((square / photos * people + pool * PULL) / (people + PULL)) + 1e-9
        # the kernel widens residuals: they are narrowed first, so that their variance stays
        narrow = np.sqrt(np.maximum(0.0, 1 - SMOOTHING**2 / scale**2))
        unit = residual / scale[rows.band]
        gender = self._gender(by_photo, people)
        density = np.empty((len(BANDS), len(self.grid)))
        for b in range(len(BANDS)):
            tail = self._bin(unit * scale[b] * narrow[b] / STEP + self.reach, by_photo, 2 * self.reach + 1)
            here = self.band == b
            ages = self._bin((expected[here] - self.grid[0]) / STEP, w[here], len(self.grid))
            smooth = np.convolve(tail, self.kernel, "same")
            density[b] = np.convolve(ages, smooth)[self.reach : self.reach + len(self.grid)]
        density = np.maximum(density, 1e-9 * density.sum(1, keepdims=True)) + 1e-300
        density /= density.sum(1, keepdims=True)
        return (density[:, None, :, None] * gender[:, :, None, :]).reshape(CLASSES, -1)

    def code(self, answer: NDArray, gender: NDArray) -> NDArray[np.int64]:
        """The column of `density` for each age answer and answered gender; any shape."""
        place = np.clip(np.rint((answer - self.grid[0]) / STEP), 0, len(self.grid) - 1)
        return place.astype(np.int64) * len(GENDERS) + gender

    def histogram(self, code: NDArray, weights: NDArray | None = None) -> NDArray[np.float64]:
        """(bins * 2,) weight of each column of `density` among the codes."""
        size = len(self.grid) * len(GENDERS)
        return np.bincount(code, weights, minlength=size).astype(np.float64)

    def _gender(self, by_photo: NDArray, people: NDArray) -> NDArray:
        """(3, 2, 2) chances of the answered gender by band and true gender, each band drawn to the pool."""
        code = (self.rows.band * 2 + self.rows.gender) * 2 + self.answered
        count = np.bincount(code, by_photo, minlength=12).reshape(3, 2, 2)
        pool = count.sum(0) + 0.5
        pool /= pool.sum(1, keepdims=True)
        own = count / np.maximum(count.sum(2, keepdims=True), 1e-9)
        own = np.where(count.sum(2, keepdims=True) > 0, own, pool)
        people = people[:, None, None]
        return (own * people + pool * PULL) / (people + PULL)

    @staticmethod
    def _bin(place: NDArray, weights: NDArray, size: int) -> NDArray[np.float64]:
        """Shares of weight, each split between its two neighbouring bins."""
        place = np.clip(place, 0, size - 1.001)
        low = place.astype(np.int64)
        upper = weights * (place - low)
        table = np.bincount(low, weights - upper, minlength=size)
        table[1:] += np.bincount(low, upper, minlength=size)[:-1]
        return table / max(table.sum(), 1e-300)


def em(
    density: NDArray, count: NDArray, steps: int = 1000, tolerance: float = 1e-7, start: NDArray | None = None
) -> NDArray[np.float64]:
    """(K,) the mix of greatest likelihood (Saerens et al. 2002), each two steps extrapolated.

    density: (K, C) chances of each cell for each class; count: (C,) photos in each cell; start: (K,), of equal shares
    where left out, which answers that tell nothing do not leave. The extrapolation (SQUAREM, Varadhan and Roland 2008)
    is dropped wherever it would lower the likelihood.
    """
    used = count > 0
    density, count = density[:, used], count[used] / count.sum()
    mix = np.full(len(density), 1 / len(density)) if start is None else start

    def step(mix: NDArray) -> NDArray:
        return mix * (density @ (count / (mix @ density)))

    for _ in range(steps):
        one = step(mix)
        two = step(one)
        if np.abs(two - mix).max() < tolerance:
            return two
        first, second = one - mix, two - 2 * one + mix
        length = np.sqrt((first @ first) / max(second @ second, 1e-300))
        if length > 1:
            far = np.maximum(mix + 2 * length * first + length**2 * second, 0.1 * two)
            far /= far.sum()
            if count @ np.log(far @ density) >= count @ np.log(two @ density):
                two = far
        mix = two
    return mix


def misfit(density: NDArray, mix: NDArray, count: NDArray) -> float:
    """How unlike the answers are to the fitted mix: the Cramer-von Mises distance of the age answers.

    density: (K, C) with the answered gender innermost; mix: (K,); count: (C,).
    """
    fitted = (mix @ density).reshape(-1, len(GENDERS)).sum(1)
    seen = (count / count.sum()).reshape(-1, len(GENDERS)).sum(1)
    return float(np.sqrt(((np.cumsum(seen) - np.cumsum(fitted)) ** 2) @ fitted))


@dataclass(frozen=True)
class Estimate:
    """The mix of photos without labels, and what is not known about it.

    raw, mix: (3,) shares by band, as EM gave them and drawn toward the train mix; shares: (6,) the latter by
    band * 2 + gender; draws: (B, 6) plausible mixes around `shares`; trust: how far from the train mix to
    the raw estimate the old share went (1 all the way); distance, limit: of the answers from the fitted mix,
    and the 95 % quantile of it for answers that are such a mix.
    """

    raw: NDArray[np.float64]
    mix: NDArray[np.float64]
    shares: NDArray[np.float64]
    draws: NDArray[np.float64]
    trust: float
    distance: float
    limit: float

    @property
    def unlike(self) -> bool:
        """Whether the answers look unlike any mix of validation answers."""
        return self.distance > self.limit


def person_weights(rows: Known, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(draws, P) times each person is drawn, with replacement inside each gender x band."""
    stratum = rows.gender[rows.first] * len(BANDS) + rows.band[rows.first]
    weights = np.zeros((draws, rows.people), np.int64)
    for s in np.unique(stratum):
        inside = np.flatnonzero(stratum == s)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=draws)
    return weights


def estimate(
    rows: Known,
    answer: NDArray,
    gender: NDArray,
    weights: NDArray,
    photos_per_person: float,
    rng: np.random.Generator,
) -> Estimate:
    """The mix of eval photos, from single-network answers, with its uncertainty.

    rows: the validation people; answer, gender: (n, K) age answers and answered genders of n eval photos by
    K networks, NaN and any number where a network is missing; weights: (B, P) resampled validation people.
    Each draw resamples validation people and eval photos together; the photos of a person are alike, so n
    photos count as n / photos_per_person.
    """
    known = np.isfinite(answer)
    model = AnswerModel(rows, (float(answer[known].min()), float(answer[known].max())))
    code = np.where(known, model.code(np.where(known, answer, 0.0), gender), 0)
    share = known / known.sum(1, keepdims=True)
    size = count_as(len(code), photos_per_person)
    density, count = model.density(), model.histogram(code.ravel(), share.ravel())
    shares = em(density, count)

    own = model.code(rows.answer, model.answered)
    band_of = rows.band[rows.first] * len(GENDERS) + rows.gender[rows.first]
    people = np.bincount(band_of, minlength=CLASSES)
    chance = np.where(people > 0, shares / np.maximum(people, 1), 0)[band_of]
    chance /= chance.sum()
    draws, distances = np.empty((len(weights), CLASSES)), np.empty(len(weights))
    for i, w in enumerate(weights):
        drawn = model.density(w)
        some = rng.integers(0, len(code), size)
        draws[i] = em(drawn, model.histogram(code[some].ravel(), share[some].ravel()))
        # eval people made of validation people in the fitted mix: how far from a fit may such answers be?
        made = model.histogram(own, rng.multinomial(size, chance)[rows.person].astype(np.float64))
        distances[i] = misfit(drawn, em(drawn, made), made)
    train = people / people.sum()
    used, moved, trust = draw_in(shares, draws, train)
    return Estimate(
        raw=shares.reshape(len(BANDS), -1).sum(1),
        mix=used.reshape(len(BANDS), -1).sum(1),
        shares=used,
        draws=moved,
        trust=trust,
        distance=misfit(density, shares, count),
        limit=float(np.quantile(distances, 0.95)),
    )


def count_as(photos: int, photos_per_person: float) -> int:
    """As how many people photos count whose persons are not known."""
    return max(2, round(photos / photos_per_person))


def draw_in(
    shares: NDArray, draws: NDArray, train: NDArray, usual: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The estimate and its draws, drawn toward the train mix by as much as they are uncertain.

    shares, train: (6,) by band * 2 + gender; draws: (B, 6) the estimate from resampled people. Returns both drawn in,
    and how far from the train mix to the estimate the old share went. usual: up to which
    squared distance from the train mix, in errors, the estimate becomes the train mix.
    Between photo sets the mix varies like t * (diag(train) - train train'), as under a Dirichlet; t is the
    least that makes the distance of the estimate from the train mix unsurprising (empirical Bayes, Efron and
    Morris 1973). An estimate within its own error of the train mix becomes the train mix.
    """
    bands = [table.reshape(*table.shape[:-1], len(BANDS), -1).sum(-1) for table in (shares, draws, train)]
    ends = [table[..., [0, 2]] for table in bands]
    error = np.cov(ends[1].T) + 1e-9 * np.eye(2)
    base = np.diag(ends[2]) - np.outer(ends[2], ends[2])
    away = ends[0] - ends[2]
    t = _scale(base, error, away, usual)
    gain = t * base @ np.linalg.inv(t * base + error)
    used = ends[2] + gain @ away
    # draws keep the estimate's spread: the noise of the estimate, narrowed as the gain narrows it
    # (and never below what a wide prior leaves: the train mix itself is a guess)
    wide = max(t, WIDE) * base
    left = wide @ np.linalg.inv(wide + error) @ error
    root = np.linalg.cholesky((left + left.T) / 2) @ np.linalg.inv(np.linalg.cholesky(error))
    around = used + (ends[1] - ends[1].mean(0)) @ root.T
    # no share is negative: what would be is turned back. The label of a band that does not occur is not
    # scored, so a mix without old people has no say in their threshold and need not be drawn
    turned = np.abs(around)
    used = np.abs(used + turned.mean(0) - around.mean(0))
    trust = float(np.clip(gain[1] @ away / away[1], 0, 1)) if abs(away[1]) > 1e-9 else 0.0
    inside = _genders(shares, train, trust)
    return _joint(used, inside), _joint(turned, inside), trust


def _genders(shares: NDArray, train: NDArray, trust: float) -> NDArray[np.float64]:
    """(3, 2) shares of the genders inside each band: between the train people's and the estimate's."""
    pair = [table.reshape(len(BANDS), -1) for table in (shares, train)]
    inside = [table / np.maximum(table.sum(1, keepdims=True), 1e-9) for table in pair]
    return np.where(pair[0].sum(1, keepdims=True) > 1e-3, trust * inside[0] + (1 - trust) * inside[1], inside[1])


def _joint(ends: NDArray, inside: NDArray) -> NDArray[np.float64]:
    bands = np.stack([ends[..., 0], 1 - ends.sum(-1), ends[..., 1]], axis=-1)
    bands = np.clip(bands, 1e-3, 1)
    bands /= bands.sum(-1, keepdims=True)
    return (bands[..., None] * inside).reshape(*bands.shape[:-1], CLASSES)


def _scale(base: NDArray, error: NDArray, away: NDArray, usual: float) -> float:
    def surprise(t: float) -> float:
        return float(away @ np.linalg.solve(t * base + error, away))

    low, high = 0.0, 1.0
    if surprise(low) <= usual:
        return 0.0
    while surprise(high) > 1 and high < 1e6:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if surprise(middle) > 1 else (low, middle)
    return high
