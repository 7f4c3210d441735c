"""A face framed by its eyes: level, in the same place and of the same size, whether it is masked or not.

A detector's box of a masked face is wider and higher than of the bare one, so that a frame around the box would tell
them apart; the eyes are where they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.yunet import Face

WIDE, ABOVE, BELOW = 2.1, 1.1, 1.7
"""A face in distances between the eyes: how wide it is, and how far it reaches above and below them."""
YAWED = 0.75
"""A face is seen from the side where its eyes are closer than this share of what they are from before."""
NARROWEST = 1.9
"""Distances between the eyes that a detector's box is wide at the least: where its eyes lie farther apart, one of them
is not where it should be, as in a hundredth of masked faces."""
SUPERSAMPLING = 2
"""Pixels along a side that are sampled for one of the framed photo, and averaged."""
FRAME = (WIDE, ABOVE, BELOW, YAWED, NARROWEST, SUPERSAMPLING)
"""All that makes a frame."""


class Eyes(NamedTuple):
    """The middle between the eyes, their distance, in pixels, and their tilt in radians, clockwise.

    The distance is what it would be if the face were seen from before.
    """

    x: float
    y: float
    distance: float
    tilt: float


def eyes_of(face: Face) -> Eyes:
    """Where a face has its eyes."""
    (x0, y0), (x1, y1) = face.landmarks[:2]
    apart = math.hypot(x1 - x0, y1 - y0)
    tilt = math.atan2(y1 - y0, x1 - x0) if apart else 0.0
    across = face.box[3] if abs(math.sin(tilt)) > abs(math.cos(tilt)) else face.box[2]
    # a face from the side would be framed far too tight by its eyes alone
    distance = min(max(apart, YAWED * across / WIDE), across / NARROWEST)
    return Eyes((x0 + x1) / 2, (y0 + y1) / 2, max(distance, 1.0), tilt)


class TypicalEyes(NamedTuple):
    """Where eyes usually are: the middle as shares of the photo's width and height, the distance as one of `_reach`.

    For photos in which no face is found: a framing of their own would tell that none was.
    """

    x: float
    y: float
    distance: float

    @classmethod
    def of(cls, eyes: Sequence[Eyes], sizes: Sequence[tuple[int, int]]) -> TypicalEyes:
        """The medians over photos of such sizes (width, height); without any, of a face that fills the photo."""
        if not eyes:
            return cls(0.5, ABOVE / (ABOVE + BELOW), 1.0)
        shares = [
            (one.x / width, one.y / height, one.distance / _reach(width, height))
            for one, (width, height) in zip(eyes, sizes, strict=True)
        ]
        return cls(*np.median(shares, axis=0).tolist())

    def on(self, width: int, height: int) -> Eyes:
        """In a photo of this size."""
        return Eyes(self.x * width, self.y * height, self.distance * _reach(width, height), 0.0)


def _reach(width: int, height: int) -> float:
    """The distance between the eyes of the largest face that a photo holds."""
    return min(width / WIDE, height / (ABOVE + BELOW))


def frame_face(photo: NDArray[np.uint8], height: int, width: int, eyes: Eyes, margin: float) -> NDArray[np.uint8]:
    """A face out of a photo (H, W, 3), with its eyes level, as (height, width, 3).

    margin: what is kept on each side of the face, as a share of it. Beyond the photo's edge its last pixels go on.
    """
    corner, turn, step = _frame(height, width, eyes, margin)
    left, top, right, bottom = _around(photo, corner, turn, width * SUPERSAMPLING, height * SUPERSAMPLING)
    region = photo[top:bottom, left:right]
    if step > 1:  # first to about the pixels that are sampled, or some of the photo's would not count
        size = max(1, round((right - left) / step)), max(1, round((bottom - top) / step))
        region = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
    shrunk = np.array([region.shape[1] / (right - left), region.shape[0] / (bottom - top)])
    turn = turn * shrunk[:, None]
    corner = (corner - (left, top)) * shrunk + turn @ np.array([0.5, 0.5]) - 0.5  # of pixels' middles
    fine = cv2.warpAffine(
        region,
        np.column_stack([turn, corner]),
        (width * SUPERSAMPLING, height * SUPERSAMPLING),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)


def to_frame(points: NDArray[np.float64], height: int, width: int, eyes: Eyes, margin: float) -> NDArray[np.float64]:
    """Points (N, 2) of a photo, in pixels of the framed one that `frame_face` makes of it."""
    corner, turn, _ = _frame(height, width, eyes, margin)
    return (points - corner) @ np.linalg.inv(turn).T / SUPERSAMPLING


def _frame(
    height: int, width: int, eyes: Eyes, margin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Where a frame's corner is in the photo, (2, 2) a step along its sides, and how long that is in pixels.

    A step is one of SUPERSAMPLING to a pixel of the frame.
    """
    wide, high = WIDE * eyes.distance * (1 + 2 * margin), (ABOVE + BELOW) * eyes.distance * (1 + 2 * margin)
    wide, high = max(wide, high * width / height), max(high, wide * height / width)
    down = (BELOW - ABOVE) / 2 * eyes.distance
    cos, sin = math.cos(eyes.tilt), math.sin(eyes.tilt)
    middle = np.array([eyes.x - sin * down, eyes.y + cos * down])
    step = wide / (width * SUPERSAMPLING)
    turn = np.array([[cos, -sin], [sin, cos]]) * step
    return middle - turn @ np.array([width, height]) * SUPERSAMPLING / 2, turn, step


def _around(
    photo: NDArray[np.uint8], corner: NDArray[np.float64], turn: NDArray[np.float64], width: int, height: int
) -> tuple[int, int, int, int]:
    """What of a photo lies under a frame, and some pixels around it: (left, top, right, bottom), at least a pixel."""
    corners = corner + np.array([(0, 0), (width, 0), (0, height), (width, height)]) @ turn.T
    around = 2 + 2 * float(np.abs(turn).max())
    low, high = np.floor(corners.min(0) - around), np.ceil(corners.max(0) + around)
    tall, wide = photo.shape[:2]
    left, top = int(min(max(low[0], 0), wide - 1)), int(min(max(low[1], 0), tall - 1))
    return left, top, int(min(max(high[0], left + 1), wide)), int(min(max(high[1], top + 1), tall))
