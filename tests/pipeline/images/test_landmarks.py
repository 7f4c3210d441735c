"""Landmarks in prepared photos: where a dot on the landmark ends up."""

import numpy as np
import pytest

from pipeline.faces.frame import eyes_of, frame_face
from pipeline.faces.yunet import Face
from pipeline.images.framing import View, fit
from pipeline.images.landmarks import _in_view

POINTS = ((150.0, 180.0), (230.0, 190.0), (185.0, 235.0), (155.0, 270.0), (220.0, 275.0))
FACE = Face((120.0, 110.0, 140.0, 210.0), POINTS, 0.9)


def dot_at(point, size=(384, 512)) -> np.ndarray:
    """A black photo with a soft white dot."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    light = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 6**2))
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)


def centre_of(photo) -> np.ndarray:
    light = photo[..., 0].astype(float)
    y, x = np.indices(light.shape) + 0.5
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


@pytest.mark.parametrize("view", [View(128, 96, 0.3), View(160, 120, 0.0), View(100, 100, 0.6)])
@pytest.mark.parametrize("way", ["whole", "cropped", "boxed", "framed"])
def test_landmarks_are_where_their_pixels_are(view, way):
    box = (110.0, 120.0, 150.0, 200.0) if way == "boxed" else None
    crop = 0.8 if way == "cropped" else 1.0
    points = _in_view(FACE, (384, 512), view, box, crop, way == "framed")
    for point, found in zip(POINTS, points, strict=True):
        photo = dot_at(point)
        made = (
            frame_face(photo, *view.size, eyes_of(FACE), view.margin)
            if way == "framed"
            else fit(photo, view, box, crop)
        )
        np.testing.assert_allclose(found, centre_of(made), atol=0.35)
