"""People drawn again (Efron 1979), and intervals of macro-F1 that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.labels import LABELS, by_gender_first, class_of_label
from pipeline.scoring.metrics import counts_of, f1_of, pair_of

AT_ONCE = 250
"""Draws that are made together."""
LEVEL = 0.95
"""Of an interval of macro-F1 that was reached; that of one to expect is the combiner's."""


def interval(
    truth: ArrayLike,
    predictions: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of macro-F1 when people are drawn again (Efron 1979).

    truth, predictions: (n,) labels of the 18; person: (n,) any hashable, or None where nobody is named. People
    are drawn with replacement inside each gender x band, so no draw loses an age band; who is there in several bands
    belongs to that of their photos' median (the lower of two). Photos without persons count as photos /
    photos_per_person: so many photos are drawn inside each gender x band.
    """
    drawn = resample(truth, predictions, person, photos_per_person, draws, seed)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
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
    """(draws,) macro-F1 of resampled people; the arguments are those of `interval`.

    weights: (n,) of the photos, only where persons are named.
    """
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

    predictions: (K, n) labels; the other arguments are those of `interval`.
    """
    predictions = np.asarray(predictions, np.int64)
    truth = pair_of(truth, predictions[0])[0]
    stratum = by_gender_first(class_of_label(truth))
    if person is None:
        # photos with the same truth and predictions are alike: one unit for each such row, drawn by its count
        rows, count = np.unique(np.column_stack([truth, *predictions]), axis=0, return_counts=True)
        truth, predictions, unit = rows[:, 0], rows[:, 1:].T, np.arange(len(rows))
        unit_stratum = by_gender_first(class_of_label(truth))
        divide = photos_per_person
    else:
        unit, unit_stratum = _people(np.asarray(person), stratum)
        count, divide = np.ones(len(unit_stratum), np.int64), 1.0
    weights = None if weights is None or person is None else np.asarray(weights, np.float64)
    tables = [counts_of(unit, truth * LABELS + labels, len(count), weights) for labels in predictions]
    units = np.concatenate([*(table[:, : 2 * LABELS] for table in tables), tables[0][:, 2 * LABELS :]], axis=1)
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, units.shape[1]))
    for inside, some, times in resampled(unit_stratum, count, draws, by_the_faster, rng, divide):
        total[some] += times.astype(np.float64) @ units[inside]
    true = total[:, None, -LABELS:]
    hit, predicted = total[:, :-LABELS].reshape(draws, len(predictions), 2, LABELS).transpose(2, 0, 1, 3)
    return f1_of(hit, predicted, true).sum(2) / (true > 0).sum(2)


def _people(person: NDArray, stratum: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) whose each photo is, from 0, and (P,) the stratum of each person: their photos' median, the lower of two."""
    _, unit, photos = np.unique(person, return_inverse=True, return_counts=True)
    middle = np.lexsort((stratum, unit))[np.cumsum(photos) - photos + (photos - 1) // 2]
    return unit, stratum[middle]


def resample_means(
    truth: ArrayLike,
    values: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """(draws, K) the means of values (K, n) over the photos of resampled people, the same people for all.

    NaN in values is no value; a mean of none is NaN. The other arguments are those of `interval`.
    """
    truth, values = np.asarray(truth, np.int64), np.asarray(values, np.float64)
    stratum = by_gender_first(class_of_label(truth))
    if person is None:
        # photos of one stratum and the same values are alike: one unit, drawn by its count
        rows, count = np.unique(np.column_stack([stratum, *values]), axis=0, return_counts=True, equal_nan=True)
        unit_stratum, values, unit, divide = rows[:, 0], rows[:, 1:].T, np.arange(len(rows)), photos_per_person
    else:
        unit, unit_stratum = _people(np.asarray(person), stratum)
        count, divide = np.ones(len(unit_stratum), np.int64), 1.0
    known = np.isfinite(values)
    size = len(unit_stratum)
    sums = [np.bincount(unit, np.where(here, row, 0.0), size) for here, row in zip(known, values, strict=True)]
    counts = [np.bincount(unit, here, size) for here in known]
    table = np.stack([*sums, *counts], axis=1)
    rng, total = np.random.default_rng(seed), np.zeros((draws, table.shape[1]))
    for inside, some, times in resampled(unit_stratum, count, draws, by_the_faster, rng, divide):
        total[some] += times.astype(np.float64) @ table[inside]
    top, bottom = total[:, : len(values)], total[:, len(values) :]
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


Draw = Callable[[np.random.Generator, NDArray, int, int], NDArray[np.int64]]
"""A source of chance: how often each unit, standing for count (U,) of them, is among so many drawn; (draws, U)."""


def by_number(rng: np.random.Generator, count: NDArray, size: int, draws: int) -> NDArray[np.int64]:
    """Draws the numbers of what is drawn: where units are few, several times faster than a multinomial."""
    pool = np.repeat(np.arange(len(count)), count)
    drawn = pool[rng.integers(0, len(pool), (draws, size))] + np.arange(draws)[:, None] * len(count)
    return np.bincount(drawn.ravel(), minlength=draws * len(count)).reshape(draws, -1)


def by_share(rng: np.random.Generator, count: NDArray, size: int, draws: int) -> NDArray[np.int64]:
    """Draws how often each unit is drawn."""
    return rng.multinomial(size, count / count.sum(), size=draws)


def by_the_faster(rng: np.random.Generator, count: NDArray, size: int, draws: int) -> NDArray[np.int64]:
    """Draws numbers where every unit stands for one, and shares where some stand for more."""
    return (by_number if (count == 1).all() else by_share)(rng, count, size, draws)


def resampled(
    stratum: NDArray, count: NDArray, draws: int, draw: Draw, rng: np.random.Generator, divide: float = 1.0
) -> Iterator[tuple[NDArray[np.int64], slice, NDArray[np.int64]]]:
    """Units drawn with replacement inside each stratum (U,): which units, which draws, and how often each.

    count: (U,) how many each stands for; divide: of so many drawn, one counts. A few hundred draws come at a time, so
    that memory stays small.
    """
    for s in np.unique(stratum):
        inside = np.flatnonzero(stratum == s)
        size = max(1, round(count[inside].sum() / divide))
        for start in range(0, draws, AT_ONCE):
            some = slice(start, min(start + AT_ONCE, draws))
            yield inside, some, draw(rng, count[inside], size, some.stop - start)


def person_weights(stratum: NDArray, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(draws, P) times each person is drawn, with replacement inside each stratum (P,)."""
    weights = np.zeros((draws, len(stratum)), np.int64)
    for inside, some, times in resampled(stratum, np.ones(len(stratum), np.int64), draws, by_share, rng):
        weights[some, inside] = times
    return weights
