"""Faces are framed by their eyes as the definition says, against sampling in float64."""

import math

import cv2
import numpy as np
import pytest

from pipeline.faces.frame import ABOVE, BELOW, WIDE, Eyes, TypicalEyes, eyes_of, frame_face
from pipeline.faces.yunet import Face

SIZE = (160, 120)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo without edges, so that ways to resample it differ little."""
    coarse = np.random.default_rng(seed).uniform(30, 225, (9, 9, 3))
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).round().astype(np.uint8)


def by_definition(photo: np.ndarray, height: int, width: int, eyes: Eyes, margin: float, fine: int = 6) -> np.ndarray:
    """Each pixel the mean of fine x fine points of the photo under it, in float64."""
    wide = WIDE * eyes.distance * (1 + 2 * margin)
    high = (ABOVE + BELOW) * eyes.distance * (1 + 2 * margin)
    step = max(wide / width, high / height)
    across = (np.arange(width * fine) + 0.5) / fine - width / 2
    down = (np.arange(height * fine) + 0.5) / fine - height / 2
    x, y = np.meshgrid(across * step, down * step + (BELOW - ABOVE) / 2 * eyes.distance)
    cos, sin = math.cos(eyes.tilt), math.sin(eyes.tilt)
    in_x, in_y = eyes.x + cos * x - sin * y - 0.5, eyes.y + sin * x + cos * y - 0.5
    tall, broad = photo.shape[:2]
    in_x, in_y = in_x.clip(0, broad - 1), in_y.clip(0, tall - 1)
    left, top = np.minimum(in_x.astype(int), broad - 2), np.minimum(in_y.astype(int), tall - 2)
    right_share, low_share = (in_x - left)[..., None], (in_y - top)[..., None]
    upper = photo[top, left] * (1 - right_share) + photo[top, left + 1] * right_share
    lower = photo[top + 1, left] * (1 - right_share) + photo[top + 1, left + 1] * right_share
    sampled = upper * (1 - low_share) + lower * low_share
    return sampled.reshape(height, fine, width, fine, 3).mean((1, 3))


@pytest.mark.parametrize("tilt", [0.0, 0.3, -0.5, math.pi / 2, math.pi])
@pytest.mark.parametrize("distance", [9.0, 40.0, 77.0, 300.0])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_it_is_what_the_definition_says(distance, tilt, margin):
    photo = smooth(1100, 900)
    eyes = Eyes(431.3, 477.7, distance, tilt)
    framed = frame_face(photo, *SIZE, eyes, margin)
    assert framed.shape == (*SIZE, 3)
    assert framed.dtype == np.uint8
    difference = np.abs(framed - by_definition(photo, *SIZE, eyes, margin))
    assert difference.mean() < 0.7
    assert difference.max() < 4


@pytest.mark.parametrize("place", [(3.0, 4.0), (896.0, 1090.0), (-40.0, 500.0), (450.0, 1200.0)])
def test_beyond_the_edge_the_last_pixels_go_on(place):
    photo = smooth(1100, 900)
    eyes = Eyes(*place, 60.0, 0.2)
    difference = np.abs(frame_face(photo, *SIZE, eyes, 0.25) - by_definition(photo, *SIZE, eyes, 0.25))
    assert difference.mean() < 0.7
    assert difference.max() < 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_photos_of_hardly_a_pixel(shape):
    photo = smooth(*shape)
    framed = frame_face(photo, *SIZE, Eyes(0.4, 0.3, 1.0, 0.1), 0.25)
    assert framed.shape == (*SIZE, 3)
    near = photo[:4, :4].reshape(-1, 3)
    assert (framed >= near.min(0)).all()
    assert (framed <= near.max(0)).all()
    assert (framed[0, 0] == photo[0, 0]).all()


def test_fine_stripes_do_not_come_back_coarse():
    """Shrunk to a twentieth, stripes of a pixel are grey, not whatever pixels happen to be sampled."""
    photo = np.zeros((2000, 2000, 3), np.uint8)
    photo[:, ::2] = 255
    framed = frame_face(photo, 64, 48, Eyes(1000, 900, 400.0, 0.1), 0.1)
    assert np.abs(framed.astype(int) - 127).max() < 10


@pytest.mark.parametrize(("height", "width"), [(160, 120), (100, 200), (200, 60)])
def test_the_whole_face_is_in_it_and_nothing_is_stretched(height, width):
    """Two dots where the eyes are, and one where the face ends below."""
    photo = np.zeros((600, 600, 3), np.uint8)
    eyes, tilt = np.array([(260.0, 280.0), (330.0, 301.0)]), math.atan2(21, 70)
    apart = math.hypot(70, 21)
    end = eyes.mean(0) + BELOW * apart * np.array([-math.sin(tilt), math.cos(tilt)])
    for colour, (x, y) in enumerate((*eyes, end)):
        ink = [255 * (colour == channel) for channel in range(3)]
        cv2.circle(photo, (round(x * 16 - 8), round(y * 16 - 8)), 5 * 16, ink, -1, shift=4)
    framed = frame_face(photo, height, width, Eyes(*eyes.mean(0), apart, tilt), 0.1).astype(float)
    row, column = np.indices((height, width))
    places = []
    for colour in range(3):
        weight = framed[..., colour] / framed[..., colour].sum()
        places.append(((weight * (column + 0.5)).sum(), (weight * (row + 0.5)).sum()))
    (x0, y0), (x1, y1), (x2, y2) = places
    scale = min(width / (WIDE * 1.2), height / ((ABOVE + BELOW) * 1.2))  # pixels a distance
    assert y0 == pytest.approx(y1, abs=0.5)
    assert x1 - x0 == pytest.approx(scale, rel=0.02)
    assert (x0 + x1) / 2 == pytest.approx(width / 2, abs=0.5) == pytest.approx(x2, abs=0.7)
    assert y2 - y0 == pytest.approx(BELOW * scale, rel=0.02)
    assert height - y2 == pytest.approx(y0 - ABOVE * scale, abs=1)


def face(eyes, box):
    return Face(box, (*eyes, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), 0.9)


def test_the_eyes_of_a_face():
    eyes = eyes_of(face([(100.0, 100.0), (140.0, 130.0)], (60.0, 40.0, 105.0, 140.0)))
    assert eyes == (120.0, 115.0, 50.0, pytest.approx(math.atan2(30, 40)))


def test_a_face_from_the_side_is_as_large_as_its_box_says():
    box = (50.0, 50.0, 210.0, 280.0)
    assert eyes_of(face([(100.0, 100.0), (200.0, 100.0)], box)).distance == 100
    assert eyes_of(face([(100.0, 100.0), (176.0, 100.0)], box)).distance == 76
    assert eyes_of(face([(100.0, 100.0), (110.0, 100.0)], box)).distance == 75
    assert eyes_of(face([(100.0, 100.0), (100.0, 100.0)], box)) == (100, 100, 75, 0)
    on_its_side = eyes_of(face([(100.0, 200.0), (100.0, 124.0)], (50.0, 50.0, 280.0, 210.0)))
    assert on_its_side == (100, 162, 76, pytest.approx(-math.pi / 2))


def test_typical_eyes_are_medians_in_shares_of_the_photo():
    sizes = [(100, 200), (300, 300), (400, 100)]
    eyes = [Eyes(50, 60, 30, 0.5), Eyes(90, 180, 60, -2), Eyes(360, 40, 160, 0)]
    typical = TypicalEyes.of(eyes, sizes)
    full = (100 / WIDE, 300 / (ABOVE + BELOW), 100 / (ABOVE + BELOW))  # of the largest face that each holds
    assert typical == pytest.approx((0.5, 0.4, np.median(np.array([30, 60, 160]) / full)))
    assert typical.on(1000, 280) == pytest.approx((500, 112, typical.distance * 100, 0))


@pytest.mark.parametrize(("width", "height"), [(210, 280), (1000, 500), (300, 4000), (1, 1)])
def test_without_any_eyes_the_face_fills_the_photo(width, height):
    x, y, distance, tilt = TypicalEyes.of([], []).on(width, height)
    assert (x, tilt) == (width / 2, 0)
    assert max(distance * WIDE / width, distance * (ABOVE + BELOW) / height) == pytest.approx(1)
    assert ABOVE * distance <= y + 1e-9
    assert BELOW * distance <= height - y + 1e-9
