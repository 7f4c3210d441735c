"""The prior of the age bands of photos without labels, with what is not known about it and what it is worth.

The estimate is the mean of the priors that the photos leave possible (`posterior`), given how predictions distribute in
each band (`densities`), both after the estimate was tried on one's own people (`self_test`). Where no prior explains
the photos and other ages inside the bands do, these are taken (`deconvolution`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS
from pipeline.combiner.age_bins import AgeBins
from pipeline.combiner.deconvolution import Deconvolution, deconvolve
from pipeline.combiner.densities import Densities, choose_smoothing
from pipeline.combiner.evidence import Evidence, chi2_quantile, evidence
from pipeline.combiner.posterior import posterior
from pipeline.combiner.self_test import Score, SelfTest, self_test
from pipeline.prediction.labelled import LabelledPredictions

SETS = 200
"""So many sets of one's own people are tried."""
UNTRIED = 2.0
"""How much wider than chi-squared the statistic is taken to be where there are too few people to try it on."""
MOVED = tuple(range(-10, 11))
STRETCHED = (0.8, 0.9, 1.0, 1.1, 1.25)
"""By so many years, and so many times, another camera may move and stretch predictions: that tells of no other ages."""
UNKNOWN = 0.1
"""No more than this share of the photos may be of ages that hardly a validation person has."""
ROUNDS = 3
"""The noise of the densities depends on the prior: so often both are found in turn."""
USUAL = chi2_quantile(0.95, 7)
"""The usual misfit there."""


@dataclass(frozen=True)
class Estimate:
    """The prior of photos without labels.

    raw, prior: (3,) shares by band, of greatest likelihood and as estimated; shares: (6,) the latter by band * 2 +
    gender; draws: (B, 6) priors that the photos leave possible; misfit, limit: how far the photos are from any mixture
    of validation predictions, and how far is usual; tried: on one's own people, None where they are too few; ages: what
    the others rest on where ages shift inside bands, None where they do not.
    """

    raw: NDArray[np.float64]
    prior: NDArray[np.float64]
    shares: NDArray[np.float64]
    draws: NDArray[np.float64]
    misfit: float
    limit: float
    tried: SelfTest | None
    ages: ShiftedAges | None = None

    @property
    def unlike(self) -> bool:
        """Whether the photos are unlike what differs from the validation people in nothing but their ages.

        Few people cannot tell.
        """
        return self.tried is not None and self.misfit > self.limit and self.ages is None

    @property
    def beyond(self) -> bool:
        """Whether the photos are more unlike than any set of one's own people was: no prior explains them."""
        return self.unlike and _beyond(self.tried, self.misfit)

    @property
    def step(self) -> float:
        """How far from the train prior toward the estimate labels are best chosen for, as found on one's own people.

        0 where nobody was tried, or where no prior explains the photos.
        """
        return 0.0 if self.tried is None or self.beyond else self.tried.step


@dataclass(frozen=True)
class ShiftedAges:
    """Other ages inside the bands than the validation people's.

    start: (K,) the youngest age of each bin of ages; factor: (K,) how often its people count beside those of other bins
    of its band, NaN where nobody is held out; weights: (P,) the same of each validation person, one in the mean of a
    class; draws: (B, P) weights that the photos leave possible; as_in_train: (3,) the prior if ages inside the bands
    were the validation people's.
    """

    start: NDArray[np.float64]
    factor: NDArray[np.float64]
    weights: NDArray[np.float64]
    draws: NDArray[np.float64]
    as_in_train: NDArray[np.float64]


