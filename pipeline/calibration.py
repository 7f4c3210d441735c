"""From answers to thresholds, for a mix of ages that is given or that the eval photos are found to have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS, MASKS, band
from pipeline.answers import Known
from pipeline.densities import CLASSES
from pipeline.mix_estimate import Estimate, estimate
from pipeline.pooled_residuals import PooledResiduals
from pipeline.scoring import resample
from pipeline.self_test import Score
from pipeline.thresholds import COARSE, ByClass, Surface, choose, class_of, crossings, default_grid, drawn_in, pull_of

BANDWIDTH = 2.0
"""The bandwidth, in years, unless cross-fitting clearly prefers another."""
BANDWIDTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""The bandwidths, in years, that cross-fitting compares."""
PARTS = 5
"""Thresholds are judged on the people of one part, chosen on those of the others."""


@dataclass(frozen=True)
class Eval:
    """Eval answers as arrays, n photos by K networks; NaN where a network is missing.

    answer (n, K) years; gender (n, K) answered; photos_per_person: how many photos count as one person.
    """

    answer: NDArray[np.float64]
    gender: NDArray[np.int64]
    photos_per_person: float

    @property
    def people(self) -> int:
        """As how many people the photos count whose persons are not known."""
        return max(2, round(len(self.answer) / self.photos_per_person))

    @property
    def removed(self) -> float:
        """The variance of an age answer, in squared years, that averaging the networks removes."""
        times = np.isfinite(self.answer).sum(1)
        several = times > 1
        if not several.any():
            return 0.0
        inside = np.nanvar(self.answer[several], axis=1, ddof=1)
        return float((inside * (1 - 1 / times[several])).sum() / len(times))


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    thresholds: 2 years; shares (6,), mixes (B, 6): the mix by band * 2 + gender that they were chosen for, and
    the mixes it stands for; possible (B, 6): those that the eval photos may have; estimate: what these rest on,
    None where the mix is known; rows: the validation answers as they would be after averaging; keep: the part
    of their residuals kept; fallback, pull (2,): the thresholds of last resort and how far each was drawn to
    them; weights (B, P): times each person counts in each resample.
    """

    thresholds: tuple[float, float]
    shares: NDArray[np.float64]
    mixes: NDArray[np.float64]
    possible: NDArray[np.float64]
    estimate: Estimate | None
    rows: Known
    keep: float
    fallback: tuple[float, float]
    pull: NDArray[np.float64]
    surface: Surface
    weights: NDArray[np.int64]
    bandwidth: float

    @property
    def train(self) -> NDArray[np.float64]:
        """(6,) the validation people's shares."""
        return people_of(self.rows)

    @property
    def photo_weights(self) -> NDArray[np.float64]:
        """(n,) how much each validation photo counts for the mix."""
        return factors(self.shares, self.train)[class_of(self.rows.label)]


def calibrate(
    rows: Known,
    mix: NDArray,
    eval: Eval | None = None,
    bandwidth: float | None = BANDWIDTH,
    draws: int = 200,
    seed: int = 0,
    guess: Estimate | None = None,
    toward: float = 0.0,
) -> Calibration:
    """Thresholds for the mix (3,), and so far toward an estimate of the eval photos' mix.

    rows: out-of-fold answers; eval: to know how much averaging several networks narrows the answers;
    bandwidth: None lets cross-fitting choose; guess: the estimate, where the eval photos' mix is not known; toward:
    1 sets the thresholds for the estimate alone, 0 for the mix alone.
    """
    weights = person_weights(rows, draws, np.random.default_rng(seed))
    train = people_of(rows)
    shares = with_bands(mix, train)
    mixes = possible = shares[None]
    if guess is not None:
        possible = guess.draws
    if guess is not None and toward > 0:
        mixes = shares + toward * (possible - shares)
        shares = shares + toward * (guess.shares - shares)
    rows, keep = narrowed(rows, 0.0 if eval is None else eval.removed)
    fallback = crossings(rows.age, rows.answer)
    if bandwidth is None:
        bandwidth = best_bandwidth(rows, shares, seed)
    best, surface = choose(rows.answer, rows.label, rows.cell, factors(mixes, train), bandwidth, fallback)
    pull = pull_of(rows.counts)
    thresholds = drawn_in(best, fallback, pull)
    return Calibration(
        thresholds, shares, mixes, possible, guess, rows, keep, fallback, pull, surface, weights, bandwidth
    )


def mix_of_eval(rows: Known, eval: Eval, draws: int = 200, seed: int = 0, score: Score | None = None) -> Estimate:
    """The estimate of the eval photos' mix; score: how labels score that are chosen for it, of `self_test`."""
    return estimate(rows, eval.answer, eval.gender, eval.people, parts_of(rows, seed), draws, seed, score)


