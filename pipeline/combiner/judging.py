"""How good a calibration is, judged on people who did not choose it (cross-fitting by person)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import class_of_label, fused
from pipeline.combiner.class_prior import factors
from pipeline.combiner.cross_fitting import cross_fitted, cross_fitted_coarse
from pipeline.combiner.expected_score import centre_of
from pipeline.combiner.threshold_choice import ThresholdChoice
from pipeline.scoring.bootstrap import LEVEL, resample
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.surface import COARSE, BinnedAges, default_grid
from pipeline.scoring.thresholds import shrunk

PRIORS = 20
"""So many of the plausible priors stand for all of them when thresholds are chosen once more for an inner fold."""

DRAWS = 1000
"""Resamples of people behind the interval of a score."""


def held_out_labels(found: ThresholdChoice, seed: int = 0) -> NDArray[np.int64]:
    """(n,) the label of each validation photo, by thresholds that other people chose."""
    return cross_fitted(found.rows, found.priors[:PRIORS], found.bandwidth, found.shrinkage, seed)


def judge(found: ThresholdChoice, held_out: NDArray, seed: int = 0) -> tuple[dict[str, Any], float]:
    """Macro-F1 at 30/60, in-sample and cross-fitted, for the train prior and the eval prior.

    held_out: (n,) what `held_out_labels` gives. Each score has its 95 % interval by person; beside them what a pair of
    thresholds for each mask state would gain. The number is the cross-fitted score to expect where the prior may be
    any of those that are possible.
    """
    rows = found.rows
    labels_of = {
        "plain": fused(rows.cell, rows.predicted_age),
        "in_sample": fused(rows.cell, rows.predicted_age, found.thresholds),
        "cross_fitted": held_out,
    }
    result: dict[str, Any] = {}
    for weighting, weights in (("train", np.ones(len(rows.person))), ("eval", found.photo_weights)):
        result[weighting] = {}
        for name, labels in labels_of.items():
            again = resample(rows.label, labels, rows.who[rows.person], draws=DRAWS, seed=seed, weights=weights)
            result[weighting][name] = {
                "macro_f1": macro_f1(rows.label, labels, weights),
                "interval": np.quantile(again, [0.025, 0.975]).tolist(),
            }
    factor = factors(found.shares, found.train)
    pairs = [cross_fitted_coarse(rows, factor, found.bandwidth, by_mask, seed) for by_mask in (True, False)]
    by_mask, one = (macro_f1(rows.label, labels, found.photo_weights) for labels in pairs)
    result["gain_by_mask"] = by_mask - one
    return result, centre_of(found.eval_like, labels_of["cross_fitted"], found.possible)


def threshold_intervals(found: ThresholdChoice) -> list[list[float]]:
    """Two 95 % intervals in years: the best thresholds of each resample of people and prior."""
    rows, kind = found.rows, class_of_label(found.rows.label)
    binned = BinnedAges(
        rows.predicted_age, rows.label, rows.cell, default_grid(rows.predicted_age, COARSE), found.bandwidth
    )
    best = []
    for i, times in enumerate(found.weights):
        factor = factors(found.priors[i % len(found.priors)], found.train)
        drawn = binned.surface(times[rows.person] * factor[kind] * rows.weights).best(found.fallback)
        best.append(shrunk(drawn, found.fallback, found.shrinkage))
    return np.quantile(best, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T.tolist()
