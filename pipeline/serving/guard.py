"""What a photo from a stranger may cost: refused by its head where that tells, and few large ones at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.dataset.reach import PhotoBytes
from pipeline.images import jpeg
from pipeline.images.decode import stated_size

SCANS = 100
"""Of a JPEG, at most: progressive ones have about ten, and each takes as long as the whole photo."""
TEXT_BYTES = 1_000_000
"""Of a photo whose pixels are written as text (PPM), which takes seconds a megabyte."""
PIXELS_AT_ONCE = 100_000_000
"""Pixels that are decoded at a time; a gigabyte or two."""


def refusal(photo: PhotoBytes) -> str | None:
    """Why a photo is not decoded that would take minutes; None of any other."""
    if photo.content.startswith(jpeg.START):
        scans = sum(segment.marker == jpeg.SOS for segment in jpeg.segments(photo.content))
        if scans > SCANS:
            return f"it has {scans} scans, and no camera makes more than {SCANS}"
    if photo.content[:2] in (b"P1", b"P2", b"P3") and len(photo.content) > TEXT_BYTES:
        return "its pixels are written as text; save it as PNG"
    return None


class PixelBudget:
    """Lets as many decode at once as PIXELS_AT_ONCE allow, and one photo of more alone."""

    def __init__(self) -> None:
        self._free = PIXELS_AT_ONCE
        self._changed = threading.Condition()

    @contextmanager
    def of(self, photo: PhotoBytes) -> Iterator[None]:
        """While a photo is decoded."""
        wide, high = stated_size(photo) or (1, 1)
        pixels = min(wide * high, PIXELS_AT_ONCE)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
