"""Macro-F1, and errors by attribute.

Macro-F1 here is `f1_score(y, p, labels=np.unique(y), average="macro", zero_division=0)` of scikit-learn:
the mean over the labels that occur in the truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.labels import LABELS, decode

ATTRIBUTES = ("mask_state", "gender", "age")
"""The three attributes of a label, by the names of the table of errors, in the order of `decode`."""
ERRORS = ("correct", "age", "mask_state", "gender", "gender,age", "mask_state,age", "mask_state,gender",
          "mask_state,gender,age")  # fmt: skip
"""The rows of the table of errors: which attributes are wrong."""


def macro_f1(truth: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Macro-F1 over the labels that occur in the truth.

    truth, predictions: (n,) whole numbers from 0; weights: (n,) of at least 0, all one when left out; a label whose
    photos all weigh 0 does not occur.
    Raises ValueError when there is no photo or the lengths differ.
    """
    truth, predictions = pair_of(truth, predictions)
    classes = int(max(truth.max(), predictions.max())) + 1
    weights = None if weights is None else np.asarray(weights, np.float64)
    true = np.bincount(truth, weights, minlength=classes)
    predicted = np.bincount(predictions, weights, minlength=classes)
    right = truth == predictions
    hit = np.bincount(truth[right], None if weights is None else weights[right], minlength=classes)
    return float(f1_of(hit, predicted, true)[true > 0].mean())


def confusion(truth: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: rows are the truth, columns the predictions; both (n,) whole numbers."""
    truth, predictions = np.asarray(truth, np.int64), np.asarray(predictions, np.int64)
    if truth.size and not (min(truth.min(), predictions.min()) >= 0 and max(truth.max(), predictions.max()) < classes):
        raise ValueError(f"a class is not between 0 and {classes - 1}")
    return np.bincount(truth * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def errors(truth: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None) -> dict[str, float]:
    """How many photos have which attributes wrong; (n,) labels; the counts sum to n, or to the weights (n,)."""
    wrong = [a != b for a, b in zip(decode(truth), decode(predictions), strict=True)]
    code = wrong[0] * 4 + wrong[1] * 2 + wrong[2] * 1
    count = np.bincount(code, weights, minlength=8)
    names = [",".join(n for n, bit in zip(ATTRIBUTES, (4, 2, 1), strict=True) if c & bit) for c in range(8)]
    by_name = dict(zip([n or "correct" for n in names], count.tolist(), strict=True))
    table = {name: by_name[name] for name in ERRORS}
    whole = code.size if weights is None else np.sum(weights)
    assert np.isclose(sum(table.values()), whole), "every photo is counted exactly once"
    return table


def f1_of(hit: NDArray, predicted: NDArray, true: NDArray) -> NDArray[np.float64]:
    both = predicted + true
    return np.divide(2.0 * hit, both, out=np.zeros(np.shape(both)), where=both > 0)


def counts_of(unit: NDArray, pair: NDArray, units: int, weights: NDArray | None = None) -> NDArray[np.float64]:
    """(units, 3 * 18): per unit its hits, its predictions and its truths, by label."""
    truth, predictions = pair // LABELS, pair % LABELS
    right = truth == predictions
    table = [
        np.bincount(
            unit[keep] * LABELS + label[keep],
            None if weights is None else weights[keep],
            minlength=units * LABELS,
        ).reshape(units, LABELS)
        for keep, label in ((right, truth), (slice(None), predictions), (slice(None), truth))
    ]
    return np.concatenate(table, axis=1).astype(np.float64)


def pair_of(truth: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as whole numbers (n,). Raises ValueError when there is none or the lengths differ."""
    truth, predictions = np.asarray(truth, np.int64), np.asarray(predictions, np.int64)
    if truth.ndim != 1 or truth.shape != predictions.shape or not truth.size:
        raise ValueError(
            f"truth and predictions are lists of the same length, not {truth.shape} and {predictions.shape}"
        )
    return truth, predictions
