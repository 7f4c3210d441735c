"""Which rows masks are drawn on, and that the label follows."""

import dataclasses
import pickle

import numpy as np
import pytest

from models.errors import UserError
from models.labels import MASKS
from models.task import Augmentation
from pipeline.faces.draw_mask import draw_mask
from pipeline.images import drawn_masks
from pipeline.images.augment import Augmenter
from pipeline.images.drawn_masks import NOTHING, DrawnMasks
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
    return with_drawn_masks(data, task, Faces(points, bare), PRESETS["small"][task] | given, f"{task} fold 0")


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
    """A photo with a mask on is altered as it would be without."""
    augmenter = Augmenter(Augmentation(), 0)
    data = learned("age", mask_bare=1.0)
    made = np.zeros((2, 64, 48, 3), np.uint8)
    TrainingPhotos(PIXELS, augmenter, data.drawing).write([(1, 0), (2, 4)], made)
    np.testing.assert_array_equal(made[0], augmenter(data.drawing(PIXELS[0], 1, 0), 1, 0))
    assert (made[0] != augmenter(PIXELS[0], 1, 0)).any()
    np.testing.assert_array_equal(made[1], augmenter(PIXELS[4], 2, 4))


def test_a_photo_is_not_changed_in_place():
    before = PIXELS.copy()
    for state in range(4):  # any of the masks, and what is none
        drawing = DrawnMasks(FACE[None], np.array([state], np.int8), np.ones(1, np.float32), 0)
        for epoch in range(20):
            assert (drawing(PIXELS[0], epoch, 0) != PIXELS[0]).any()
    np.testing.assert_array_equal(PIXELS, before)


def faces(points, bare=(1,) * 8) -> Faces:
    return Faces(np.asarray(points, np.float32), np.array(bare, bool))


@pytest.mark.parametrize("shift", [(0, 25), (0, -25), (25, 0), (-25, 0)])
def test_faces_that_the_view_cuts_off_get_no_mask(shift):
    """Nothing would show of it, and the label would be wrong."""
    points = np.repeat(FACE[None], 8, axis=0)
    points[:4] += np.float32(shift)
    targets = np.full(8, 2, np.float32)
    data = TrainingData(PIXELS, targets, np.arange(7), np.array([7]), np.array([0]))
    made = with_drawn_masks(data, "mask", faces(points), PRESETS["small"]["mask"], "mask fold 0")
    assert made.again.tolist() == [4, 5, 6] * 2
    assert (made.drawing.states[:4] == NOTHING).all()


def test_extra_photos_without_a_face_do_not_all_stand_for_bare_ones():
    points = np.repeat(FACE[None], 8, axis=0)
    points[[0, 6]] = np.nan
    targets = np.full(8, 2, np.float32)
    data = TrainingData(PIXELS[:4], targets, np.array([0, 1, 2, 4, 5, 6]), np.array([3]), np.array([0]), (PIXELS[4:],))
    made = with_drawn_masks(data, "mask", faces(points), PRESETS["small"]["mask"], "mask fold 0")
    assert made.train[:5].tolist() == [0, 1, 2, 4, 5]  # the own photo stays, as it is labelled
    other = with_drawn_masks(data, "age", faces(points), PRESETS["small"]["age"] | {"mask_bare": 0.5}, "age fold 0")
    assert other.train.tolist() == data.train.tolist()


@pytest.mark.parametrize("task", ["mask", "age"])
def test_without_any_face_to_draw_on_nothing_is_learned_in_silence(task):
    points = np.repeat(FACE[None], 8, axis=0)
    data = TrainingData(PIXELS, np.full(8, 2, np.float32), np.arange(7), np.array([7]), np.array([0]))
    for none in (faces(points, (0,) * 8), faces(points * np.nan)):
        with pytest.raises(UserError, match=rf"{task} fold 0: masks are drawn on bare faces, and none is found"):
            with_drawn_masks(data, task, none, PRESETS["small"][task], f"{task} fold 0")
