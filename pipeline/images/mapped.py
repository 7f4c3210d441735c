"""Pixels in a memory-mapped file, for a process that is not forked off this one.

A memory map that is pickled carries all that it maps, so that every such process would have a copy in its memory.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MappedPixels:
    """Where pixels lie: an absolute path, where they begin in the file, and their shape."""

    path: str
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[np.uint8]:
        """The pixels, mapped anew. What is prepared anew under this path meanwhile is the same, but for bad photos."""
        return np.memmap(self.path, np.uint8, "r", self.offset, self.shape)


def by_path(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | MappedPixels:
    """Where the pixels of a memory-mapped file lie; others themselves. Raises OSError where the file is gone."""
    # A slice is a map too, with the attributes of the whole one; only the whole one stands on the file itself.
    if not (isinstance(pixels, np.memmap) and isinstance(pixels.base, mmap.mmap) and pixels.mode == "r"):
        return pixels
    os.stat(pixels.filename)  # here it can be told; in a loader process it would be one that dies
    return MappedPixels(os.fspath(pixels.filename), pixels.offset, pixels.shape)
