"""Predictions about many photos, chunk by chunk, by any number of processes on any machines that see the place.

A process takes a chunk that no other has, predicts its photos and writes them; what a process had taken that died is
free to be taken again. So stopping costs a chunk, and the table at the end is the same whoever made which.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.images.photos import Photos, mended
from pipeline.prediction import over_photos
from pipeline.prediction.chunks import FACE_PREDICTIONS, PREDICTIONS, Chunks
from pipeline.prediction.engine import BATCH_SIZE, Engine
from pipeline.runtime.progress import Progress

PHOTOS_PER_CHUNK = 1024
"""Photos that are predicted between two times of writing; where there are few, fewer, so that each process has some."""
CHUNKS = 16
"""So many chunks of few photos."""
LOOK = 0.3
"""Seconds between two looks at what others have taken."""


def chunk_size(photos: int) -> int:
    """Photos of a chunk, of so many in all: whole batches."""
    batches = math.ceil(photos / CHUNKS / BATCH_SIZE)
    return min(PHOTOS_PER_CHUNK, max(4, batches) * BATCH_SIZE)


@dataclass(frozen=True)
class Undecoded:
    """bad: the photos that could not be decoded, with the reason; cut_short: those whose file ends too early."""

    bad: dict[str, str]
    cut_short: list[str]


class ChunkedWork:
    """The photos of rows (photo, person), to be predicted in chunks of a size in a place; these depend on a key.

    photos_of: the photos of some rows.
    """

    def __init__(
        self,
        place: Path,
        key: str,
        size: int,
        rows: pd.DataFrame,
        photos_of: Callable[[pd.DataFrame], Photos],
        members: Sequence[over_photos.Predictor],
        engine: Engine,
        threads: int,
    ):
        self.place, self.size, self.rows, self.photos_of = place, size, rows, photos_of
        self.members, self.engine, self.threads = members, engine, threads
        self.count = math.ceil(len(rows) / size)
        self._written, self._faces = Chunks(place, key), Chunks(place, f"{key}-faces")
        self._photos = photos_of(rows[:0])

    def predict(self) -> None:
        """Take chunks that nobody else has until all are whole."""
        with Progress("predict", len(self.rows), "photos") as progress:
            waiting, again = [], set()
            for number in range(self.count):
                note = self._note(number)
                if note is None:
                    waiting.append(number)
                elif mended(self._photos.source, note["bad"]):
                    waiting.append(number)
                    again.add(number)
                else:
                    progress.skip(len(self._of(number)))
            while waiting:
                if not self._take_one(waiting, again, progress):
                    progress.advance(0, "waiting for other processes")
                    time.sleep(LOOK)
                else:
                    progress.advance(0, "")

    def undecoded(self) -> Undecoded | None:
        """What could not be decoded of all photos; None where not all chunks are whole."""
        notes = [self._note(number) for number in range(self.count)]
        if None in notes:
            return None
        bad = {photo: reason for note in notes for photo, reason in note["bad"].items()}
        return Undecoded(bad, [photo for note in notes for photo in note["cut_short"]])

    def merge(self) -> list[str]:
        """Write the tables out of all chunks, which are whole, and return their names."""
        self._written.merge(self.count, self.place / PREDICTIONS)
        if self._photos.faces is None:
            (self.place / FACE_PREDICTIONS).unlink(missing_ok=True)
            return [PREDICTIONS]
        self._faces.merge(self.count, self.place / FACE_PREDICTIONS)
        return [PREDICTIONS, FACE_PREDICTIONS]

    def _take_one(self, waiting: list[int], again: set[int], progress: Progress) -> bool:
        """Predict the first chunk that nobody else has, or see that it is whole by now; whether there was one."""
        for place, number in enumerate(waiting):
            with self._written.taken(number) as mine:
                if not mine:
                    continue
                note = self._note(number)  # another process may have been here meanwhile
                if note is None or (number in again and mended(self._photos.source, note["bad"])):
                    self._predict(number, progress)
                else:
                    progress.advance(len(self._of(number)))
            del waiting[place]
            return True
        return False

    def _of(self, number: int) -> pd.DataFrame:
        """The rows of a chunk."""
        return self.rows.iloc[number * self.size : (number + 1) * self.size]

    def _note(self, number: int) -> dict[str, Any] | None:
        """The note of a chunk that is whole."""
        if self._photos.faces is not None and self._faces.note(number) is None:
            return None
        return self._written.note(number)

    def _predict(self, number: int, progress: Progress) -> None:
        some, engine = self._of(number), str(self.engine)
        found = over_photos.predict(self.members, self.photos_of(some), self.threads, progress)
        table = some[["photo", "person"]].merge(found.table, on="photo", how="inner").assign(engine=engine)
        if len(table) != len(found.table) or table["photo"].nunique() + len(found.bad) != len(some):
            raise AssertionError("every photo is predicted exactly once by every fold, or is bad")
        if self._photos.faces is not None:
            self._faces.write(number, found.faces.assign(engine=engine), {})
        self._written.write(number, table, {"bad": found.bad, "cut_short": found.cut_short})
