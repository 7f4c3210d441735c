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
    rows: NDArray[np.int64], classes: NDArray[np.int64], most: float, epoch: int, seed: int
) -> NDArray[np.int64]:
    """The rows of an epoch: of no class more than `most` times the rarest one's; the others take turns.

    rows, classes (N,); `most` 0 keeps them all. Every epoch has the same number of rows.
    """
    if not most:
        return rows
    present, counts = np.unique(classes, return_counts=True)
    limit = max(1, round(most * counts.min()))
    kept = [
        _turn(rows[classes == one], min(limit, count), epoch, (seed, int(one)))
        for one, count in zip(present, counts, strict=True)
    ]
    return np.sort(np.concatenate(kept))


def balanced(rows: NDArray[np.int64], classes: NDArray[np.int64], epoch: int, seed: int) -> NDArray[np.int64]:
    """The rows of an epoch: as many of every class that occurs, and about as many in all as there are.

    rows, classes (N,). Rows of a class take turns: over the epochs each comes as often as the others, give or
    take one; those of a rare class several times an epoch. Every epoch has the same number of rows.
    """
    present = np.unique(classes)
    each = max(1, round(len(rows) / len(present)))
    return np.sort(np.concatenate([_turn(rows[classes == one], each, epoch, (seed, int(one))) for one in present]))


def _turn(rows: NDArray[np.int64], count: int, epoch: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    """The `count` rows whose turn it is in an epoch, in an order that the seed makes."""
    turns = np.random.default_rng(seed).permutation(rows)
    return turns.take(range(epoch * count, (epoch + 1) * count), mode="wrap")


def rows_of(
    rows: NDArray[np.int64], classes: NDArray[np.int64], epoch: int, seed: int, sampling: str, most: float
) -> NDArray[np.int64]:
    """The rows of an epoch under `sampling`: balanced, or all, of no class more than `most` times the rarest one's.

    Balanced wins over `most`, which would leave nothing to even out.
    """
    if sampling == "balanced":
        return balanced(rows, classes, epoch, seed)
    if sampling == "all":
        return undersampled(rows, classes, most, epoch, seed)
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
