"""Which face of a photo counts, and where eyes are where none is found."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.errors import UserError
from pipeline.faces.face_framing import Framing, chosen_face
from pipeline.faces.frame import TypicalEyes, eyes_of
from pipeline.faces.yunet import Face


def face(left: float, top: float, wide: float) -> Face:
    """An upright face, its eyes a fifth of its width from its sides and two fifths from its top."""
    eyes = ((left + 0.25 * wide, top + 0.5 * wide), (left + 0.75 * wide, top + 0.5 * wide))
    return Face((left, top, wide, 1.3 * wide), (*eyes, *[(left + 0.5 * wide, top + wide)] * 3), 0.9)


FOUND_BY = SimpleNamespace(method="m")
SMALL, LARGE, MIDDLE = face(10, 10, 20), face(200, 50, 80), face(100, 10, 40)
FACES = (LARGE, MIDDLE, SMALL)


def test_the_largest_face_counts():
    assert chosen_face(()) is None
    assert chosen_face((SMALL, LARGE, MIDDLE)) == LARGE


@pytest.mark.parametrize(
    ("box", "chosen"),
    [
        ((8, 8, 25, 30), SMALL),
        ((0, 0, 160, 200), MIDDLE),  # a loose box around two
        ((0, 0, 400, 400), LARGE),
        ((205, 60, 60, 60), LARGE),
        ((300, 300, 50, 50), None),
        ((12, 60, 20, 20), None),  # below a face
        ((15, 15, 4, 4), None),  # within one, but not at its eyes
    ],
)
def test_the_face_in_a_box_counts(box, chosen):
    assert chosen_face(FACES, box) == chosen


SIZES = ((400, 400), (400, 300), (200, 300))
SHOWN = [
    (SMALL, SIZES[0], (8.0, 8.0, 26.0, 30.0)),
    (MIDDLE, SIZES[1], None),
    (LARGE, SIZES[2], (190.0, 40.0, 90.0, 110.0)),
]


def test_eyes_of_photos_without_a_face_are_where_they_usually_are():
    framing = Framing.of(FOUND_BY, SHOWN)
    eyes = [eyes_of(one) for one, _, _ in SHOWN]
    assert framing.eyes(None, (300, 300)) == TypicalEyes.of(eyes, SIZES).on(300, 300)
    across = np.median([one.x / size[0] for one, size in zip(eyes, SIZES, strict=True)])
    assert framing.eyes(None, (300, 300)).x == pytest.approx(across * 300)
    assert framing.eyes(LARGE, (300, 300)) == eyes_of(LARGE)


def test_eyes_of_a_box_without_a_face_are_where_they_usually_are_in_boxes():
    framing, box = Framing.of(FOUND_BY, SHOWN), (50.0, 60.0, 52.0, 60.0)
    found = framing.eyes(None, (300, 300), box)
    within = [
        ((eyes_of(one).x - given[0]) / given[2], (eyes_of(one).y - given[1]) / given[3])
        for one, _, given in SHOWN
        if given is not None
    ]
    x, y = np.median(within, axis=0)
    assert (found.x, found.y, found.tilt) == (pytest.approx(50 + 52 * x), pytest.approx(60 + 60 * y), 0)
    assert framing.eyes(SMALL, (400, 400), (8, 8, 25, 30)) == eyes_of(SMALL)


def test_a_face_fills_its_box_where_nothing_else_is_known():
    boxless = Framing.of(FOUND_BY, [(one, size, None) for one, size, _ in SHOWN])
    eyes = boxless.eyes(None, (300, 300), (100.0, 100.0, 42.0, 56.0))
    assert (eyes.x, eyes.distance) == (121, pytest.approx(20))


def test_a_framing_is_read_as_it_was_written():
    framing = Framing.of(FOUND_BY, SHOWN)
    assert Framing.from_json(framing.as_json(), "faces.json") == framing
    assert Framing.from_json(None, "faces.json") is None


@pytest.mark.parametrize("damage", [{"typical": None}, {"in_box": [1, 2]}, {"method": ...}])
def test_another_framing_is_refused(damage):
    kept = Framing.of(FOUND_BY, SHOWN).as_json() | damage
    if damage == {"method": ...}:
        del kept["method"]
    with pytest.raises(UserError, match=r"faces\.json does not say how faces are framed"):
        Framing.from_json(kept, "faces.json")
