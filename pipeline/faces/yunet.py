"""Faces in a photo, masked or not: YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023), run by OpenCV.

Nothing here needs the rest of the project: an exported model finds faces by the same lines.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FACE_SCORE, SURE_SCORE, LEAST_SCORE = 0.6, 0.8, 0.3
"""Scores, from 0 to 1: of a face; of one that stands upright beyond doubt, as none on its side scores better by GAIN
(few score more than 0.95); and the least that is looked at. Faces on their side are found too, with their eyes in a
wrong place."""
GAIN = 0.15
"""How much better a face must score in a photo put on its side. Of 440 masked and 60 bare portraits that stand upright
it turns none (0.05 and 0.10 turn one, 0.05 another in a second set); of masked ones on their side it mends three in
ten. Few photos lie on their side without EXIF that says so, and an upright one turned would cost more."""
LONGEST = 512
"""Pixels of the longer side of what is searched. In photos of 1536x2048 as they are, most masked faces were missed;
and in small ones as they are, eyes are found less exactly."""
FINER = 1024
"""The same of a second search, for small faces in photos of more than FINER_FROM pixels."""
FINER_FROM = 768
SMALL = 96
"""Pixels of the first search that a small face is wide, at most. Of 571 portraits, most of them masked, in pictures
three to six times as high, both searches find 0.995; the first alone found 0.96 of 191."""
SHORTEST = 8
"""Pixels of the shorter side of what is searched: nothing in a narrower strip is a face."""
NMS_IOU = 0.3
"""Of two boxes whose intersection is more than this of their union, the one of the better score is kept."""
TOP_K = 5000
"""Boxes that are looked at before those that overlap are left out."""
SIDEWAYS = (1, 3)
"""Quarter turns to the left; of equals the first counts."""
DIGITS = 2
"""Of coordinates: a hundredth of a pixel, which a table holds exactly."""

cv2.setNumThreads(1)  # photos are searched side by side already

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face in pixels of the photo in which it was found.

    box: left, top, width, height; landmarks: the eyes, the nose's tip and the corners of the mouth, of each pair first
    the one that a viewer sees left where the face is upright.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    score: float

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]

    def scaled(self, times: float) -> Face:
        """In pixels so many times as fine; exact for powers of two."""
        points = tuple((x * times, y * times) for x, y in self.landmarks)
        return Face(tuple(side * times for side in self.box), points, self.score)


class YuNet:
    """Finds faces by a model, the content of an ONNX file; any number of threads may ask it at once.

    Raises cv2.error where the model is something else.
    """

    def __init__(self, content: bytes):
        self._content = np.frombuffer(content, np.uint8)
        self._own = threading.local()
        self._find(np.zeros((64, 64, 3), np.uint8))

    def find(self, photo: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The faces of a photo (height, width, 3) RGB that score at least FACE_SCORE, the largest first.

        Where none is sure to stand upright, those of the photo on its side are taken if they score better by GAIN. A
        photo upside down is searched as it stands: its faces are found, and their mouths taken for eyes.
        """
        height, width = photo.shape[:2]
        searched = _brought_to(photo, LONGEST)
        size = searched.shape[1::-1]
        if min(size) < SHORTEST:
            return ()
        faces, turned = self._find(searched), False
        upright = _best_score(faces)
        if upright < SURE_SCORE:
            for turns in SIDEWAYS:
                sideways = self._find(np.rot90(searched, turns))
                if _best_score(sideways) > max(_best_score(faces), upright + GAIN):
                    faces, turned = _turned_back(sideways, turns, size), True
        found = _in_whole_photo(faces, size, photo)
        if max(height, width) > FINER_FROM and not turned:
            finer = _brought_to(photo, min(FINER, max(height, width)))
            small = SMALL * max(height, width) / LONGEST
            found = _with_small(found, _in_whole_photo(self._find(finer), finer.shape[1::-1], photo), small)
        return tuple(sorted(found, key=lambda face: (-face.area, face.box)))

    def _find(self, photo: NDArray[np.uint8]) -> list[Face]:
        """What may be faces of a photo as it stands, in its own pixels."""
        size = (photo.shape[1], photo.shape[0])
        if not hasattr(self._own, "detector"):  # one is for one thread
            self._own.detector = cv2.FaceDetectorYN.create(
                "onnx", self._content, np.empty(0, np.uint8), size, LEAST_SCORE, NMS_IOU, TOP_K
            )
        self._own.detector.setInputSize(size)
        _, rows = self._own.detector.detect(np.ascontiguousarray(photo[..., ::-1]))  # it learned from BGR
        rows = [] if rows is None else rows.astype(float).tolist()
        found = [row for row in rows if all(map(math.isfinite, row))]
        return [
            Face(tuple(row[:4]), tuple(zip(row[4:14:2], row[5:14:2], strict=True)), row[14])
            for row in found
            if row[2] > 0 and row[3] > 0
        ]


def _best_score(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=0.0)


def _turned_back(faces: list[Face], turns: int, size: tuple[int, int]) -> list[Face]:
    """Faces found in `np.rot90(photo, turns)` where they lie in the photo of a size (width, height)."""
    width, height = size

    def back(point: Point) -> Point:
        x, y = point
        return (width - y, x) if turns == 1 else (y, height - x)

    found = []
    for face in faces:
        left, top, wide, high = face.box
        (x0, y0), (x1, y1) = back((left, top)), back((left + wide, top + high))
        box = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
        found.append(Face(box, tuple(map(back, face.landmarks)), face.score))
    return found


def _brought_to(photo: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A photo with so many pixels along its longer side."""
    height, width = photo.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return photo
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _in_whole_photo(faces: list[Face], size: tuple[int, int], photo: NDArray[np.uint8]) -> list[Face]:
    """Those that count as faces, of what was found in a photo brought to a size (width, height), in its own pixels."""
    across, down = photo.shape[1] / size[0], photo.shape[0] / size[1]
    return [_scaled(face, across, down) for face in faces if face.score >= FACE_SCORE]


def _with_small(faces: list[Face], finer: list[Face], small: float) -> list[Face]:
    """Faces, with those of a finer search that are narrower than so many pixels, in place of the same of the first."""
    new = [face for face in finer if face.box[2] <= small]
    kept = [face for face in faces if face.box[2] > small or not any(_overlap(face, other) for other in new)]
    return kept + [face for face in new if not any(_overlap(face, other) for other in kept)]


def _overlap(one: Face, other: Face) -> bool:
    """Whether the middle of one of two faces lies in the other."""
    return _holds_middle(one, other) or _holds_middle(other, one)


def _holds_middle(one: Face, other: Face) -> bool:
    (left, top, wide, high), (x, y, across, down) = one.box, other.box
    return 0 <= x + across / 2 - left <= wide and 0 <= y + down / 2 - top <= high


def _scaled(face: Face, across: float, down: float) -> Face:
    """A face with its pixels so many times as wide and as high, rounded."""
    left, top, wide, high = face.box
    box = (left * across, top * down, wide * across, high * down)
    landmarks = tuple((round(x * across, DIGITS), round(y * down, DIGITS)) for x, y in face.landmarks)
    return Face(tuple(round(side, DIGITS) for side in box), landmarks, round(face.score, 4))