def person_weights(rows: Known, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(draws, P) times each person is drawn, with replacement inside each gender x band."""
    stratum = rows.gender[rows.first] * len(BANDS) + rows.band[rows.first]
    weights = np.zeros((draws, rows.people), np.int64)
    for s in np.unique(stratum):
        inside = np.flatnonzero(stratum == s)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=draws)
    return weights


def people_of(rows: Known) -> NDArray[np.float64]:
    """(6,) shares of the people by band * 2 + gender."""
    return np.bincount(rows.kind, minlength=CLASSES) / rows.people


def with_bands(mix: NDArray, train: NDArray) -> NDArray[np.float64]:
    """(..., 6) shares that have the bands of mix (..., 3), and within a band the genders of train (6,)."""
    inside = train.reshape(len(BANDS), -1)
    shares = mix[..., None] * inside / inside.sum(1, keepdims=True)
    return shares.reshape(*mix.shape[:-1], CLASSES)


def bands_of(shares: NDArray) -> NDArray[np.float64]:
    """(..., 3) shares by band, of shares (..., 6) by band * 2 + gender."""
    return shares.reshape(*shares.shape[:-1], len(BANDS), -1).sum(-1)


def factors(shares: NDArray, train: NDArray) -> NDArray[np.float64]:
    """How often a photo of each class counts, so that train people stand for the shares; (..., 6)."""
    return np.where(train > 0, shares / np.maximum(train, 1e-12), 0.0)


def narrowed(rows: Known, removed: float) -> tuple[Known, float]:
    """Single-network answers drawn in to spread as averages do: the residuals lose the removed variance."""
    if removed <= 0:
        return rows, 1.0
    expected = PooledResiduals(rows).line()[rows.person]
    residual = rows.answer - expected
    keep = float(np.sqrt(max(0.05, 1 - removed / max((residual**2).mean(), 1e-9))))
    return replace(rows, answer=expected + keep * residual), keep


def fuse(rows: Known, thresholds: tuple[float, float]) -> NDArray[np.int64]:
    """(n,) labels answered under the thresholds."""
    return rows.cell * len(BANDS) + band(rows.answer, thresholds)


def parts_of(rows: Known, seed: int = 0) -> NDArray[np.int64]:
    """(P,) a part from 0 to 4 for each person, stratified on gender x band."""
    stratum = rows.gender[rows.first] * len(BANDS) + rows.band[rows.first]
    order = np.lexsort((np.random.default_rng(seed).random(rows.people), stratum))
    part = np.empty(rows.people, np.int64)
    part[order] = np.arange(rows.people) % PARTS
    return part


def _held_out(rows: Known, seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64], tuple[float, float]]]:
    """For each part of the people: its rows (n,), the weights (n,) of all others', and the others' fallback."""
    part = parts_of(rows, seed)[rows.person]
    for k in range(PARTS):
        inside = part == k
        if inside.any():
            yield inside, (~inside).astype(np.float64), crossings(rows.age[~inside], rows.answer[~inside])


def cross_fitted(rows: Known, mixes: NDArray, bandwidth: float, pull: NDArray, seed: int = 0) -> NDArray[np.int64]:
    """(n,) labels, each answered under thresholds chosen, for mixes (B, 6), on the people of other parts.

    pull: (2,) how far each threshold is drawn toward the fallback.
    """
    times = factors(mixes, people_of(rows))
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        best, _ = choose(rows.answer, rows.label, rows.cell, times, bandwidth, fallback, other)
        labels[inside] = rows.cell[inside] * len(BANDS) + band(rows.answer[inside], drawn_in(best, fallback, pull))
    return labels


def cross_fitted_coarse(
    rows: Known, factor: NDArray, bandwidth: float, by_mask: bool = False, seed: int = 0
) -> NDArray[np.int64]:
    """(n,) labels as `cross_fitted` gives them, for one mix and on the coarse grid: quick, for comparisons.

    by_mask: a pair of thresholds for each answered mask state instead of one for all.
    """
    grid, mask = default_grid(rows.answer, COARSE), rows.cell // len(GENDERS)
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        table = ByClass(rows.answer, rows.label, rows.cell, grid, bandwidth, other)
        every = table.present
        for m in range(len(MASKS)) if by_mask else (None,):
            if m is not None:
                # the score is a sum over answered mask states: each has its own best thresholds
                table.present = every & (np.arange(len(every)) // (len(GENDERS) * len(BANDS)) == m)
            here = inside if m is None else inside & (mask == m)
            best = table.surface(factor).best(fallback) if table.present.any() else fallback
            labels[here] = rows.cell[here] * len(BANDS) + band(rows.answer[here], best)
    return labels


def best_bandwidth(rows: Known, shares: NDArray, seed: int = 0) -> float:
    """The bandwidth of the best cross-fitted score, where it beats the usual one by more than twice its error.

    shares: (6,) the mix. The error is that of the difference over resampled people.
    """
    factor = factors(shares, people_of(rows))
    weights = factor[class_of(rows.label)]
    drawn = {}
    for h in BANDWIDTHS:
        labels = cross_fitted_coarse(rows, factor, h, seed=seed)
        drawn[h] = resample(rows.label, labels, rows.person, draws=200, seed=seed, weights=weights)
    gain = {h: drawn[h] - drawn[BANDWIDTH] for h in BANDWIDTHS}
    clear = {h: float(g.mean()) for h, g in gain.items() if g.mean() > 2 * g.std()}
    return max(clear, key=clear.get) if clear else BANDWIDTH
