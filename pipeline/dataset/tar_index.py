"""What a tar holds, kept beside a run's predictions, so that its headers are read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.dataset.tar_scan import TarFaultError, scan_tar, told_as_json
from pipeline.runtime import store

VERSION = 2
"""With another one tars are gone through again."""


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
    """table: the fingerprint of the file that holds the four above; told, system, ends: as in `Scan`."""
    kept: tuple[Path, Path]
    """The files that hold it."""


def index_of(path: Path, name: str, folder: Path, advance: Callable[[int], None]) -> TarIndex:
    """The index of a tar, kept in a folder: as it stands there, else made now. `advance` is told the bytes.

    name: with it and a slash the photos' names begin. Two processes may make the same one at once. Raises
    TarFaultError for a tar that cannot be used.
    """
    with path.open("rb") as file:
        stamp = Stamp.of(file.fileno())
        key = store.fingerprint([VERSION, os.path.realpath(path), stamp.size, stamp.changed])
        kept = folder / f"{key}.csv", folder / f"{key}.json"
        facts = _facts(*kept)
        if facts is None:
            facts = _made(file, stamp, *kept, advance)
        else:
            advance(stamp.size)
    table = store.read_csv(kept[0])
    numbers = (table[column].to_numpy(np.int64) for column in ("offset", "size", "header"))
    return TarIndex(stamp, [f"{name}/{photo}" for photo in table["photo"]], *numbers, facts, kept)


def _facts(table: Path, record: Path) -> dict[str, Any] | None:
    """What stands beside a table that is whole, else None."""
    try:
        facts = store.read_json(record)
    except (FileNotFoundError, UserError):  # a damaged one is made again
        return None
    return facts if facts["table"] == store.file_fingerprint(table) else None


def _made(file: IO[bytes], stamp: Stamp, table: Path, record: Path, advance: Callable[[int], None]) -> dict[str, Any]:
    """Goes through a tar and keeps what it found; returns the facts beside the table."""
    scan = scan_tar(file, advance)
    if Stamp.of(file.fileno()) != stamp:
        raise TarFaultError("it is still being written; wait for it")
    numbers = {"offset": scan.offsets, "size": scan.sizes, "header": scan.headers}
    numbers = {column: np.asarray(each) for column, each in numbers.items()}
    store.write_csv(table, pd.DataFrame({"photo": scan.photos} | numbers))
    facts = {
        "table": store.file_fingerprint(table),
        "told": told_as_json(scan.told),
        "system": scan.system,
        "ends": scan.ends or not stamp.size,
    }
    store.write_json(record, facts)  # last: with it the index is whole
    return facts


def clear_old(folder: Path, kept: set[Path]) -> None:
    """Removes the indexes of tars that changed or are no longer given, and what a killed process left."""
    store.sweep(folder)
    for path in folder.glob("*.*"):
        if path not in kept and not path.name.startswith("."):
            path.unlink(missing_ok=True)
