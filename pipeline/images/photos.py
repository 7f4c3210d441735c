"""Many photos decoded and framed, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.images.decode import BadPhotoError, decode, read_photo
from pipeline.images.framing import Box, View, fit


@dataclass(frozen=True)
class Photos:
    """Where photos lie and how they are framed: `boxes` (N, 4) with NaN where there is none, or None.

    `box_rows` says by name where a box stands, for messages. Boxes are in pixels of the whole photo, upright.
    """

    root: Path
    names: Sequence[str]
    boxes: NDArray[np.float64] | None = None
    crop: float = 1.0
    box_rows: Mapping[str, str] = field(default_factory=dict)

    def box(self, index: int) -> Box | None:
        if self.boxes is None or np.isnan(self.boxes[index]).any():
            return None
        left, top, width, height = self.boxes[index].tolist()
        return left, top, width, height


@dataclass(frozen=True)
class FittedPhoto:
    """A photo's pixels by view, (height, width, 3); whether its file is cut short, so that some were filled."""

    pixels: dict[View, NDArray[np.uint8]]
    cut_short: bool = False

    def __getitem__(self, view: View) -> NDArray[np.uint8]:
        return self.pixels[view]


def decode_photo(photos: Photos, index: int, views: Sequence[View]) -> FittedPhoto | str:
    """One photo, decoded once and fitted to each view; or, as a string, why it cannot be decoded."""
    try:
        photo = decode(photos.root / photos.names[index])
    except BadPhotoError as problem:
        return str(problem)
    box = photos.box(index)
    if box is not None and photo.reduced > 1:
        left, top, width, height = (side / photo.reduced for side in box)
        box = left, top, width, height
    fitted = {view: fit(photo.pixels, view, box, photos.crop) for view in views}
    return FittedPhoto(fitted, photo.cut_short)


def decode_all(photos: Photos, views: Sequence[View], jobs: int) -> Iterator[FittedPhoto | str]:
    """`decode_photo` of every photo, in order, `jobs` at a time and at most 16 x `jobs` ahead of the reader."""
    # Threads: Pillow and OpenCV let go of the interpreter while they work. (joblib's generator would run
    # ahead of a slow reader without end.)
    ahead: deque[Future] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        for index in range(len(photos.names)):
            ahead.append(pool.submit(decode_photo, photos, index, views))
            if len(ahead) == 16 * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def mended(root: Path, bad: Iterable[str]) -> bool:
    """Whether any of these photos can be decoded now: a permission or a disk may have been at fault."""

    def is_good(photo: str) -> bool:
        try:
            read_photo(root / photo)
        except BadPhotoError:
            return False
        return True

    return any(map(is_good, bad))
