"""Predictions about many photos, written chunk by chunk, so that stopping costs one chunk at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.images.photos import Photos, mended
from pipeline.prediction import over_photos
from pipeline.prediction.chunks import FACE_PREDICTIONS, PREDICTIONS, Chunks
from pipeline.prediction.engine import Engine
from pipeline.runtime.progress import Progress

PHOTOS_PER_CHUNK = 1024
"""Photos that are predicted between two times of writing."""


@dataclass(frozen=True)
class ChunkedPredictions:
    """bad: the photos that could not be decoded, with the reason; cut_short: those whose file ends too early."""

    bad: dict[str, str]
    cut_short: list[str]
    merge: Callable[[], list[str]]
    """Writes the tables and returns their names."""


def predict_in_chunks(
    place: Path,
    key: str,
    rows: pd.DataFrame,
    photos_of: Callable[[pd.DataFrame], Photos],
    members: Sequence[over_photos.Predictor],
    engine: Engine,
    threads: int,
) -> ChunkedPredictions:
    """Predict the photos of rows (photo, person), with chunks in a place that depend on a key.

    photos_of: the photos of some rows. A chunk that stands is taken, unless one of its photos can be decoded only now.
    """
    written, faces = Chunks(place, key), Chunks(place, f"{key}-faces")
    bad: dict[str, str] = {}
    cut_short: list[str] = []
    count = math.ceil(len(rows) / PHOTOS_PER_CHUNK)
    photos = photos_of(rows[:0])
    with Progress("predict", len(rows), "photos") as progress:
        for number in range(count):
            some = rows.iloc[number * PHOTOS_PER_CHUNK : (number + 1) * PHOTOS_PER_CHUNK]
            note = written.note(number) if photos.faces is None or faces.note(number) is not None else None
            if note is None or mended(photos.source, note["bad"]):
                found = over_photos.predict(members, photos_of(some), threads, progress)
                table = some[["photo", "person"]].merge(found.table, on="photo", how="inner").assign(engine=str(engine))
                if len(table) != len(found.table) or table["photo"].nunique() + len(found.bad) != len(some):
                    raise AssertionError("every photo is predicted exactly once by every fold, or is bad")
                note = {"bad": found.bad, "cut_short": found.cut_short}
                if photos.faces is not None:
                    faces.write(number, found.faces.assign(engine=str(engine)), {})
                written.write(number, table, note)
            else:
                progress.skip(len(some))
            bad |= note["bad"]
            cut_short += note["cut_short"]

    def merge() -> list[str]:
        written.merge(count, place / PREDICTIONS)
        if photos.faces is None:
            (place / FACE_PREDICTIONS).unlink(missing_ok=True)
            return [PREDICTIONS]
        faces.merge(count, place / FACE_PREDICTIONS)
        return [PREDICTIONS, FACE_PREDICTIONS]

    return ChunkedPredictions(bad, cut_short, merge)
