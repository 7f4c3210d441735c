"""Intervals of macro-F1 that resample people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.labels import LABELS, MASKS
from pipeline.scoring.metrics import as_labels, counts_of, f1_of

if TYPE_CHECKING:
    pass


def interval(
    truth: ArrayLike,
    predictions: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """The percentile interval of macro-F1 when people are drawn again (Efron 1979).

    truth, answer: (n,) labels of the 18; person: (n,) any hashable, or None where nobody is named. People
    are drawn with replacement inside each gender x band, so no draw loses an age band. Photos without
    persons count as photos / photos_per_person: so many photos are drawn inside each gender x band.
    weights: (n,) of the photos, only where persons are named.
    """
    drawn = resample(truth, predictions, person, photos_per_person, draws, seed, weights)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(
    truth: ArrayLike,
    predictions: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """(draws,) macro-F1 of resampled people; the arguments are those of `interval`."""
    together = np.asarray(predictions)[None]
    return resample_together(truth, together, person, photos_per_person, draws, seed, weights)[:, 0]


def resample_together(
    truth: ArrayLike,
    predictions: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """(draws, K) macro-F1 of K systems on the same resampled people, so that differences in a draw are paired.

    answers: (K, n) labels; the other arguments are those of `interval`.
    """
    predictions = np.asarray(predictions, np.int64)
    truth = as_labels(truth, predictions[0])[0]
    stratum = truth % (LABELS // len(MASKS))
    if person is None:
        # photos with the same truth and answers are alike: one unit for each such row, drawn by its count
        rows, count = np.unique(np.column_stack([truth, *predictions]), axis=0, return_counts=True)
        truth, predictions, unit = rows[:, 0], rows[:, 1:].T, np.arange(len(rows))
        unit_stratum = truth % (LABELS // len(MASKS))
        divide = photos_per_person
    else:
        _, first, unit = np.unique(np.asarray(person), return_index=True, return_inverse=True)
        unit_stratum, count, divide = stratum[first], np.ones(len(first), np.int64), 1.0
    weights = None if weights is None or person is None else np.asarray(weights, np.float64)
    tables = [counts_of(unit, truth * LABELS + labels, len(count), weights) for labels in predictions]
    units = np.concatenate([*(table[:, : 2 * LABELS] for table in tables), tables[0][:, 2 * LABELS :]], axis=1)
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, units.shape[1]))
    for s in np.unique(unit_stratum):
        rows = np.flatnonzero(unit_stratum == s)
        size = max(1, round(count[rows].sum() / divide))
        for start in range(0, draws, 250):
            stop = min(start + 250, draws)
            times = _times(rng, count[rows], size, stop - start)
            total[start:stop] += times @ units[rows]
    true = total[:, None, -LABELS:]
    hit, predicted = total[:, :-LABELS].reshape(draws, len(predictions), 2, LABELS).transpose(2, 0, 1, 3)
    return f1_of(hit, predicted, true).sum(2) / (true > 0).sum(2)


def _times(rng: np.random.Generator, count: NDArray, size: int, draws: int) -> NDArray[np.float64]:
    """(draws, units) how often each unit is among `size` drawn with replacement in proportion to count."""
    if (count == 1).all():  # numbering what is drawn is several times faster than a multinomial
        drawn = rng.integers(0, len(count), (draws, size)) + np.arange(draws)[:, None] * len(count)
        table = np.bincount(drawn.ravel(), minlength=draws * len(count)).reshape(draws, -1)
    else:
        table = rng.multinomial(size, count / count.sum(), size=draws)
    return table.astype(np.float64)
