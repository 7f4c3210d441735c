"""The pixels of several sets as if they were one array, without a copy of any."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.images.mapped import MappedPixels, by_path


class JoinedPixels:
    """Arrays (N1, H, W, 3), (N2, H, W, 3), ... of one photo size, read by row as one of N1 + N2 + ... rows.

    A process that is not forked off this one maps their files anew.
    """

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]):
        """Raises ValueError where they differ in the photos' size."""
        if len({array.shape[1:] for array in arrays}) != 1:
            raise ValueError(f"photos of several sizes: {[array.shape for array in arrays]}")
        self.arrays = tuple(arrays)
        self._starts = [0, *accumulate(map(len, arrays))]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.arrays[0].shape[1:]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """The pixels (H, W, 3) of a row. Raises IndexError where there is no such row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        which = bisect_right(self._starts, row) - 1
        return self.arrays[which][row - self._starts[which]]

    def __getstate__(self) -> list[NDArray[np.uint8] | MappedPixels]:
        return [by_path(array) for array in self.arrays]

    def __setstate__(self, state: list[Any]) -> None:
        self.__init__([one.open() if isinstance(one, MappedPixels) else one for one in state])
