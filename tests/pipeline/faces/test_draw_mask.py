"""Masks drawn on faces: where they are, what they leave alone, and that they differ."""

import itertools

import numpy as np
import pytest

from pipeline.faces.draw_mask import can_be_masked, draw_mask, draw_other
from pipeline.faces.face_plane import MOUTH, FacePlane
from pipeline.faces.mask_cloth import MATERIALS, cloth
from pipeline.faces.mask_shapes import CUTS, WAYS, shape_of, smooth
from pipeline.faces.mouth_covers import COVERS, cover_mouth

FACE = np.array([(72.0, 90.0), (120.0, 90.0), (96.0, 119.0), (78.0, 140.0), (114.0, 140.0)])
"""A face seen from before, its eyes 48 pixels apart."""
PHOTO = np.random.default_rng(0).integers(90, 160, (256, 192, 3)).astype(np.uint8)


def turned(points, degrees, about=(96.0, 110.0)):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - about) @ turn.T + about


def changed(photo) -> np.ndarray:
    """Where a photo differs from PHOTO by more than its noise would."""
    return np.abs(photo.astype(int) - PHOTO).max(2) > 0


@pytest.mark.parametrize("degrees", [0, 20, -35, 90, 180])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_a_faces_plane_is_where_its_landmarks_are(degrees, scale):
    points = turned(FACE, degrees) * scale
    plane = FacePlane.of(points)
    assert plane.unit == pytest.approx(48 * scale, rel=0.02)
    assert plane.turned == pytest.approx(0, abs=0.02)
    places = plane.to_photo(np.array([(-0.5, 0), (0.5, 0), (0, MOUTH)]))
    np.testing.assert_allclose(places, [*points[:2], points[3:].mean(0)], atol=1e-6 * scale)


def test_the_grid_is_the_plane_read_backwards():
    plane = FacePlane.of(turned(FACE, 25))
    grid = plane.grid(10, 20, 40, 30, 0.5)
    y, x = 17, 23
    np.testing.assert_allclose(plane.origin + plane.axes @ grid[y, x], (10 + 23.5 * 0.5, 20 + 17.5 * 0.5), atol=1e-4)


def test_a_mask_turns_with_the_nose():
    aside = FACE + [(0, 0), (0, 0), (12, 0), (0, 0), (0, 0)]
    middle = np.array([(0.0, 0.6)])
    assert FacePlane.of(aside).to_photo(middle)[0, 0] > FacePlane.of(FACE).to_photo(middle)[0, 0] + 8
    np.testing.assert_allclose(
        FacePlane.of(aside).to_photo(np.array([(1.1, 0.6)])), FacePlane.of(FACE).to_photo(np.array([(1.1, 0.6)]))
    )


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 2)), np.full((5, 2), 50.0), FACE * (1, 0), FACE * (0, 1), FACE[::-1], FACE + 10_000, FACE - 10_000],
)
def test_points_that_are_no_face(points):
    for state in WAYS:
        drawn = draw_mask(PHOTO, points, state, np.random.default_rng(0))
        assert (drawn.shape, drawn.dtype) == (PHOTO.shape, np.uint8)
    draw_other(PHOTO, points, np.random.default_rng(0))


def test_a_curve_goes_through_its_points():
    points = np.random.default_rng(1).normal(0, 1, (7, 2))
    for sharp in (False, True):
        np.testing.assert_allclose(smooth(points, sharp, each=5)[::5], points)


def covers(way: str, cut: str, seed: int) -> dict[str, bool]:
    """Which places of a face a mask covers."""
    import cv2

    outline = shape_of(way, cut, np.random.default_rng((seed, len(way), len(cut)))).outline.astype(np.float32)
    places = {"eyes": (0.0, 0.0), "bridge": (0.0, 0.45), "nose": (0.0, 0.62), "mouth": (0.0, 1.05), "chin": (0.0, 1.5)}
    return {name: cv2.pointPolygonTest(outline, place, False) > 0 for name, place in places.items()}


