"""How good a calibration is, judged on people who did not choose it (cross-fitting by person)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import BAND_STARTS, BANDS, GENDERS, MASKS, band
from pipeline.answers import Known
from pipeline.calibration import BANDWIDTH, Calibration, factors, fuse, people_of
from pipeline.scoring import macro_f1, resample
from pipeline.thresholds import COARSE, Answers, ByClass, choose, class_of, crossings, default_grid

PARTS = 5
"""Thresholds are judged on the people of one part, chosen on those of the others."""
BANDWIDTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""The bandwidths, in years, that cross-fitting compares."""
MIXES = 20
"""So many of the plausible mixes stand for all of them when thresholds are chosen once more for a part."""


def parts_of(rows: Known, seed: int = 0) -> NDArray[np.int64]:
    """(P,) a part from 0 to 4 for each person, stratified on gender x band."""
    stratum = rows.gender[rows.first] * len(BANDS) + rows.band[rows.first]
    order = np.lexsort((np.random.default_rng(seed).random(rows.people), stratum))
    part = np.empty(rows.people, np.int64)
    part[order] = np.arange(rows.people) % PARTS
    return part


def cross_fitted(rows: Known, mixes: NDArray, bandwidth: float, pull: NDArray, seed: int = 0) -> NDArray[np.int64]:
    """(n,) labels, each answered under thresholds chosen, for mixes (B, 6), on the people of other parts.

    pull: (2,) how far each threshold is drawn toward the fallback.
    """
    part, times = parts_of(rows, seed)[rows.person], factors(mixes, people_of(rows))
    labels = np.empty(len(part), np.int64)
    for k in range(PARTS):
        inside, other = part == k, (part != k).astype(np.float64)
        if not inside.any():
            continue
        fallback = crossings(rows.age[~inside], rows.answer[~inside])
        best, _ = choose(rows.answer, rows.label, rows.cell, times, bandwidth, fallback, other)
        drawn = tuple((1 - p) * t + p * f for p, t, f in zip(pull, best, fallback, strict=True))
        labels[inside] = rows.cell[inside] * len(BANDS) + band(rows.answer[inside], drawn)
    return labels


def cross_fitted_coarse(
    rows: Known, factor: NDArray, bandwidth: float, by_mask: bool = False, seed: int = 0
) -> NDArray[np.int64]:
    """(n,) labels as `cross_fitted` gives them, for one mix and on the coarse grid: quick, for comparisons.

    by_mask: a pair of thresholds for each answered mask state instead of one for all.
    """
    part, grid = parts_of(rows, seed)[rows.person], default_grid(rows.answer, COARSE)
    mask = rows.cell // len(GENDERS)
    labels = np.empty(len(part), np.int64)
    for k in range(PARTS):
        inside, other = part == k, (part != k).astype(np.float64)
        if not inside.any():
            continue
        fallback = crossings(rows.age[~inside], rows.answer[~inside])
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
    """The bandwidth of the best cross-fitted score, where it beats the usual one by more than its error.

    shares: (6,) the mix. The error is that of the difference over resampled people.
    """
    factor = factors(shares, people_of(rows))
    weights = factor[class_of(rows.label)]
    drawn = {}
    for h in BANDWIDTHS:
        labels = cross_fitted_coarse(rows, factor, h, seed=seed)
        drawn[h] = resample(rows.label, labels, rows.person, draws=200, seed=seed, weights=weights)
    gain = {h: drawn[h] - drawn[BANDWIDTH] for h in BANDWIDTHS}
    clear = {h: float(g.mean()) for h, g in gain.items() if g.mean() > g.std()}
    return max(clear, key=clear.get) if clear else BANDWIDTH


def judge(found: Calibration, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Macro-F1 at 30/60, in-sample and cross-fitted, for the train mix and the eval mix.

    Each with its 95 % interval by person; also what a pair of thresholds for each mask state would gain.
    """
    rows = found.rows
    answers = {
        "plain": rows.cell * len(BANDS) + band(rows.answer, BAND_STARTS),
        "in_sample": fuse(rows, found.thresholds),
        "cross_fitted": cross_fitted(rows, found.mixes[:MIXES], found.bandwidth, found.pull, seed),
    }
    result: dict[str, Any] = {}
    for mix, weights in (("train", np.ones(len(rows.person))), ("eval", found.photo_weights)):
        result[mix] = {}
        for name, labels in answers.items():
            again = resample(rows.label, labels, rows.person, draws=draws, seed=seed, weights=weights)
            result[mix][name] = {
                "macro_f1": macro_f1(rows.label, labels, weights),
                "interval": np.quantile(again, [0.025, 0.975]).tolist(),
            }
    factor = factors(found.shares, found.train)
    pairs = [cross_fitted_coarse(rows, factor, found.bandwidth, by_mask, seed) for by_mask in (True, False)]
    by_mask, one = (macro_f1(rows.label, labels, found.photo_weights) for labels in pairs)
    result["gain_by_mask"] = by_mask - one
    return result


def threshold_intervals(found: Calibration, level: float = 0.95) -> list[list[float]]:
    """Two intervals in years: the best thresholds of each resample of people and mix."""
    rows, kind = found.rows, class_of(found.rows.label)
    answers = Answers(rows.answer, rows.label, rows.cell, default_grid(rows.answer, COARSE), found.bandwidth)
    best = []
    for i, times in enumerate(found.weights):
        factor = factors(found.mixes[i % len(found.mixes)], found.train)
        drawn = answers.surface(times[rows.person] * factor[kind]).best(found.fallback)
        best.append([(1 - p) * t + p * f for p, t, f in zip(found.pull, drawn, found.fallback, strict=True)])
    low, high = (1 - level) / 2, (1 + level) / 2
    return np.quantile(best, [low, high], axis=0).T.tolist()
