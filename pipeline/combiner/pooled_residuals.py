"""The age predictions to expect in each band where few people tell: a line in age, and everyone's residuals around it.

Predictions are regressed on true age, the residuals of all people are pooled, and a band is the mixture of those
residuals over the ages of its people. A model: real predictions are skewed, each band in its own way. `densities` draws
a band toward it by as much as people held out support, and by no more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS
from pipeline.prediction.labelled import LabelledPredictions

STEP = 0.25
"""The bins of age predictions, in years: well below any network's error."""
SMOOTHING = 0.75
"""The standard deviation, in years, of the kernel over pooled residuals."""
SHRINKAGE = 30.0
"""A band's own scale counts as its people against this many of the pool."""
ROUNDS = 8
"""The line and the bands' offsets from it are fitted in turn so often."""


class PooledResiduals:
    """The distribution of the age prediction in each band.

    rows: validation predictions beside the truth. The weights of both methods are (P,) times each person counts.
    """

    def __init__(self, rows: LabelledPredictions) -> None:
        first = rows.first
        self.rows, self.age, self.band = rows, rows.age[first], rows.band[first]
        self.mean = np.bincount(rows.person, rows.weights * rows.predicted_age) / np.bincount(rows.person, rows.weight)
        start, stop = np.floor(rows.predicted_age.min()) - 1, np.ceil(rows.predicted_age.max()) + 1
        self.grid = np.arange(start, stop + STEP, STEP)
        self.reach = int(np.ceil((stop - start) / STEP))
        bend = np.arange(-4 * SMOOTHING, 4 * SMOOTHING + STEP / 2, STEP)
        self.kernel = np.exp(-0.5 * (bend / SMOOTHING) ** 2)
        self.kernel /= self.kernel.sum()

    def line(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """(P,) the prediction to expect of each person: a line in age and an offset for each band.

        An offset is kept as far as it exceeds its own error, so it is drawn toward the line when a band has few
        people (James and Stein 1961, positive part).
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
        """(3, G) the share of each band's predictions at each point of `grid`; rows sum to one."""
        rows, person = self.rows, self.rows.person
        w = np.ones(len(self.age)) if weights is None else weights
        expected, by_photo = self.line(w), w[person] * rows.weights
        residual = rows.predicted_age - expected[person]
        people = np.bincount(self.band, w, minlength=len(BANDS))
        photos = np.maximum(np.bincount(rows.band, by_photo, minlength=len(BANDS)), 1e-9)
        square = np.bincount(rows.band, by_photo * residual**2, minlength=len(BANDS))
        pool = square.sum() / photos.sum()
        scale = np.sqrt((square / photos * people + pool * SHRINKAGE) / (people + SHRINKAGE)) + 1e-9
        # the kernel widens residuals: they are narrowed first, so that their variance stays
        narrow = np.sqrt(np.maximum(0.0, 1 - SMOOTHING**2 / scale**2))
        unit = residual / scale[rows.band]
        density = np.empty((len(BANDS), len(self.grid)))
        for b in range(len(BANDS)):
            tail = _binned(unit * scale[b] * narrow[b] / STEP + self.reach, by_photo, 2 * self.reach + 1)
            here = self.band == b
            ages = _binned((expected[here] - self.grid[0]) / STEP, w[here], len(self.grid))
            smooth = np.convolve(tail, self.kernel, "same")
            density[b] = np.convolve(ages, smooth)[self.reach : self.reach + len(self.grid)]
        density = np.maximum(density, 0) + 1e-12
        return density / density.sum(1, keepdims=True)


def _binned(place: NDArray, weights: NDArray, size: int) -> NDArray[np.float64]:
    """Shares of weight, each split between its two neighbouring bins."""
    place = np.clip(place, 0, size - 1.001)
    low = place.astype(np.int64)
    upper = weights * (place - low)
    table = np.bincount(low, weights - upper, minlength=size)
    table[1:] += np.bincount(low, upper, minlength=size)[:-1]
    return table / max(table.sum(), 1e-300)
