"""Which photos a network sees at each step: an epoch's rows, their order, and each process's share of them.

All of it follows from (seed, epoch), so a run can go on at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

AGAIN = 1_000_000
"""A photo that comes again within an epoch is altered as if so many epochs later: never twice the same way."""


def epoch_steps(photos: int, batch_size: int) -> int:
    """Only whole batches; the photos left over differ from epoch to epoch."""
    return max(1, photos // batch_size)


def steps_of(epochs: float, steps_per_epoch: int) -> int:
    """The steps of a run, the nearest to its epochs, whole or not; at least one."""
    return max(1, round(steps_per_epoch * epochs))


def undersampled(
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    most: float,
    epoch: int,
    seed: int,
    extra: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The rows of an epoch: of no class more than `most` times the rarest one's; the others take turns.

    rows, classes (N,); `most` 0 keeps them all. extra (N,): rows that only fill up, so that the others come as if these
    were not there. Every epoch has the same number of rows.
    """
    if not most:
        return rows
    extra = np.zeros(len(rows), bool) if extra is None else extra
    own_limit, limit = _limit(classes[~extra], most), _limit(classes, most)
    if len(np.unique(classes[~extra])) < len(np.unique(classes)):  # one that the others lack is the rarest
        own_limit = min(own_limit, limit)
    kept = []
    for one in np.unique(classes):
        own, more = rows[(classes == one) & ~extra], rows[(classes == one) & extra]
        count = min(own_limit, len(own))
        kept.append(_turn(own, count, epoch, (seed, int(one))))
        kept.append(_turn(more, min(max(0, limit - count), len(more)), epoch, (seed, int(one), 1)))
    return np.sort(np.concatenate(kept))


def _limit(classes: NDArray[np.int64], most: float) -> int:
    """How many rows of a class there may be."""
    counts = np.unique(classes, return_counts=True)[1]
    return max(1, round(most * counts.min())) if len(counts) else 0


def balanced(rows: NDArray[np.int64], classes: NDArray[np.int64], epoch: int, seed: int) -> NDArray[np.int64]:
    """The rows of an epoch: as many of every class that occurs, and about as many in all as there are.

    rows, classes (N,). Rows of a class take turns: over the epochs each comes as often as the others, give or
    take one; those of a rare class several times an epoch. Every epoch has the same number of rows.
    """
    present = np.unique(classes)
    each = max(1, round(len(rows) / len(present)))
    return np.sort(np.concatenate([_turn(rows[classes == one], each, epoch, (seed, int(one))) for one in present]))


def _turn(rows: NDArray[np.int64], count: int, epoch: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """The `count` rows whose turn it is in an epoch, in an order that the seed makes."""
    if not count:
        return rows[:0]
    turns = np.random.default_rng(seed).permutation(rows)
    return turns.take(range(epoch * count, (epoch + 1) * count), mode="wrap")


def rows_of(
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    epoch: int,
    seed: int,
    sampling: str,
    most: float,
    extra: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The rows of an epoch under `sampling`: balanced, or all, of no class more than `most` times the rarest one's.

    Balanced wins over `most`, which would leave nothing to even out. extra: as `undersampled` takes it.
    """
    if sampling == "balanced":
        return balanced(rows, classes, epoch, seed)
    if sampling == "all":
        return undersampled(rows, classes, most, epoch, seed, extra)
    raise ValueError(f"no sampling is called {sampling}")


def batches(
    rows: Callable[[int], NDArray[np.int64]],
    batch_size: int,
    epochs: float,
    seed: int,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[list[tuple[int, int]]]:
    """Lists of (epoch, row) for every step from `start` on; each process of several gets its slice.

    `rows` gives the rows of an epoch, as many in each. The k-th repetition of a row within an epoch is given as
    of epoch + k * AGAIN.
    """
    steps_per_epoch = epoch_steps(len(rows(0)), batch_size)
    steps = steps_of(epochs, steps_per_epoch)
    for epoch in range(start // steps_per_epoch, -(-steps // steps_per_epoch)):
        order = np.random.default_rng((seed, epoch)).permutation(rows(epoch))
        keys = np.stack([epoch + AGAIN * repetitions(order), order], axis=1).tolist()
        for step in range(steps_per_epoch):
            if start <= epoch * steps_per_epoch + step < steps:
                of_step = keys[step * batch_size : (step + 1) * batch_size]
                yield [tuple(key) for key in of_step[rank::ranks]]


def repetitions(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """order (N,) of rows -> how often each row has come before (N,)."""
    place = np.argsort(order, kind="stable")
    ranked = order[place]
    before = np.empty_like(place)
    before[place] = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    return before
