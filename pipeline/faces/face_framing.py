"""How a run frames the faces of its photos: which one of a photo, and where eyes are where none is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from models.errors import UserError
from pipeline.faces.detect import Detector
from pipeline.faces.frame import FRAME, Eyes, TypicalEyes, eyes_of
from pipeline.faces.yunet import Face
from pipeline.runtime import store

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Framing:
    """What photos of a run are framed by, in training and in prediction.

    method: a fingerprint of how faces are found and framed. typical, in_box: where eyes are in photos and in face boxes
    without a face that is found.
    """

    method: str
    typical: TypicalEyes
    in_box: TypicalEyes

    @classmethod
    def of(cls, detector: Detector, shown: Iterable[tuple[Face, tuple[int, int], Box | None]]) -> Self:
        """By faces that were found, each with the size (width, height) of its photo and the box given for it."""
        eyes, sizes, boxed, boxes = [], [], [], []
        for face, size, box in shown:
            one = eyes_of(face)
            eyes.append(one)
            sizes.append(size)
            if box is not None:
                boxed.append(one._replace(x=one.x - box[0], y=one.y - box[1]))
                boxes.append(box[2:])
        return cls(method_of(detector), TypicalEyes.of(eyes, sizes), TypicalEyes.of(boxed, boxes))

    def eyes(self, face: Face | None, size: tuple[int, int], box: Box | None = None) -> Eyes:
        """Of the face that counts in a photo of a size (width, height); without one, where they usually are."""
        if face is not None:
            return eyes_of(face)
        if box is None:
            return self.typical.on(*size)
        eyes = self.in_box.on(*box[2:])
        return eyes._replace(x=eyes.x + box[0], y=eyes.y + box[1])

    def as_json(self) -> dict[str, Any]:
        return {"method": self.method, "typical": list(self.typical), "in_box": list(self.in_box)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None, where: object) -> Self | None:
        """What `as_json` gave, None for None. Raises UserError, naming `where` it stands, for anything else."""
        if value is None:
            return None
        try:
            return cls(value["method"], TypicalEyes(*value["typical"]), TypicalEyes(*value["in_box"]))
        except (KeyError, TypeError):
            raise UserError(f"{where} does not say how faces are framed; run the stage that writes it again.") from None


def method_of(detector: Detector) -> str:
    """The method of framings by faces that a detector finds."""
    return store.fingerprint([detector.method, FRAME])


def chosen_face(faces: Sequence[Face], box: Box | None = None) -> Face | None:
    """The largest face; with a box that was given, the one that fits it best of those with their eyes in it."""
    if box is None:
        return max(faces, key=lambda face: face.area, default=None)
    return max(
        (face for face in faces if _holds(box, eyes_of(face))), key=lambda face: _iou(face.box, box), default=None
    )


def _holds(box: Box, eyes: Eyes) -> bool:
    return 0 <= eyes.x - box[0] <= box[2] and 0 <= eyes.y - box[1] <= box[3]


def _iou(one: Box, other: Box) -> float:
    """The intersection of two boxes as a share of their union."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(high, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)
