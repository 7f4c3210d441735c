"""A labeller for photos of strangers: none takes minutes, more memory than there is, or faces without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.dataset.reach import PhotoBytes
from pipeline.images.photos import FittedPhoto
from pipeline.serving.guard import PixelBudget, refusal
from pipeline.serving.labelled import Labelled
from pipeline.serving.limits import FACES

if TYPE_CHECKING:
    from pipeline.serving.labeller import Labeller


class ForStrangers:
    """A labeller as a server needs it (`batcher.Labels`). megapixels: of a photo, None for decoding's own limit."""

    def __init__(self, labeller: Labeller, megapixels: float | None):
        self._labeller = labeller
        self._most_pixels = None if megapixels is None else megapixels * 1e6
        self._pixels = PixelBudget()
        self.together = labeller.together

    def look_at(self, photo: PhotoBytes) -> FittedPhoto | str:
        told = refusal(photo)
        if told is not None:
            return told
        with self._pixels.of(photo):
            return self._labeller.look_at(photo, self._most_pixels, FACES)

    def label_seen(self, names: Sequence[str], photos: Sequence[FittedPhoto]) -> Labelled:
        return self._labeller.label_seen(names, photos)
