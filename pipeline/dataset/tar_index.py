"""What a tar holds, kept beside a run's predictions, so that its headers are read once."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.dataset.tar_scan import BLOCK, TarFaultError, scan_tar, told_as_json
from pipeline.runtime import store

VERSION = 2
"""With another one tars are gone through again."""
COLUMNS = ("photo", "offset", "size", "header")
ROWS = 4096
"""Names that are put together at a time."""
DAY = 86_400
"""Seconds that an index lies there at least: others may see tars, or have begun files, that this process does not."""


@dataclass(frozen=True)
class Stamp:
    """A tar as it was when it was gone through: its bytes and when it last changed."""

    size: int
    changed: int

    @classmethod
    def of(cls, handle: int) -> Stamp:
        """That of an open file."""
        found = os.fstat(handle)
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class TarIndex:
    """The photos of a tar by their whole names, where the bytes of each stand, the checksums of the headers before
    them, and what is left out."""

    stamp: Stamp
    photos: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    headers: NDArray[np.int64]
    facts: dict[str, Any]
    """table: the fingerprint of the four above; told, system, ends: as in `Scan`."""
    kept: tuple[Path, Path]
    """The files that hold it."""


def index_of(path: Path, name: str, folder: Path, advance: Callable[[int], None]) -> TarIndex | None:
    """The index of a tar, kept in a folder: as it stands there, else made now. `advance` is told the bytes.

    name: with it and a slash the photos' names begin. None while another process makes it. Raises TarFaultError for a
    tar that cannot be used.
    """
    with path.open("rb", buffering=BLOCK) as file:  # by habit as much is read as the disk likes, a megabyte of some
        stamp = Stamp.of(file.fileno())
        key = store.fingerprint([VERSION, os.path.realpath(path), stamp.size, stamp.changed])
        kept, lock = (folder / f"{key}.csv", folder / f"{key}.json"), folder / f"{key}.lock"
        found = _standing(stamp, name, kept)
        if found is not None:
            advance(stamp.size)
            return found
        with store.free_lock(lock) as free:
            if not free:
                return None
            try:
                return _standing(stamp, name, kept) or _made(file, stamp, name, kept, advance)
            finally:
                lock.unlink(missing_ok=True)  # who takes one that is gone looks whether the index stands


def _standing(stamp: Stamp, name: str, kept: tuple[Path, Path]) -> TarIndex | None:
    """The index that stands whole in its files, else None."""
    try:
        facts, table = store.read_json(kept[1]), store.read_csv(kept[0])
        photos, numbers = table["photo"].tolist(), [table[column].astype(np.int64).to_numpy() for column in COLUMNS[1:]]
    except (FileNotFoundError, UserError, KeyError, ValueError):  # a damaged one is made again
        return None
    if facts["table"] != _fingerprint(photos, numbers):
        return None
    return TarIndex(stamp, [f"{name}/{photo}" for photo in photos], *numbers, facts, kept)


def _made(
    file: IO[bytes], stamp: Stamp, name: str, kept: tuple[Path, Path], advance: Callable[[int], None]
) -> TarIndex:
    """Goes through a tar and keeps what it found."""
    scan = scan_tar(file, advance)
    if Stamp.of(file.fileno()) != stamp:
        raise TarFaultError("it is still being written; wait for it")
    numbers = [np.asarray(column) for column in (scan.offsets, scan.sizes, scan.headers)]
    store.write_csv(kept[0], pd.DataFrame(dict(zip(COLUMNS, [scan.photos, *numbers], strict=True))))
    facts = {
        "table": _fingerprint(scan.photos, numbers),
        "told": told_as_json(scan.told),
        "system": scan.system,
        "ends": scan.ends or not stamp.size,
    }
    store.write_json(kept[1], facts)  # last: with it the index is whole
    return TarIndex(stamp, [f"{name}/{photo}" for photo in scan.photos], *numbers, facts, kept)


def _fingerprint(photos: Sequence[str], numbers: Sequence[NDArray[np.int64]]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(photos), ROWS):
        digest.update("\0".join([*photos[start : start + ROWS], ""]).encode())
    for column in numbers:
        digest.update(np.ascontiguousarray(column))
    return digest.hexdigest()[:16]


def clear_old(folder: Path, kept: set[Path]) -> None:
    """Removes the indexes of tars that changed or are no longer given, and what a killed process left, after a day."""
    for path in folder.glob("*"):
        with suppress(OSError):  # gone by now, or another user's
            if path not in kept and time.time() - path.stat().st_mtime > DAY:
                path.unlink(missing_ok=True)
