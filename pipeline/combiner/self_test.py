"""The estimate of the prior tried on one's own people, where the truth is known, before it is used on others.

Many times, some of half the validation people stand as eval people, in a prior drawn from the hyperprior, and the other
half calibrate. What comes of it is this run's own: the error to expect, how wide intervals must be, what misfit is
usual, and whether labels for the estimated prior score better than those for the train prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS, fused
from pipeline.combiner.cross_fitting import BANDWIDTH
from pipeline.combiner.densities import Densities, Smoothing
from pipeline.combiner.evidence import chi2_quantile, evidence
from pipeline.combiner.posterior import drawn_from_hyperprior, posterior
from pipeline.dataset.folds import deal
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.surface import COARSE, ByClass, default_grid
from pipeline.scoring.thresholds import crossings, shrinkage_of, shrunk

LEAST = 6
"""With fewer people in a band there is no half of it to try an estimate on."""
SMALLEST = 10
"""People in a set, at the least; nothing is tried on fewer than four times as many people in all."""
LARGEST = 2000
"""No more people than these are drawn for a set: more would only take longer."""
LIKE = 3
"""The third of the sets whose estimate is nearest to this one tell how far such an estimate is off."""
STEPS = (0.5, 1.0)
"""How far from the train prior toward the estimate labels may be chosen for, beside not at all."""
PRIORS = 12
"""So many of the priors that a set leaves possible stand for all of them."""

Score = Callable[[NDArray, NDArray, Sequence[NDArray]], list[float]]
"""Of people who calibrate and people who are judged, numbers of P, and sets of priors (M, 3): macro-F1 for each set."""


@dataclass(frozen=True)
class SelfTest:
    """What the estimate did on S sets of one's own people.

    truth, estimate: (S, 3) priors; held: (S, 3) whether the 95 % interval of a share held it; statistic: (S,) the score
    statistic of the true prior; misfit: (S,); score: (S, 1 + len(STEPS)) macro-F1 of labels for the train prior and for
    each step toward the estimate.
    """

    truth: NDArray[np.float64]
    estimate: NDArray[np.float64]
    held: NDArray[np.bool_]
    statistic: NDArray[np.float64]
    misfit: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def widen(self) -> float:
        """By how much the statistic is larger than chi-squared where 5 of 100 true priors lie beyond; at least 1."""
        return max(1.0, float(np.quantile(self.statistic, 0.95) / chi2_quantile(0.95, 2)))

    @property
    def limit(self) -> float:
        """The misfit that 95 of 100 sets stay below, which differ in nothing but the prior."""
        return max(1.0, float(np.quantile(self.misfit, 0.95)))

    def like(self, prior: NDArray) -> NDArray[np.int64]:
        """The sets whose estimate is nearest to a prior (3,)."""
        far = np.abs(self.estimate - prior).max(1)
        return np.argsort(far, kind="stable")[: -(-len(self.truth) // LIKE)]

    def error(self, prior: NDArray) -> float:
        """The largest error of a share, mean over the sets whose estimate is like a prior (3,)."""
        near = self.like(prior)
        return float(np.abs(self.estimate - self.truth)[near].max(1).mean())

    def bias(self, prior: NDArray) -> NDArray[np.float64]:
        """(3,) the mean error of each share there."""
        near = self.like(prior)
        return (self.estimate - self.truth)[near].mean(0)

    @property
    def gains(self) -> NDArray[np.float64]:
        """(S, 1 + len(STEPS)) what each step gained over none."""
        return self.score - self.score[:, :1]

    @property
    def step(self) -> float:
        """How far toward an estimate labels are best chosen for: one of STEPS, or 0.

        Of steps that cannot be told from the best, by more than a standard error of their difference, the farthest: the
        sets have half of the people, so that an estimate from all of them is better than it was there.
        """
        mean = self.gains.mean(0)
        best = int(mean.argmax())
        error = (self.score - self.score[:, [best]]).std(0) / np.sqrt(len(self.score))
        return (0.0, *STEPS)[np.flatnonzero(mean >= mean[best] - error)[-1]]


def self_test(
    rows: LabelledPredictions, smoothing: Smoothing, sets: int, seed: int = 0, score: Score | None = None
) -> SelfTest | None:
    """Try the estimate on so many sets of one's own people; None where people, or those of a band, are too few.

    score: how labels come about and are judged; by two thresholds where left out.
    """
    if rows.persons_by_band.min() < LEAST or rows.persons < 4 * SMALLEST:
        return None
    rng, bands, train = np.random.default_rng([seed, 18]), rows.band[rows.first], rows.counts / rows.people
    score, tried = score or threshold_score(rows), []
    for _ in range(50 * sets):  # a set of too few people is drawn again
        half, some = _halves(rows, rng), rng.permutation(rows.people)[:LARGEST]
        half, others = some[half[some]], some[~half[some]]
        chosen = in_prior(bands, half, drawn_from_hyperprior(rng, train), rng)
        if len(chosen) >= SMALLEST and np.bincount(bands[others], minlength=len(BANDS)).all():
            tried.append(_one(rows, others, chosen, smoothing, score, rng))
        if len(tried) == sets:
            return SelfTest(*map(np.array, zip(*tried, strict=True)))
    return None


def _one(
    rows: LabelledPredictions,
    others: NDArray,
    chosen: NDArray,
    smoothing: Smoothing,
    score: Score,
    rng: np.random.Generator,
) -> tuple:
    """One set: its true prior, the estimate, whether intervals held, the statistic, the misfit, and the scores."""
    calibrating, eval = of_people(rows, others), of_people(rows, chosen)
    densities, train = Densities(calibrating, smoothing), calibrating.counts / calibrating.people
    code = densities.code(eval.predicted_age, eval.cell % len(GENDERS))
    seen = np.bincount(code, eval.weights, densities.density.shape[1])
    seen /= seen.sum()
    found, truth = evidence(densities, seen, eval.people), eval.counts / eval.people
    possible = posterior(found, train, points=24)
    low, high = np.quantile(possible.draws(200, rng), [0.025, 0.975], axis=0)
    away = possible.draws(PRIORS, rng) - train
    scores = score(others, chosen, [train[None], *(train + step * away for step in STEPS)])
    statistic = found.statistic(np.maximum(truth, 1e-3)[None])[0][0]
    return truth, possible.mean, (low <= truth) & (truth <= high), statistic, found.misfit(), scores


def threshold_score(rows: LabelledPredictions) -> Score:
    """How labels by two thresholds score, which are chosen on people and judged on others."""
    shrinkage = shrinkage_of(rows.persons_by_band)  # as it is where all people calibrate

    def score(others: NDArray, chosen: NDArray, priors: Sequence[NDArray]) -> list[float]:
        calibrating, eval = of_people(rows, others), of_people(rows, chosen)
        train = calibrating.counts / calibrating.people
        grid = default_grid(calibrating.predicted_age, COARSE)
        table = ByClass(
            calibrating.predicted_age, calibrating.label, calibrating.cell, grid, BANDWIDTH, calibrating.weight
        )
        fallback, scores = crossings(calibrating.age, calibrating.predicted_age), []
        for some in priors:
            surface = table.mean(np.repeat(some / train, len(GENDERS), axis=1))
            thresholds = shrunk(surface.best(fallback), fallback, shrinkage)
            scores.append(macro_f1(eval.label, fused(eval.cell, eval.predicted_age, thresholds), eval.weight))
        return scores

    return score


def _halves(rows: LabelledPredictions, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(P,) which half each person is in, with all their ages, stratified on their class."""
    first, kind = int(rng.integers(2)), rows.class_of_person
    return (deal(kind, rng.random(len(kind)), 2, first) == 0)[rows.who]