def estimate(
    rows: LabelledPredictions,
    age: NDArray,
    gender: NDArray,
    eval_people: float,
    group: NDArray,
    draws: int = 200,
    seed: int = 0,
    score: Score | None = None,
) -> Estimate:
    """The prior of eval photos, from single-network predictions.

    rows: the validation people; age, gender: (n, K) predicted ages and genders of n eval photos by K networks, NaN and
    any number where a network is missing; eval_people: as how many people the photos count; group: (P,) people are held
    out together, to choose a smoothing, who have the same number; score: of `self_test`.
    """
    smoothing = choose_smoothing(rows, group)
    densities = Densities(rows, smoothing)
    found = _seen(densities, age, gender, eval_people)
    tried = self_test(rows, smoothing, SETS, seed, score)
    misfit, limit = found.misfit(), USUAL if tried is None else tried.limit
    possible = posterior(found, rows.counts / rows.people, _widen(tried, misfit, limit))
    priors = np.concatenate([possible.mean[None], possible.draws(draws, np.random.default_rng([seed, 15]))])
    ages = None
    if tried is not None and _beyond(tried, misfit):
        bins = AgeBins(rows)
        other = _deconvolved(bins, densities, found, group, tried.widen, draws, seed)
        explains = found.misfit_of(other.fitted, other.prior) <= limit and bins.unknown(other.factor) <= UNKNOWN
        if explains and _moved(found, densities, age, gender) > limit:
            priors, ages = np.concatenate([other.prior[None], other.priors]), _shift(bins, other, possible.mean)
    shares = (priors[:, :, None] * found.genders).reshape(-1, len(BANDS) * len(GENDERS))
    return Estimate(found.likeliest, priors[0], shares[0], shares[1:], misfit, limit, tried, ages)


def _seen(densities: Densities, age: NDArray, gender: NDArray, people: float) -> Evidence:
    """What predictions (n, K) say, NaN where a network is missing; people: as how many the photos count."""
    known = np.isfinite(age)
    code = densities.code(np.where(known, age, 0.0), gender)
    weight = known / known.sum(1, keepdims=True) / len(age)
    seen = np.bincount(code.ravel(), weight.ravel(), minlength=densities.density.shape[1])
    return evidence(densities, seen, people)


def _moved(found: Evidence, densities: Densities, age: NDArray, gender: NDArray) -> float:
    """The misfit of the photos if their predictions had been moved and stretched alike, the least of all ways."""
    known = np.isfinite(age)
    weight = np.broadcast_to(1 / known.sum(1, keepdims=True), age.shape)[known]
    # a million photos are a few hundred tenths of years
    cell = np.rint(age[known] * 10).astype(np.int64) * len(GENDERS) + gender[known]
    cells, place = np.unique(cell, return_inverse=True)
    years, gender, weight = cells // len(GENDERS) / 10, cells % len(GENDERS), np.bincount(place, weight)
    middle, least = np.average(years, weights=weight), np.inf
    for times in STRETCHED:
        for by in MOVED:
            code = densities.code(middle + (years - middle - by) / times, gender)
            seen = np.bincount(code, weight, densities.density.shape[1])
            least = min(least, replace(found, seen=seen / seen.sum()).misfit())
    return least


def _widen(tried: SelfTest | None, misfit: float, limit: float) -> float:
    # what no prior explains is a noise that the statistic does not know of
    return (UNTRIED if tried is None else tried.widen) * max(1.0, misfit / limit)


def _beyond(tried: SelfTest, misfit: float) -> bool:
    """Whether photos are more unlike than any set of one's own people."""
    return misfit > max(tried.limit, float(tried.misfit.max()))


def _deconvolved(
    bins: AgeBins, densities: Densities, found: Evidence, group: NDArray, widen: float, draws: int, seed: int
) -> Deconvolution:
    """The ages that explain the predicted ages seen; group: (P,) as `estimate` has it; widen: as `posterior` has it."""
    seen, people = found.seen.reshape(-1, len(GENDERS)).sum(1), found.eval_people / widen
    density = bins.densities(densities.edges, group)
    for _ in range(ROUNDS):
        # densities rest on people too, whose chance counts beside that of the photos
        other = deconvolve(bins.band, bins.share, density, seen, people, draws, seed)
        people = 1 / (other.prior / found.eval_people + other.prior**2 / found.people).sum() / widen
    return other


def _shift(bins: AgeBins, found: Deconvolution, as_in_train: NDArray) -> ShiftedAges:
    inside = np.eye(len(BANDS))[bins.band]
    usual = (bins.share * found.factor) @ inside / np.maximum(bins.share @ inside, 1e-12)
    factor = np.where(bins.known, found.factor / usual[bins.band], np.nan)
    return ShiftedAges(bins.start, factor, bins.weights(found.factor), bins.weights(found.factors), as_in_train)