@pytest.mark.parametrize("cut", CUTS)
def test_masks_cover_what_their_label_says(cut):
    for seed in range(200):
        worn = covers("over the nose", cut, seed)
        assert worn == {"eyes": False, "bridge": True, "nose": True, "mouth": True, "chin": True}
        for way in WAYS["wrong"][:3]:
            assert not covers(way, cut, seed)["nose"]
        assert covers("under the nose", cut, seed)["mouth"]
        for way in ("on the chin", "under the chin"):
            assert not covers(way, cut, seed)["mouth"]
    hanging = [covers("off one ear", cut, seed) for seed in range(200)]
    assert sum(one["nose"] and one["mouth"] for one in hanging) < 20
    assert not any(one["eyes"] for one in hanging)


def test_drawing_follows_from_the_stream():
    for state in WAYS:
        one, other, third = (draw_mask(PHOTO, FACE, state, np.random.default_rng(seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one, other)
        assert changed(one).any()
        assert (one != third).any()


def test_what_is_far_from_the_mask_stays():
    for seed, state in itertools.product(range(40), WAYS):
        drawn = draw_mask(PHOTO, FACE, state, np.random.default_rng(seed))
        assert not changed(drawn)[:50].any()  # the hair, half an eyes' distance above these
        if state == "worn":
            assert not changed(drawn)[85:92, 70:74].any()  # the eyes
            assert changed(drawn)[115:150, 80:112].mean() > 0.99


@pytest.mark.parametrize("material", MATERIALS)
def test_materials_differ_from_mask_to_mask(material):
    grid = FacePlane.of(FACE).grid(60, 80, 72, 90, 1.0)
    means = []
    for seed in range(20):
        colours = cloth(material, grid, np.random.default_rng(seed))
        assert colours.shape == (90, 72, 3)
        assert colours.dtype == np.float32
        assert np.isfinite(colours).all()
        assert colours.min() > -40
        assert colours.max() < 340
        means.append(colours.mean((0, 1)))
    assert np.ptp(means, axis=0).max() > (10 if material == "black" else 40)


def test_dark_photos_get_dark_masks_and_grey_ones_grey_masks():
    dark, grey = (PHOTO * 0.3).astype(np.uint8), np.repeat(PHOTO[..., :1], 3, axis=2)
    for seed in range(10):
        usual, darker = (draw_mask(photo, FACE, "worn", np.random.default_rng(seed)) for photo in (PHOTO, dark))
        assert darker[125:140, 85:107].mean() < usual[125:140, 85:107].mean()
        for drawn in (
            draw_mask(grey, FACE, "worn", np.random.default_rng(seed)),
            draw_other(grey, FACE, np.random.default_rng(seed)),
        ):
            assert np.ptp(drawn[125:140, 85:107].astype(int), axis=2).mean() < 8


@pytest.mark.parametrize("what", COVERS)
def test_what_covers_a_mouth_leaves_the_upper_face(what):
    for seed in range(20):
        drawn = cover_mouth(PHOTO, FacePlane.of(FACE), what, np.random.default_rng(seed))
        assert changed(drawn)[100:].any()
        assert not changed(drawn)[:100].any()
    np.testing.assert_array_equal(drawn, cover_mouth(PHOTO, FacePlane.of(FACE), what, np.random.default_rng(19)))


def test_a_mask_shows_wherever_a_face_can_be_masked():
    """Faces at the photo's edges too: where a way to wear it would not show, another is drawn."""
    masked = 0
    for x, y in itertools.product(range(-80, 90, 20), range(-80, 110, 20)):
        points = FACE + (x, y)
        if not can_be_masked(points, *PHOTO.shape[:2]):
            continue
        masked += 1
        for seed, state in itertools.product(range(6), WAYS):
            drawn = draw_mask(PHOTO, points, state, np.random.default_rng(seed))
            assert (np.abs(drawn.astype(int) - PHOTO).max(2) > 20).sum() > 300  # of 48 x 48 a square eyes' distance
    assert 20 < masked < 70
    assert not can_be_masked(FACE + np.nan, 256, 192)


def test_unknown_states_and_materials():
    with pytest.raises(ValueError, match="worn or wrong, not none"):
        draw_mask(PHOTO, FACE, "none", np.random.default_rng(0))
    with pytest.raises(ValueError, match="no material is called silk"):
        draw_mask(PHOTO, FACE, "worn", np.random.default_rng(0), "silk")
