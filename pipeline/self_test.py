"""The estimate of the mix tried on one's own people, where the truth is known, before it is used on others.

Many times, some of half the validation people stand as eval people, in a mix drawn from the prior, and the other half
calibrate. What comes of it is this run's own: the error to expect, how wide intervals must be, what misfit is usual,
and whether thresholds for the estimated mix score better than those for the train mix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from models.labels import BANDS, GENDERS
from models.labels import band as band_of
from pipeline.answers import Known
from pipeline.densities import Densities, Smoothing
from pipeline.mixes import drawn_from_prior, evidence, posterior
from pipeline.scoring import macro_f1
from pipeline.thresholds import COARSE, ByClass, crossings, default_grid, drawn_in, pull_of

LEAST = 6
"""With fewer people in a band there is no half of it to try an estimate on."""
SMALLEST = 10
"""People in a set, at the least."""
LIKE = 3
"""The third of the sets whose estimate is nearest to this one tell what such an estimate gains."""
STEPS = (0.5, 1.0)
"""How far from the train mix toward the estimate the thresholds may be set, beside not at all."""
MIXES = 12
"""So many of the mixes that a set leaves possible stand for all of them."""


@dataclass(frozen=True)
class SelfTest:
    """What the estimate did on S sets of one's own people.

    truth, estimate: (S, 3) mixes; statistic: (S,) the score statistic of the true mix; misfit: (S,); people: (S,) in
    each set; score: (S, 1 + len(STEPS)) macro-F1 of thresholds for the train mix and for each step toward the estimate.
    """

    truth: NDArray[np.float64]
    estimate: NDArray[np.float64]
    statistic: NDArray[np.float64]
    misfit: NDArray[np.float64]
    people: NDArray[np.int64]
    score: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The largest error of a share, mean over the sets."""
        return float(np.abs(self.estimate - self.truth).max(1).mean())

    @property
    def bias(self) -> NDArray[np.float64]:
        """(3,) the mean error of each share."""
        return (self.estimate - self.truth).mean(0)

    @property
    def widen(self) -> float:
        """By how much the statistic is larger than chi-squared where 5 of 100 true mixes lie beyond; at least 1."""
        return max(1.0, float(np.quantile(self.statistic, 0.95) / chi2.ppf(0.95, 2)))

    @property
    def limit(self) -> float:
        """The misfit that 95 of 100 sets stay below, which differ in nothing but the mix."""
        return float(np.quantile(self.misfit, 0.95))

    def gains(self, mix: NDArray) -> NDArray[np.float64]:
        """(n, len(STEPS)) what each step gained over the train mix on sets whose estimate is like this mix (3,)."""
        near = np.argsort(np.abs(self.estimate - mix).max(1), kind="stable")[: -(-len(self.truth) // LIKE)]
        return self.score[near, 1:] - self.score[near, :1]

    def best_step(self, mix: NDArray) -> tuple[float, float]:
        """How far toward an estimate (3,) thresholds are best set, and what that gained; (0, 0) where nothing did.

        Of steps that cannot be told apart, by more than a standard error of their difference, the farthest.
        """
        gains = self.gains(mix)
        mean = gains.mean(0)
        best = int(mean.argmax())
        error = (gains - gains[:, [best]]).std(0) / np.sqrt(len(gains))
        far = int(np.flatnonzero((mean >= mean[best] - error) & (mean > 0))[-1]) if mean[best] > 0 else -1
        return (STEPS[far], float(mean[far])) if far >= 0 else (0.0, 0.0)


def self_test(rows: Known, smoothing: Smoothing, sets: int, seed: int = 0) -> SelfTest | None:
    """Try the estimate on so many sets of one's own people; None where a band has fewer than LEAST of them."""
    if rows.counts.min() < LEAST:
        return None
    rng, band, train = np.random.default_rng([seed, 18]), rows.band[rows.first], rows.counts / rows.people
    tried = []
    while len(tried) < sets:
        half = _halves(rows, rng)
        chosen = in_mix(band, np.flatnonzero(half), drawn_from_prior(rng, train), rng)
        if len(chosen) >= SMALLEST:
            others = of_people(rows, np.flatnonzero(~half))
            tried.append(_one(others, of_people(rows, chosen), smoothing, pull_of(rows.counts), rng))
    return SelfTest(*map(np.array, zip(*tried, strict=True)))


def _one(rows: Known, eval: Known, smoothing: Smoothing, pull: NDArray, rng: np.random.Generator) -> tuple:
    """One set: its true mix and the estimate, the statistic, the misfit, its people, and the scores.

    pull: (2,) how far thresholds are drawn toward the fallback, as they are where all people calibrate.
    """
    densities, train = Densities(rows, smoothing), rows.counts / rows.people
    code = densities.code(eval.answer, eval.cell % len(GENDERS))
    seen = np.bincount(code, minlength=densities.density.shape[1]) / len(code)
    found, truth = evidence(densities, seen, eval.people), eval.counts / eval.people
    possible = posterior(found, train, points=24)
    table = ByClass(rows.answer, rows.label, rows.cell, default_grid(rows.answer, COARSE), 2.0)
    fallback = crossings(rows.age, rows.answer)
    away = possible.draws(MIXES, rng) - train
    scores = []
    for step in (0.0, *STEPS):
        mixes = np.repeat((train + step * away) / train, len(GENDERS), axis=1) if step else np.ones((1, 6))
        thresholds = drawn_in(table.mean(mixes).best(fallback), fallback, pull)
        scores.append(macro_f1(eval.label, eval.cell * len(BANDS) + band_of(eval.answer, thresholds)))
    statistic = found.statistic(np.maximum(truth, 1e-3)[None])[0][0]
    return truth, possible.mean, statistic, found.misfit(), eval.people, scores


def _halves(rows: Known, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(P,) which half each person is in, stratified on gender x band."""
    kind = rows.band[rows.first] * len(GENDERS) + rows.gender[rows.first]
    half = np.empty(rows.people, bool)
    half[np.lexsort((rng.random(rows.people), kind))] = (np.arange(rows.people) + rng.integers(2)) % 2 == 0
    return half


def in_mix(band: NDArray, people: NDArray, mix: NDArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many of the people as can be had in the mix (3,); band: (P,) everyone's."""
    there = np.bincount(band[people], minlength=len(BANDS))
    total = int(np.floor((there / np.maximum(mix, 1e-9)).min()))
    count = np.minimum(np.diff(np.rint(np.cumsum(mix) * total).astype(int), prepend=0), there)
    return np.concatenate([rng.permutation(people[band[people] == b])[:n] for b, n in enumerate(count)])


def of_people(rows: Known, people: NDArray) -> Known:
    """The predictions about some of the people, in their order; people: numbers of different persons."""
    place = np.full(rows.people, -1)
    place[people] = np.arange(len(people))
    inside = np.flatnonzero(place[rows.person] >= 0)
    inside = inside[np.argsort(place[rows.person[inside]], kind="stable")]
    arrays = {name: getattr(rows, name)[inside] for name in ("age", "answer", "label", "band", "gender", "cell")}
    return replace(rows, person=place[rows.person[inside]], people=len(people), **arrays)
