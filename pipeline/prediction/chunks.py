"""A long table, written as numbered whole chunks and merged at the end, so that stopping costs one chunk at most."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS, FACE_PREDICTIONS = "predictions.csv", "face_predictions.csv"
"""What is predicted about photos, and about every face that was found in them."""


class Chunks:
    """Chunks 0, 1, ... of a table in a folder beside it, each with a note (plain values for JSON).

    key: what the chunks depend on; those of another key are not seen.
    """

    def __init__(self, place: Path, key: str):
        self.folder = place / f"chunks-{key}"

    def _table(self, number: int) -> Path:
        return self.folder / f"{number:06d}.csv"

    def taken(self, number: int) -> AbstractContextManager[bool]:
        """Take a chunk for this process, if no other has it; whether that is so. What a process takes dies with it."""
        return store.free_lock(self._table(number).with_suffix(".lock"))

    def note(self, number: int) -> dict[str, Any] | None:
        """The note of a chunk that is there and whole, else None."""
        table = self._table(number)
        try:
            record = store.read_json(table.with_suffix(".json"))
        except (FileNotFoundError, UserError):  # a damaged chunk is made again
            return None
        return record["note"] if record["table"] == store.file_fingerprint(table) else None

    def write(self, number: int, table: pd.DataFrame, note: dict[str, Any]) -> None:
        """Write a chunk; all chunks have the same columns."""
        path = self._table(number)
        store.write_csv(path, table)
        record = {"table": store.file_fingerprint(path), "note": note}
        store.write_json(path.with_suffix(".json"), record)  # last: with it the chunk is whole

    def merge(self, count: int, path: Path) -> None:
        """Write chunks 0 to count - 1 as one table to `path`."""
        with store.replacing(path) as merged, merged.open("wb") as whole:
            for number in range(count):
                with self._table(number).open("rb") as chunk:
                    header = chunk.readline()
                    whole.write(b"" if number else header)
                    shutil.copyfileobj(chunk, whole)


def clear(place: Path) -> None:
    """Remove the chunks of every key."""
    for folder in place.glob("chunks-*"):
        shutil.rmtree(folder)
