"""Face boxes beside the sizes of their photos, which the photos' headers tell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.images.decode import FORMATS, BadPhotoError, whole_size
from pipeline.images.framing import Box, clipped
from pipeline.images.photos import Photos
from pipeline.runtime.problems import Problems, show

MOSTLY = 0.5
"""The share of a face box that must lie inside its photo; what reaches over the edge is clipped."""


def check_boxes(photos: Photos, subject: str, jobs: int) -> None:
    """Raises UserError, naming the rows, where face boxes do not mostly lie inside their photos.

    Such boxes were made for another size of the photos, or before these were turned upright. Photos that cannot
    be decoded are passed over: decoding them tells more.
    """
    if photos.boxes is None:
        return
    boxed = np.flatnonzero(~np.isnan(photos.boxes).any(axis=1)).tolist()
    if not boxed:
        return
    problems = Problems(subject)
    with ThreadPoolExecutor(jobs) as pool:
        for index, fault in zip(boxed, pool.map(lambda index: _fault(photos, index), boxed), strict=True):
            if fault is not None:
                where = photos.box_rows.get(photos.names[index], "a face box")
                problems.add(f"{where}: {fault}")
    problems.stop()


def _fault(photos: Photos, index: int) -> str | None:
    """What is wrong with the face box of a photo, None where it mostly lies inside."""
    box, path = photos.box(index), photos.root / photos.names[index]
    try:
        if _whichever_way(box, path):
            return None
        width, height = whole_size(path)
    except BadPhotoError:
        return None
    if inside(box, width, height) >= MOSTLY:
        return None
    told = ", ".join(f"{side:g}" for side in box)
    return (
        f"the box ({told}) lies outside the photo {show(photos.names[index])}, or more than half of it does; that is "
        f"{width} wide and {height} high, and boxes (left, top, width, height) are in pixels of the upright, full-size "
        f"photo: make it for that size, or take it away"
    )


def _whichever_way(box: Box, path: Path) -> bool:
    """Whether a box mostly lies inside a photo whichever way up this is, by its header alone; False if unknown."""
    try:
        with Image.open(path, formats=FORMATS) as photo:
            width, height = photo.size
    except Exception:  # Pillow's readers raise whatever they meet in damaged files
        return False
    return inside(box, width, height) >= MOSTLY and inside(box, height, width) >= MOSTLY


def inside(box: Box, width: int, height: int) -> float:
    """The share of a box that lies inside a photo."""
    _, _, wide, high = clipped(box, width, height)
    return wide * high / (box[2] * box[3])
