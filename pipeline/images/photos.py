"""Many photos decoded and framed, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.reach import OnDisk, PhotoBytes, Reach
from pipeline.faces.detect import Detector
from pipeline.faces.face_framing import Framing, chosen_face
from pipeline.faces.frame import Eyes, eyes_of, frame_face
from pipeline.faces.yunet import Face
from pipeline.images.decode import BadPhotoError, Decoded, decode, read_photo
from pipeline.images.framing import Box, View, fit

T = TypeVar("T")
AHEAD = 16
"""Photos that each thread may be ahead of who reads them."""


@dataclass(frozen=True)
class FaceSearch:
    """Photos framed by the faces in them. known: those found before, by photo, in pixels of the whole photo.

    every: whether the other faces of a photo are wanted too, beside the one that counts; most: so many of them at the
    most, the largest.
    """

    framing: Framing
    detector: Detector
    known: Mapping[str, tuple[Face, ...]] = field(default_factory=dict)
    every: bool = False
    most: int | None = None

    def faces(self, name: str, photo: Decoded) -> tuple[Face, ...]:
        """Of a decoded photo, in its pixels."""
        if name in self.known:
            return tuple(face.scaled(1 / photo.reduced) for face in self.known[name])
        return self.detector.find(photo.pixels)


@dataclass(frozen=True)
class Photos:
    """Where photos lie and how they are framed: `boxes` (N, 4) with NaN where there is none, or None.

    `box_rows` says by name where a box stands, for messages. Boxes are in pixels of the whole photo, upright. `faces`:
    None where photos are framed by their boxes alone. reach: what reaches them, where they are no files below `root`.
    """

    root: Path
    names: Sequence[str]
    boxes: NDArray[np.float64] | None = None
    crop: float = 1.0
    box_rows: Mapping[str, str] = field(default_factory=dict)
    faces: FaceSearch | None = None
    reach: Reach | None = None

    def source(self, name: str) -> Path | PhotoBytes:
        """What `decode` takes for a photo; raises BadPhotoError for one that is not read as it is kept."""
        return (self.reach or OnDisk(self.root)).source(name)

    def box(self, index: int) -> Box | None:
        if self.boxes is None or np.isnan(self.boxes[index]).any():
            return None
        left, top, width, height = self.boxes[index].tolist()
        return left, top, width, height


@dataclass(frozen=True)
class FittedFace:
    """A face, in pixels of the whole photo, and what is framed by it, by view."""

    face: Face
    pixels: dict[View, NDArray[np.uint8]]


@dataclass(frozen=True)
class FittedPhoto:
    """A photo's pixels by view, (height, width, 3); whether its file is cut short, so that some were filled.

    counts: the face that framed it; others: the further ones, the largest first. Both only where faces are looked for.
    left_out: how many further faces there are that were not wanted.
    """

    pixels: dict[View, NDArray[np.uint8]]
    cut_short: bool = False
    counts: FittedFace | None = None
    others: tuple[FittedFace, ...] = ()
    left_out: int = 0

    def __getitem__(self, view: View) -> NDArray[np.uint8]:
        return self.pixels[view]


def decode_photo(photos: Photos, index: int, views: Sequence[View]) -> FittedPhoto | str:
    """One photo, decoded once and fitted to each view; or, as a string, why it cannot be decoded."""
    try:
        photo = decode(photos.source(photos.names[index]))
    except BadPhotoError as problem:
        return str(problem)
    return fitted(photo, views, photos.names[index], photos.box(index), photos.crop, photos.faces)


def fitted(
    photo: Decoded,
    views: Sequence[View],
    name: str,
    box: Box | None = None,
    crop: float = 1.0,
    faces: FaceSearch | None = None,
) -> FittedPhoto:
    """A decoded photo fitted to each view. name: by which its faces may be known; box: in pixels of the whole photo."""
    if box is not None and photo.reduced > 1:
        left, top, width, height = (side / photo.reduced for side in box)
        box = left, top, width, height
    if faces is None:
        return FittedPhoto(_by_box(photo, views, box, crop), photo.cut_short)
    return _by_faces(faces, name, photo, views, box)


def _by_box(photo: Decoded, views: Sequence[View], box: Box | None, crop: float) -> dict[View, NDArray[np.uint8]]:
    """A photo cropped to a box or as a whole, where views of one size are the same."""
    same: dict[tuple[int, ...], NDArray[np.uint8]] = {}
    for view in views:
        key = view.size if box is None else view
        if key not in same:
            same[key] = fit(photo.pixels, view, box, crop)
    return {view: same[view.size if box is None else view] for view in views}


def _by_faces(by: FaceSearch, name: str, photo: Decoded, views: Sequence[View], box: Box | None) -> FittedPhoto:
    """A photo framed by the face that counts, or as if it had one where others do."""

    def framed(eyes: Eyes) -> dict[View, NDArray[np.uint8]]:
        return {view: frame_face(photo.pixels, *view.size, eyes, view.margin) for view in views}

    def of_face(face: Face) -> FittedFace:
        return FittedFace(face.scaled(photo.reduced), framed(eyes_of(face)))

    found = by.faces(name, photo)
    face = chosen_face(found, box)
    further = [other for other in found if other is not face] if by.every else []
    others = tuple(of_face(other) for other in further[: by.most])
    left_out = len(further) - len(others)
    if face is None:
        return FittedPhoto(framed(by.framing.eyes(None, photo.size, box)), photo.cut_short, None, others, left_out)
    counts = of_face(face)
    return FittedPhoto(counts.pixels, photo.cut_short, counts, others, left_out)


def decode_all(photos: Photos, views: Sequence[View], jobs: int) -> Iterator[FittedPhoto | str]:
    """`decode_photo` of every photo, in order, `jobs` at a time and at most AHEAD x `jobs` ahead of the reader.

    A quarter of that where every face is wanted: a crowd's take megabytes a photo.
    """
    ahead = AHEAD // 4 if photos.faces is not None and photos.faces.every else AHEAD
    return side_by_side(lambda index: decode_photo(photos, index, views), len(photos.names), jobs, ahead)


def side_by_side(work: Callable[[int], T], count: int, jobs: int, most: int = AHEAD) -> Iterator[T]:
    """`work` on 0 to `count` - 1, in order, `jobs` at a time and at most `most` x `jobs` ahead of the reader."""
    # Threads: Pillow and OpenCV let go of the interpreter while they work. (joblib's generator would run
    # ahead of a slow reader without end.)
    ahead: deque[Future] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        for index in range(count):
            ahead.append(pool.submit(work, index))
            if len(ahead) == most * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def mended(source: Callable[[str], Path | PhotoBytes], bad: Iterable[str]) -> bool:
    """Whether any of these photos can be decoded now: a permission or a disk may have been at fault."""

    def is_good(photo: str) -> bool:
        try:
            read_photo(source(photo))
        except BadPhotoError:
            return False
        return True

    return any(map(is_good, bad))
