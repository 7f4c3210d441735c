"""The pixels of several sets as if they were one array, without a copy of any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.images.mapped import MappedPixels, by_path


class JoinedPixels:
    """Arrays (N1, H, W, 3), (N2, H, W, 3), ... of one photo size, read by row as one of N1 + N2 + ... rows.

    again: such rows that come once more after all others. A process that is not forked off this one maps the arrays'
    files anew.
    """

    def __init__(self, arrays: Sequence[NDArray[np.uint8]], again: NDArray[np.int64] | None = None):
        """Raises ValueError where they differ in the photos' size."""
        if len({array.shape[1:] for array in arrays}) != 1:
            raise ValueError(f"photos of several sizes: {[array.shape for array in arrays]}")
        self.arrays = tuple(arrays)
        self.again = np.empty(0, np.int64) if again is None else again
        self._starts = np.cumsum([0, *map(len, arrays)])

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.arrays[0].shape[1:]

    def __len__(self) -> int:
        return int(self._starts[-1]) + len(self.again)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """The pixels (H, W, 3) of a row. Raises IndexError where there is no such row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row = row if row < self._starts[-1] else int(self.again[row - self._starts[-1]])
        which = int(np.searchsorted(self._starts, row, "right")) - 1
        return self.arrays[which][row - self._starts[which]]

    def __getstate__(self) -> tuple[list[NDArray[np.uint8] | MappedPixels], NDArray[np.int64]]:
        return [by_path(array) for array in self.arrays], self.again

    def __setstate__(self, state: tuple[list[Any], NDArray[np.int64]]) -> None:
        arrays, again = state
        self.__init__([one.open() if isinstance(one, MappedPixels) else one for one in arrays], again)
