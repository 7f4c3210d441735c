"""What is kept of a photo, and its size: the same bytes in training and prediction."""

from __future__ import annotations

from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from models.declared import declared
from models.settings import ModelSettings

MARGIN = declared(ModelSettings)["face_margin"].default
Box = tuple[float, float, float, float]
"""(left, top, width, height) in pixels of the upright photo at its full size."""


class View(NamedTuple):
    """How a network is shown photos: height and width in pixels, and what is kept on each side of a face."""

    height: int
    width: int
    margin: float = MARGIN

    @classmethod
    def of(cls, settings: ModelSettings) -> Self:
        """Of a network with these settings."""
        return cls(settings.height, settings.width, settings.face_margin)

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


cv2.setNumThreads(1)  # photos are decoded side by side already


def clipped(box: Box, width: int, height: int) -> Box:
    """What of a box lies inside a photo, its width or height 0 where nothing does."""
    left, top = min(max(box[0], 0), width), min(max(box[1], 0), height)
    right, bottom = min(max(box[0] + box[2], 0), width), min(max(box[1] + box[3], 0), height)
    return left, top, right - left, bottom - top


def rectangle(
    width: int, height: int, aspect: float, box: Box | None = None, crop: float = 1.0, margin: float = MARGIN
) -> tuple[int, int, int, int]:
    """What is kept of a photo: (left, top, right, bottom) in pixels, of the given aspect (width / height).

    With a face box: the smallest such rectangle around what of the box lies inside the photo, and its margin, moved
    into the photo, and no larger than that holds. Without: the largest centred one, times `crop`.
    """
    widest = min(width, height * aspect)
    if box is None:
        wide, middle_x, middle_y = widest * crop, width / 2, height / 2
    else:
        left, top, box_width, box_height = clipped(box, width, height)
        wide = min(widest, max(box_width, box_height * aspect) * (1 + 2 * margin))
        middle_x, middle_y = left + box_width / 2, top + box_height / 2
    high = wide / aspect
    middle_x = min(max(middle_x, wide / 2), width - wide / 2)
    middle_y = min(max(middle_y, high / 2), height - high / 2)
    left, top = min(round(middle_x - wide / 2), width - 1), min(round(middle_y - high / 2), height - 1)
    right, bottom = round(middle_x + wide / 2), round(middle_y + high / 2)
    return max(0, left), max(0, top), min(width, max(right, left + 1)), min(height, max(bottom, top + 1))


def fit(photo: NDArray[np.uint8], view: View, box: Box | None = None, crop: float = 1.0) -> NDArray[np.uint8]:
    """Crop and resize a photo to (height, width, 3)."""
    height, width, margin = view
    left, top, right, bottom = rectangle(photo.shape[1], photo.shape[0], width / height, box, crop, margin)
    kept = photo[top:bottom, left:right]
    if kept.shape[:2] == (height, width):
        return kept.copy()
    shrinks = kept.shape[0] >= height and kept.shape[1] >= width
    return cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
