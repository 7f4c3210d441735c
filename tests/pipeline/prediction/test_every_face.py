"""Every face of a photo is predicted as a photo of its own would be, whatever else waits in its batch."""

import numpy as np
import pytest

from pipeline.faces.yunet import Face
from pipeline.images.framing import View
from pipeline.images.photos import FittedFace, FittedPhoto, Photos
from pipeline.prediction import over_photos
from pipeline.prediction.engine import BATCH_SIZE
from pipeline.prediction.ensemble import EnsembleMember
from pipeline.runtime.progress import Progress

VIEW, OTHER = View(2, 2), View(2, 2, 0.5)


class Means:
    """A task whose prediction is the mean of the pixels it is shown."""

    def __init__(self, name):
        self.columns = (name,)

    def predict(self, logits):
        return logits


@pytest.fixture
def batches():
    return []


@pytest.fixture
def members(batches):
    """Two folds of one network, and one of another that sees a wider view."""

    def forward(photos):
        batches.append(len(photos))
        return photos.reshape(len(photos), -1).mean(1, dtype=np.float32)[:, None]

    made = [("a", 0, VIEW), ("a", 1, VIEW), ("b", 1, OTHER)]
    return [EnsembleMember(Means(name), fold, None, view, forward) for name, fold, view in made]


def fitted(value: int) -> FittedFace:
    def filled(shade: int) -> np.ndarray:
        return np.full((2, 2, 3), shade, np.uint8)

    face = Face((float(value), 1.0, 2.0, 3.0), ((0.0, 0.0),) * 5, 0.5)
    return FittedFace(face, {VIEW: filled(value), OTHER: filled(value + 1)})


def photo(*values: int, counts: bool = True) -> FittedPhoto:
    """A photo with a face of each value, the first of which counts."""
    faces = [fitted(value) for value in values]
    if not counts:
        return FittedPhoto(fitted(9).pixels, False, None, tuple(faces))
    return FittedPhoto(faces[0].pixels, False, faces[0], tuple(faces[1:]))


def test_every_face_has_its_own_prediction(members, batches, monkeypatch):
    rng = np.random.default_rng(0)
    shown = {f"{n:03}.jpg": tuple(map(int, rng.integers(10, 200, rng.integers(1, 6)))) for n in range(150)}
    album = {name: photo(*values) for name, values in shown.items()}
    album |= {"nobody.jpg": FittedPhoto(fitted(9).pixels), "apart.jpg": photo(77, 88, counts=False), "bad.jpg": "why"}
    monkeypatch.setattr(over_photos, "decode_all", lambda *given: iter(album.values()))
    with Progress("predict", len(album), "photos", quiet=True) as progress:
        found = over_photos.predict(members, Photos(None, list(album)), 1, progress)
    assert found.bad == {"bad.jpg": "why"}
    rows = [(name, number, value) for name, values in shown.items() for number, value in enumerate(values)]
    rows += [("apart.jpg", 1, 77), ("apart.jpg", 2, 88)]
    wanted = [(name, face, fold, value) for name, face, value in rows for fold in (0, 1)]
    assert list(found.faces[["photo", "face", "fold", "box_x"]].itertuples(index=False, name=None)) == wanted
    np.testing.assert_array_equal(found.faces["a"], [value for *_, value in wanted])
    np.testing.assert_array_equal(found.faces["b"], [value + 1 if fold else np.nan for *_, fold, value in wanted])
    firsts = {name: values[0] for name, values in shown.items()} | {"nobody.jpg": 9, "apart.jpg": 9}
    whole = found.table[found.table["fold"] == 1].set_index("photo")
    assert whole["a"].to_dict() == firsts
    assert "face" not in found.table
    assert max(batches) == BATCH_SIZE
    assert sum(batches) == 3 * (len(firsts) + len(rows) - 150)
