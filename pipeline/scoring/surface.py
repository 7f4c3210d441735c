"""The score as a surface over the two age thresholds.

Macro-F1 of the fused label needs, for each pair of thresholds, the hits, predictions and truths of 18 labels.
All three are differences of cumulative histograms of the predicted ages: one by true label (photos whose mask
and gender are right), one by predicted (mask, gender). So one pass over the photos gives every pair at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.labels import BANDS, CELLS, CLASSES, LABELS, class_of_label

STEP = 0.1
"""The grid of thresholds, in years."""
COARSE = 0.5
"""The grid of the first search, where many surfaces are averaged."""
REACH = 5.0
"""A Gaussian kernel ends after so many bandwidths."""


@dataclass(frozen=True)
class Surface:
    """Macro-F1 for every pair of thresholds.

    grid: (G,) thresholds in years, rising; values: (G, G), row the lower and column the upper threshold,
    -inf below the diagonal (the lower threshold never exceeds the upper).
    """

    grid: NDArray[np.float64]
    values: NDArray[np.float64]

    def best(self, fallback: tuple[float, float] = (30.0, 60.0)) -> tuple[float, float]:
        """The middle of the flat top; of several tops equally high, of the one nearest the fallback."""
        top = self.values >= self.values.max() - 1e-12
        rows, columns = np.nonzero(top)
        if len(rows) > 1:
            from scipy.ndimage import label

            corner = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            regions, _ = label(top[corner])
            region = regions[rows - rows.min(), columns - columns.min()]
            far = (self.grid[rows] - fallback[0]) ** 2 + (self.grid[columns] - fallback[1]) ** 2
            keep = region == region[np.argmin(far)]
            rows, columns = rows[keep], columns[keep]
        middle = self.grid[rows].mean(), self.grid[columns].mean()
        # a top may be bent: its member nearest the middle is surely on it
        member = np.argmin((self.grid[rows] - middle[0]) ** 2 + (self.grid[columns] - middle[1]) ** 2)
        return float(self.grid[rows[member]]), float(self.grid[columns[member]])


class BinnedAges:
    """Predicted ages binned once, so that surfaces for many weights come cheap.

    predicted_age: (n,) years; label: (n,) true labels; cell: (n,) predicted mask * 2 + gender; grid: (G,) rising
    thresholds, by default every 0.1 year over the ages; bandwidth: of the Gaussian kernel, in years.
    Raises ValueError for ages that are not finite or lists of different lengths.
    """

    def __init__(
        self,
        predicted_age: ArrayLike,
        label: ArrayLike,
        cell: ArrayLike,
        grid: ArrayLike | None = None,
        bandwidth: float = 0.0,
    ) -> None:
        predicted_age, label = np.asarray(predicted_age, np.float64), np.asarray(label, np.int64)
        cell = np.asarray(cell, np.int64)
        if not (predicted_age.shape == label.shape == cell.shape) or predicted_age.ndim != 1 or not predicted_age.size:
            raise ValueError(f"lists of one length are needed, not {predicted_age.shape} {label.shape} {cell.shape}")
        if not np.isfinite(predicted_age).all():
            raise ValueError("a predicted age is not finite")
        self.grid = default_grid(predicted_age) if grid is None else np.asarray(grid, np.float64)
        self.label, self.right = label, np.flatnonzero(label // len(BANDS) == cell)
        self.present = np.bincount(label, minlength=LABELS) > 0
        self.spread = None
        if bandwidth > 0:
            from scipy.special import ndtr

            # beyond the kernel's reach of the grid all ages are alike
            start, step = self.grid[0] - REACH * bandwidth, min(STEP, bandwidth / 3)
            self.bins = int(np.ceil((self.grid[-1] + REACH * bandwidth - start) / step)) + 2
            points = start + step * np.arange(self.bins)
            place = np.clip((predicted_age - start) / step, 0, self.bins - 1.001)
            bin = place.astype(np.int64)
            # an age between two points is shared between them: an error of second order in the step
            self.share = place - bin
            # the share of each point's kernel below each threshold
            self.spread = ndtr((self.grid[None, :] - points[:, None]) / bandwidth)
        else:
            bin, self.share, self.bins = (
                np.searchsorted(self.grid, predicted_age, side="right"),
                None,
                len(self.grid) + 1,
            )
        self.by_cell = cell * self.bins + bin
        self.by_label = label[self.right] * self.bins + bin[self.right]

    def below(self, weights: ArrayLike | None = None) -> tuple[NDArray, NDArray, NDArray]:
        """Weight of the predicted ages below each threshold, spread by the kernel.

        weights: (n,) of at least 0. Returns (6, 3, G) hits by true label, (6, G) predictions by predicted cell
        -- G + 1 with the total at the end for both -- and (6, 3) truths.
        """
        weights = None if weights is None else np.asarray(weights, np.float64)
        right = None if weights is None else weights[self.right]
        hits = self._histogram(self.by_label, right, None if self.share is None else self.share[self.right], LABELS)
        predicted = self._histogram(self.by_cell, weights, self.share, CELLS)
        truths = np.bincount(self.label, weights, minlength=LABELS).astype(np.float64)
        return (
            self._cumulate(hits).reshape(CELLS, len(BANDS), -1),
            self._cumulate(predicted),
            truths.reshape(CELLS, len(BANDS)),
        )

    def cells_below(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """(6, G + 1) the predictions by predicted cell of `below` alone."""
        return self._cumulate(self._histogram(self.by_cell, weights, self.share, CELLS))

    def surface(self, weights: ArrayLike | None = None) -> Surface:
        """Macro-F1 for every pair of thresholds, under photo weights (n,)."""
        return surface_of(self.grid, *self.below(weights), self.present)

    def _histogram(self, code: NDArray, weights: NDArray | None, share: NDArray | None, rows: int) -> NDArray:
        size = rows * self.bins
        if share is None:
            return np.bincount(code, weights, minlength=size).reshape(rows, -1).astype(np.float64)
        upper = share if weights is None else share * weights
        lower = (1.0 if weights is None else weights) - upper
        table = np.bincount(code, lower, minlength=size)
        table[1:] += np.bincount(code, upper, minlength=size)[:-1]
        return table.reshape(rows, -1)

    def _cumulate(self, table: NDArray) -> NDArray:
        if self.spread is None:
            return np.cumsum(table, axis=1)
        return np.concatenate([table @ self.spread, table.sum(1, keepdims=True)], axis=1)


def surface_of(grid: NDArray, hits: NDArray, predicted: NDArray, truths: NDArray, present: NDArray) -> Surface:
    """The surface from the cumulative tables of `BinnedAges.below`; present: (18,) labels that count.

    As in `metrics.macro_f1`, a label whose photos all weigh 0 does not occur.
    Exact to 1e-12 unless a label holds less than a 1e-4 of all weight: sums over the middle band are differences.
    """
    size = len(grid)
    low, middle, high = hits.transpose(1, 0, 2)
    young = _ratio(2 * low[:, :size], predicted[:, :size] + truths[:, :1])
    old = _ratio(2 * (high[:, size:] - high[:, :size]), predicted[:, size:] - predicted[:, :size] + truths[:, 2:])
    present = present.reshape(CELLS, len(BANDS)) & (truths > 0)
    values = (young * present[:, :1]).sum(0)[:, None] + (old * present[:, 2:]).sum(0)[None, :]
    for c in np.flatnonzero(present[:, 1]):
        hit, below = 2 * middle[c, :size], predicted[c, :size]
        above = hit[None, :] - hit[:, None]
        total = below[None, :] + (truths[c, 1] - below[:, None])
        # where the pair is in order the total is at least the truths; elsewhere the value is dropped
        np.maximum(total, truths[c, 1], out=total)
        above /= total
        values += above
    values /= max(1, present.sum())
    values[np.tri(size, k=-1, dtype=bool)] = -np.inf
    return Surface(grid, values)


class ByClass:
    """The tables of `BinnedAges.below` kept apart by true band and gender, so that any class prior comes cheap.

    The arguments are those of `BinnedAges`, and weights (n,) of the photos.
    """

    def __init__(
        self,
        predicted_age: NDArray,
        label: NDArray,
        cell: NDArray,
        grid: NDArray,
        bandwidth: float,
        weights: NDArray | None = None,
    ) -> None:
        table = BinnedAges(predicted_age, label, cell, grid, bandwidth)
        self.grid, self.present = table.grid, table.present
        self.hits, _, self.truths = table.below(weights)
        kind = class_of_label(label)
        one = np.ones(len(label)) if weights is None else weights
        self.predicted = np.stack([table.cells_below(one * (kind == k)) for k in range(CLASSES)])

    def surface(self, factor: NDArray) -> Surface:
        """The surface when photos of each class (band * 2 + gender) count factor (6,) times."""
        own = factor[class_of_label(np.arange(LABELS)).reshape(CELLS, len(BANDS))]
        predicted = np.tensordot(factor, self.predicted, axes=1)
        return surface_of(self.grid, self.hits * own[:, :, None], predicted, self.truths * own, self.present)

    def mean(self, factors: NDArray) -> Surface:
        """The mean surface over factors (B, 6): the score to expect when the class prior is not known for sure."""
        total = np.zeros((len(self.grid), len(self.grid)))
        for factor in factors:
            total += self.surface(factor).values
        return Surface(self.grid, total / len(factors))


def default_grid(predicted_age: NDArray, step: float = STEP) -> NDArray[np.float64]:
    """Every multiple of the step from below the lowest age to above the highest."""
    first, last = np.floor(predicted_age.min() / step), np.ceil(predicted_age.max() / step) + 1
    return np.round(np.arange(first, last + 1) * step, 6)


def _ratio(top: NDArray, bottom: NDArray) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom > 0)
