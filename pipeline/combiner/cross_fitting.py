"""Thresholds chosen on the people of some inner folds and judged on those of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.labels import CLASSES, GENDERS, MASKS, by_gender_first, class_of_label, fused
from pipeline.combiner.class_prior import factors, people_of
from pipeline.dataset.folds import deal
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.bootstrap import resample
from pipeline.scoring.surface import COARSE, ByClass, default_grid
from pipeline.scoring.thresholds import choose, fallback_of, shrunk

BANDWIDTH = 2.0
"""The bandwidth, in years, unless cross-fitting clearly prefers another."""
BANDWIDTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""The bandwidths, in years, that cross-fitting compares."""
INNER_FOLDS = 5
"""Thresholds are judged on the people of one inner fold, chosen on those of the others."""


def inner_folds_of(rows: LabelledPredictions, seed: int = 0) -> NDArray[np.int64]:
    """(P,) an inner fold from 0 to 4 for each person, with all their ages, stratified on gender x band."""
    order = np.random.default_rng(seed).random(rows.persons)
    return deal(by_gender_first(rows.class_of_person), order, INNER_FOLDS)[rows.who]


def _held_out(
    rows: LabelledPredictions, seed: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64], tuple[float, float]]]:
    """For each inner fold: its rows (n,), the weights (n,) of photos that are not in it, and the others' fallback."""
    fold = inner_folds_of(rows, seed)[rows.person]
    for k in range(INNER_FOLDS):
        inside = fold == k
        if inside.any():
            other = ~inside
            yield inside, other * rows.weights, fallback_of(rows.age[other], rows.predicted_age[other], rows.counts)


def cross_fitted(
    rows: LabelledPredictions, priors: NDArray, bandwidth: float, shrinkage: NDArray, seed: int = 0
) -> NDArray[np.int64]:
    """(n,) labels, each fused by thresholds chosen, for priors (B, 6), on the people of other inner folds.

    bandwidth: in years; shrinkage: (2,) how far each threshold is drawn toward the fallback.
    """
    times = factors(priors, people_of(rows))
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        best = choose(rows.predicted_age, rows.label, rows.cell, times, bandwidth, fallback, other)
        labels[inside] = fused(rows.cell[inside], rows.predicted_age[inside], shrunk(best, fallback, shrinkage))
    return labels


def cross_fitted_coarse(
    rows: LabelledPredictions, factor: NDArray, bandwidth: float, by_mask: bool = False, seed: int = 0
) -> NDArray[np.int64]:
    """(n,) labels as `cross_fitted` gives them, for one prior and on the coarse grid: quick, for comparisons.

    factor: (6,) of the prior, as `factors` gives it; by_mask: a pair of thresholds for each predicted mask state
    instead of one for all.
    """
    grid, mask = default_grid(rows.predicted_age, COARSE), rows.cell // len(GENDERS)
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        table = ByClass(rows.predicted_age, rows.label, rows.cell, grid, bandwidth, other)
        every = table.present
        for m in range(len(MASKS)) if by_mask else (None,):
            if m is not None:
                # the score is a sum over predicted mask states: each has its own best thresholds
                table.present = every & (np.arange(len(every)) // CLASSES == m)
            here = inside if m is None else inside & (mask == m)
            best = table.surface(factor).best(fallback) if table.present.any() else fallback
            labels[here] = fused(rows.cell[here], rows.predicted_age[here], best)
    return labels


def best_bandwidth(rows: LabelledPredictions, shares: NDArray, seed: int = 0) -> float:
    """The bandwidth of the best cross-fitted score, where it beats the usual one by more than twice its error.

    shares: (6,) the prior. The error is that of the difference over resampled people.
    """
    factor = factors(shares, people_of(rows))
    weights = factor[class_of_label(rows.label)] * rows.weights
    drawn = {}
    for h in BANDWIDTHS:
        labels = cross_fitted_coarse(rows, factor, h, seed=seed)
        drawn[h] = resample(rows.label, labels, rows.who[rows.person], draws=200, seed=seed, weights=weights)
    gain = {h: drawn[h] - drawn[BANDWIDTH] for h in BANDWIDTHS}
    clear = {h: float(g.mean()) for h, g in gain.items() if g.mean() > 2 * g.std()}
    return max(clear, key=clear.get) if clear else BANDWIDTH