def in_prior(bands: NDArray, people: NDArray, prior: NDArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many of the people as can be had in the prior (3,); bands: (P,) everyone's."""
    there = np.bincount(bands[people], minlength=len(BANDS))
    total = int(np.floor((there / np.maximum(prior, 1e-9)).min()))
    count = np.minimum(np.diff(np.rint(np.cumsum(prior) * total).astype(int), prepend=0), there)
    return np.concatenate([rng.permutation(people[bands[people] == b])[:n] for b, n in enumerate(count)])


def rows_of(rows: LabelledPredictions, people: NDArray) -> NDArray[np.int64]:
    """The rows of some of the people, in their order; people: numbers of different persons."""
    place = np.full(rows.people, -1)
    place[people] = np.arange(len(people))
    inside = np.flatnonzero(place[rows.person] >= 0)
    return inside[np.argsort(place[rows.person[inside]], kind="stable")]


def of_people(rows: LabelledPredictions, people: NDArray) -> LabelledPredictions:
    """The predictions about some of the people, in their order; people: numbers of different persons."""
    inside, place = rows_of(rows, people), np.empty(rows.people, np.int64)
    place[people] = np.arange(len(people))
    arrays = {name: getattr(rows, name)[inside] for name in ("age", "predicted_age", "label", "band", "gender", "cell")}
    arrays |= {name: getattr(rows, name)[inside] for name in ("photo", "weight") if getattr(rows, name) is not None}
    who = np.unique(rows.who[people], return_inverse=True)[1]
    return replace(rows, person=place[rows.person[inside]], people=len(people), identities=who, **arrays)
