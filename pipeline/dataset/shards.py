"""Photos in tars, reached by name: each where the index says, without unpacking."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from models.errors import UserError
from pipeline.dataset.reach import BadPhotoError, PhotoBytes
from pipeline.dataset.tar_index import Stamp
from pipeline.dataset.tar_scan import BLOCK, header_checksum
from pipeline.runtime import store

ROWS = 4096
"""Rows whose names are looked up in one dictionary, made when one of them is asked for."""
BLOCKS, OPEN = 8, 16
"""Such dictionaries, and tars, that are held at once: as many as are read from side by side, and some more."""
LARGEST = 200_000_000
"""Bytes of a photo that is read whole; one that is a file is read piece by piece."""


@dataclass(frozen=True)
class Shard:
    """A tar: as photos' names begin, where it lies, what it was when it was gone through, its table's fingerprint, and
    the file without which it is gone through anew."""

    name: str
    path: Path
    stamp: Stamp
    table: str
    record: Path


class Shards:
    """Photos in tars. Any number of threads may ask.

    photos: (N,) their names, sorted as plain text, which the table of photos holds already; starts: the row at which
    each tar's begin; offsets, sizes, headers: (N,) where the bytes of each stand, and the checksum of what stands
    before them. A name that is none of them is a KeyError.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        photos: ExtensionArray,
        starts: Sequence[int],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        headers: NDArray[np.int64],
    ):
        self.shards, self._starts = shards, starts
        self._offsets, self._sizes, self._headers = offsets, sizes, headers
        self._firsts = [str(name) for name in photos[::ROWS]]
        # Not of methods: who refers to himself keeps tars open until Python looks for garbage.
        self._rows = lru_cache(BLOCKS)(partial(_rows_of, photos))
        self._open = lru_cache(OPEN)(partial(_opened, shards))

    def source(self, photo: str) -> PhotoBytes:
        """A photo's bytes; raises BadPhotoError for one of more than LARGEST or that no disk gives, else as `read`."""
        size = self.size(photo)
        if size > LARGEST:
            raise BadPhotoError(f"{size / 1e6:.0f} MB are more than are read out of a tar; bring it as a file")
        try:
            return PhotoBytes(self.read(photo, 0, size), photo)
        except OSError as refusal:
            if refusal.errno != errno.EIO:
                raise
            raise BadPhotoError(str(refusal.strerror)) from None

    def size(self, photo: str) -> int:
        """Bytes of a photo."""
        return int(self._sizes[self._row(photo)])

    def read(self, photo: str, start: int, length: int) -> bytes:
        """So many bytes of a photo, fewer where it ends before. Raises UserError where its tar went or changed."""
        row = self._row(photo)
        shard = self._open(bisect_right(self._starts, row) - 1)
        length = max(0, min(length, int(self._sizes[row]) - start))
        return shard.read(int(self._offsets[row]), int(self._headers[row]), start, length)

    def fingerprint(self) -> str:
        """Of the tars, by name, size and time, and of where their photos stand."""
        return store.fingerprint([(one.name, one.stamp.size, one.stamp.changed, one.table) for one in self.shards])

    def _row(self, photo: str) -> int:
        return self._rows(bisect_right(self._firsts, photo) - 1)[photo]


def _rows_of(photos: ExtensionArray, block: int) -> dict[str, int]:
    """The rows of a block of photos, by name."""
    if block < 0:  # before the first name
        return {}
    start = block * ROWS
    return {str(name): row for row, name in enumerate(photos[start : start + ROWS], start)}


def _opened(shards: Sequence[Shard], number: int) -> _OpenTar:
    return _OpenTar(shards[number])


class _OpenTar:
    """A tar that is read at any place. It closes when the last who reads lets go of it: its number may be another's
    then."""

    def __init__(self, shard: Shard):
        self.shard = shard
        try:
            self.handle = os.open(shard.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UserError(
                f"{shard.path} is not there any more; bring it back and give the same command again."
            ) from None
        self._check()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    def read(self, offset: int, header: int, start: int, length: int) -> bytes:
        """So many bytes of the member that stands at `offset`, from `start` on, as when the tar was gone through."""
        if start:
            before, content = self._bytes(offset - BLOCK, BLOCK), self._bytes(offset + start, length)
        else:
            whole = self._bytes(offset - BLOCK, BLOCK + length)
            before, content = whole[:BLOCK], whole[BLOCK:]
        self._check()
        if header_checksum(before) != header:  # another tar, of the same size and time
            with suppress(OSError):
                self.shard.record.unlink(missing_ok=True)
            raise self._changed()
        return content

    def _bytes(self, offset: int, length: int) -> bytes:
        try:
            pieces, left = [], length
            while left and (piece := os.pread(self.handle, left, offset + length - left)):
                pieces.append(piece)
                left -= len(piece)
        except OSError as problem:
            raise type(problem)(problem.errno, problem.strerror, str(self.shard.path)) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _check(self) -> None:
        """Raises UserError where the tar is no longer what it was: what stands where a photo was may be anything."""
        if Stamp.of(self.handle) != self.shard.stamp:
            raise self._changed()

    def _changed(self) -> UserError:
        return UserError(f"{self.shard.path} has changed since its photos were listed; give the same command again.")
