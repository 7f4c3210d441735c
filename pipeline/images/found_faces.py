"""The faces of many photos: found once, side by side, and kept beside the prepared photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.dataset.tables import BOX
from pipeline.faces.detect import Detector
from pipeline.faces.yunet import Face
from pipeline.images.decode import BadPhotoError, decode
from pipeline.images.photos import Photos, side_by_side
from pipeline.run import records
from pipeline.runtime import store
from pipeline.runtime.progress import Progress

FILE = "faces.csv"
POINTS = tuple(
    f"{point}_{axis}" for point in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right") for axis in "xy"
)
"""The columns of the landmarks, in pixels; left is where a viewer sees it."""
CELLS = (*BOX, *POINTS, "score")
"""The columns of a face."""
BLANKS = (math.nan,) * (1 + len(CELLS))


@dataclass(frozen=True)
class FoundFaces:
    """Faces by photo, the largest first, and the photos' sizes (width, height); both of those that can be decoded.

    In pixels of the whole photo, upright.
    """

    faces: Mapping[str, tuple[Face, ...]]
    sizes: Mapping[str, tuple[int, int]]


def find_faces(photos: Photos, name: str, detector: Detector, jobs: int, kept: Path) -> FoundFaces:
    """The faces of photos, from an earlier time where photos and detector are the same.

    `name` is the data set's, for the name of a folder in `kept`. A second process waits for the first.
    """
    names = list(photos.names)
    inputs = {
        "photos": store.photo_fingerprint(photos.root, names, times=True),
        "method": detector.method,
    }
    folder = kept / f"{name[:40]}-faces-{store.fingerprint(inputs)}"
    with store.locked(folder.with_name(f".{folder.name}.lock"), f"finding faces in {name}", wait=True):
        store.sweep(folder)
        if records.finished(folder, "faces", inputs) is None:
            store.write_csv(folder / FILE, _table(photos, detector, jobs))
            records.record(folder, "faces", inputs, [FILE], {"photos": len(names)})
    return _read(store.read_csv(folder / FILE))


def _table(photos: Photos, detector: Detector, jobs: int) -> pd.DataFrame:
    """A row a face, and one with blanks for a photo without."""

    def find(index: int) -> tuple[tuple[int, int], tuple[Face, ...]] | None:
        try:
            photo = decode(photos.source(photos.names[index]))
        except BadPhotoError:  # decoding it for its pixels tells why
            return None
        width, height = (side * photo.reduced for side in photo.size)
        return (width, height), tuple(face.scaled(photo.reduced) for face in detector.find(photo.pixels))

    rows = []
    with Progress("faces", len(photos.names), "photos") as progress:
        for photo, found in zip(photos.names, side_by_side(find, len(photos.names), jobs), strict=True):
            if found is not None:
                size, faces = found
                rows += [(photo, *size, number, *_cells(face)) for number, face in enumerate(faces)]
                rows += [] if faces else [(photo, *size, *BLANKS)]
            progress.advance()
    return pd.DataFrame(rows, columns=["photo", "width", "height", "face", *CELLS])


def _cells(face: Face) -> tuple[float, ...]:
    return (*face.box, *(side for point in face.landmarks for side in point), face.score)


def _read(table: pd.DataFrame) -> FoundFaces:
    faces: dict[str, tuple[Face, ...]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    boxes, points = (table[list(names)].to_numpy(float).tolist() for names in (BOX, POINTS))
    for row, (photo, width, height, face, score) in enumerate(
        zip(*(table[name] for name in ("photo", "width", "height", "face", "score")), strict=True)
    ):
        sizes[photo] = int(width), int(height)
        before = faces.setdefault(photo, ())
        if face == len(before):  # blank where none was found
            landmarks = tuple(zip(points[row][::2], points[row][1::2], strict=True))
            faces[photo] = (*before, Face(tuple(boxes[row]), landmarks, float(score)))
    return FoundFaces(faces, sizes)
