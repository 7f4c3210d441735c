"""Which rows masks are drawn on, and that the label follows."""

import dataclasses
import pickle

import numpy as np
import pytest

from models.labels import MASKS
from models.task import Augmentation
from pipeline.faces.draw_mask import draw_mask
from pipeline.images import drawn_masks
from pipeline.images.augment import Augmenter
from pipeline.images.drawn_masks import DrawnMasks
from pipeline.images.extra_photos import Faces
from pipeline.run.presets import PRESETS
from pipeline.training.data import TrainingData
from pipeline.training.drawn_rows import COVERED, with_drawn_masks
from pipeline.training.loader import TrainingPhotos

FACE = np.array([(18.0, 22.0), (30.0, 22.0), (24.0, 29.0), (19.0, 35.0), (29.0, 35.0)], np.float32)
PIXELS = np.random.default_rng(0).integers(60, 190, (8, 64, 48, 3)).astype(np.uint8)


class Plain:
    """In the augmenter's place: photos as they are."""

    def __call__(self, photo, epoch, row):
        return photo


def learned(task: str, **given) -> TrainingData:
    """Six own photos and two extra ones: 0 to 3 and 6 are bare, 3 has no face, 5 is held out."""
    bare = np.array([1, 1, 1, 1, 0, 1, 1, 0], bool)
    points = np.repeat(FACE[None], 8, axis=0)
    points[3] = np.nan
    targets = np.array([2, 2, 2, 2, 0, 2, 2, 1], np.float32)
    data = TrainingData(
        PIXELS[:6], targets, np.array([0, 1, 2, 3, 4, 6, 7]), np.array([5]), np.array([0]), (PIXELS[6:],)
    )
    return with_drawn_masks(data, task, Faces(points, bare), PRESETS["small"][task] | given)


def test_the_mask_specialist_sees_each_bare_face_masked_too():
    data = learned("mask", drawn_masks=True)
    assert data.again.tolist() == [0, 1, 2, 6] * 2
    assert data.train.tolist() == [0, 1, 2, 3, 4, 6, 7, *range(8, 16)]
    assert data.targets[8:].tolist() == [0] * 4 + [1] * 4
    assert data.validation.tolist() == [5]
    assert data.is_extra.tolist() == [False] * 5 + [True] * 2 + [False] * 3 + [True] + [False] * 3 + [True]
    pixels = data.every_pixel
    photos = TrainingPhotos(pixels, Plain(), data.drawing)
    made = np.zeros((1, 64, 48, 3), np.uint8)
    for row in range(8, 16):
        source = data.again[row - 8]
        photos.write([(3, row)], made)
        state = MASKS[int(data.targets[row])]
        rng = np.random.default_rng((data.drawing.seed, 3, row, drawn_masks.STREAM))
        rng.random()
        np.testing.assert_array_equal(made[0], draw_mask(PIXELS[source], FACE, state, rng))
        assert (made[0] != PIXELS[source]).any()
    for row in (3, 4, 7):  # without a face, or masked
        for epoch in range(30):
            photos.write([(epoch, row)], made)
            np.testing.assert_array_equal(made[0], PIXELS[row])


def altered(data: TrainingData, row: int, epochs: int = 400) -> float:
    """The share of epochs in which something is drawn on a row."""
    pixels = data.every_pixel
    return np.mean([(data.drawing(pixels[row], epoch, row) != pixels[row]).any() for epoch in range(epochs)])


def test_some_bare_faces_are_covered_by_what_is_no_mask():
    data = learned("mask", drawn_masks=True)
    assert altered(data, 0) == pytest.approx(COVERED, abs=0.05)
    assert data.targets[0] == MASKS.index("none")


@pytest.mark.parametrize("task", ["gender", "age"])
def test_other_specialists_find_masks_on_some_bare_faces(task):
    data = learned(task, mask_bare=0.6)
    assert len(data.again) == 0
    assert data.train.tolist() == [0, 1, 2, 3, 4, 6, 7]
    for row, share in ((0, 0.6), (6, 0.6), (3, 0), (4, 0), (7, 0)):
        assert altered(data, row) == pytest.approx(share, abs=0.07)


def test_what_is_drawn_differs_from_epoch_to_epoch_and_follows_from_the_seed():
    data = learned("gender", mask_bare=1.0)
    photos = [data.drawing(PIXELS[0], epoch, 0) for epoch in range(20)]
    assert len({photo.tobytes() for photo in photos}) == 20
    other = pickle.loads(pickle.dumps(data.drawing))
    np.testing.assert_array_equal(photos[7], other(PIXELS[0], 7, 0))
    seeded = dataclasses.replace(data.drawing, seed=9)
    assert (seeded(PIXELS[0], 7, 0) != photos[7]).any()
    assert (data.drawing(PIXELS[0], 7, 1) != photos[7]).any()


def test_drawing_leaves_the_streams_of_augmentation():
    augmenter = Augmenter(Augmentation(), 0)
    data = learned("age", mask_bare=0.0)
    made = np.zeros((2, 64, 48, 3), np.uint8)
    plain = made.copy()
    TrainingPhotos(PIXELS, augmenter, data.drawing).write([(1, 0), (2, 1)], made)
    TrainingPhotos(PIXELS, augmenter).write([(1, 0), (2, 1)], plain)
    np.testing.assert_array_equal(made, plain)


def test_a_photo_is_not_changed_in_place():
    before = PIXELS.copy()
    drawing = DrawnMasks(FACE[None], np.array([3], np.int8), np.ones(1, np.float32), 0)
    for epoch in range(20):
        drawing(PIXELS[0], epoch, 0)
    np.testing.assert_array_equal(PIXELS, before)
