"""Two offsets, of the young and of the old, chosen for macro-F1: to label probabilities what thresholds are to ages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models.labels import BANDS, CLASSES, LABELS, class_of_label, label_of
from pipeline.combiner.class_prior import factors, shares_of, with_bands
from pipeline.combiner.self_test import Score, rows_of
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.metrics import f1_of, macro_f1
from pipeline.scoring.thresholds import shrinkage_of, shrunk

OFFSETS = np.linspace(-3, 3, 41)
"""What is added to the logarithm of a band's probabilities."""
NONE = (0.0, 0.0)
"""No offset of either band."""
WIDTH = 2.0
"""The score over pairs of offsets is smoothed by a Gaussian of so many steps of theirs before its top is chosen."""


def with_offsets(scores: NDArray, offsets: tuple[float, float]) -> NDArray[np.int64]:
    """(n,) the labels of greatest score (n, 18) once the young's and the old's are offset."""
    return (scores.reshape(len(scores), -1, len(BANDS)) + [offsets[0], 0.0, offsets[1]]).reshape(-1, LABELS).argmax(1)


def offset_score(rows: LabelledPredictions, log: NDArray) -> Score:
    """How labels of greatest corrected probability score; log: (n, 18) the logarithms of calibrated probabilities.

    For priors the mean of them stands, and every fourth offset is looked at: what is compared is priors, not offsets.
    """
    shrinkage = shrinkage_of(rows.persons_by_band)

    def score(others: NDArray, chosen: NDArray, priors: Sequence[NDArray]) -> list[float]:
        fit, eval = rows_of(rows, others), rows_of(rows, chosen)
        train, found = shares_of(np.bincount(rows.kind[others], minlength=CLASSES)), []
        for some in priors:
            times = factors(with_bands(some.mean(0), train), train)[class_of_label(np.arange(LABELS))]
            scores = log + np.log(np.maximum(times, 1e-9))
            weights = times[rows.label[fit]]
            offsets = shrunk(
                best_offsets(scores[fit], rows.label[fit], weights, every=4), NONE, shrinkage, decimals=None
            )
            found.append(macro_f1(rows.label[eval], with_offsets(scores[eval], offsets)))
        return found

    return score


def best_offsets(scores: NDArray, label: NDArray, weights: NDArray, every: int = 1) -> tuple[float, float]:
    """The pair of OFFSETS of best smoothed macro-F1; of equals the nearest to none.

    scores (n, 18), label (n,) true, weights (n,); every: of OFFSETS only one in so many is looked at.
    """
    grid = OFFSETS[len(OFFSETS) // 2 % every :: every]  # none among them
    by_band = scores.reshape(len(scores), -1, len(BANDS))
    top, cell = by_band.max(1), by_band.argmax(1)  # an offset moves all labels of a band alike
    true = np.bincount(label, weights, minlength=LABELS)
    values = np.empty((len(grid), len(grid)))
    for i, young in enumerate(grid):
        for j, old in enumerate(grid):
            band = (top + [young, 0.0, old]).argmax(1)
            labels = label_of(cell[np.arange(len(cell)), band], band)
            right = labels == label
            hit = np.bincount(label[right], weights[right], minlength=LABELS)
            predicted = np.bincount(labels, weights, minlength=LABELS)
            values[i, j] = f1_of(hit, predicted, true)[true > 0].mean()
    smooth = gaussian_filter(values, WIDTH / every, mode="nearest")
    near = 1e-9 * (grid[:, None] ** 2 + grid[None] ** 2)
    i, j = np.unravel_index((smooth - near).argmax(), smooth.shape)
    return float(grid[i]), float(grid[j])
