"""The best thresholds of a surface, and those to fall back on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.labels import BAND_STARTS, class_of_label
from pipeline.scoring.surface import COARSE, STEP, BinnedAges, ByClass, default_grid

SHRINKAGE = 5.0
"""The fallback counts as so many people beside those of the smaller band at a threshold."""
CROSSED = (29.5, 59.5)
"""The ages, in years, between those of one band and of the next."""


def choose(
    predicted_age: NDArray,
    label: NDArray,
    cell: NDArray,
    factors: NDArray,
    bandwidth: float,
    fallback: tuple[float, float],
    weights: NDArray | None = None,
) -> tuple[float, float]:
    """The thresholds of the best mean score over factors (B, 6).

    With one factor the whole grid is searched; with many a grid of half years, then tenths around its best.
    The other arguments are those of `ByClass` and `Surface.best`.
    """
    if len(factors) == 1:
        surface = BinnedAges(predicted_age, label, cell, bandwidth=bandwidth)
        each = factors[0][class_of_label(label)]
        return surface.surface(each if weights is None else each * weights).best(fallback)
    table = ByClass(predicted_age, label, cell, default_grid(predicted_age, COARSE), bandwidth, weights)
    coarse = table.mean(factors)
    around = np.round(np.arange(-15, 16) * STEP, 6)
    near = np.unique(np.round([t + around for t in coarse.best(fallback)], 6))
    return ByClass(predicted_age, label, cell, near, bandwidth, weights).mean(factors).best(fallback)


def crossings(age: ArrayLike, predicted_age: ArrayLike) -> tuple[float, float]:
    """The fallback thresholds: the predicted ages where their fitted line on true age crosses two ages.

    age, predicted_age: (n,) years. With fewer than three ages or a line that does not rise there is no line to go
    by: the ages themselves are returned.
    """
    age, predicted_age = np.asarray(age, np.float64), np.asarray(predicted_age, np.float64)
    if len(np.unique(age)) < 3:
        return CROSSED
    slope, start = np.polyfit(age, predicted_age, 1)
    if slope <= 0:
        return CROSSED
    return float(start + slope * CROSSED[0]), float(start + slope * CROSSED[1])


def fallback_of(age: ArrayLike, predicted_age: ArrayLike, counts: NDArray) -> tuple[float, float]:
    """`crossings`, but a band's own age, 30 or 60, where the band on either side of it has no people, counts (3,).

    There a threshold is not fitted to anybody, and a line says nothing beyond the ages it went through. It gives way to
    the other one, where that lies beyond it.
    """
    (low, high), (young, old) = crossings(age, predicted_age), boundaries_without(counts)
    if young:
        low = BAND_STARTS[0] if old else min(BAND_STARTS[0], high)
    if old:
        high = max(BAND_STARTS[1], low)
    return low, high


def boundaries_without(counts: NDArray) -> tuple[bool, bool]:
    """Whether a band beside the lower and beside the upper boundary has no people, counts (3,)."""
    return not counts[:2].all(), not counts[1:].all()


def shrinkage_of(counts: NDArray) -> NDArray[np.float64]:
    """(2,) the shrinkage of the lower and the upper threshold, by counts (3,), the people of each band."""
    return SHRINKAGE / (SHRINKAGE + np.array([counts[:2].min(), counts[1:].min()]))


def shrunk(
    values: tuple[float, float], toward: tuple[float, float], shrinkage: NDArray, decimals: int | None = 6
) -> tuple[float, float]:
    """The two values, each drawn by shrinkage (2,) toward another; thresholds in years are told to a millionth."""
    low, high = (float((1 - p) * v + p * t) for p, v, t in zip(shrinkage, values, toward, strict=True))
    return (low, high) if decimals is None else (float(np.round(low, decimals)), float(np.round(high, decimals)))
