"""Faces of many photos: as of each alone, found once, and photos framed by them as if searched again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.faces import detect, face_framing, yunet
from pipeline.faces.detect import Detector
from pipeline.faces.face_framing import Framing, chosen_face
from pipeline.faces.frame import eyes_of, frame_face
from pipeline.images import decode, found_faces, prepared
from pipeline.images import photos as photos_module
from pipeline.images.decode import read_photo
from pipeline.images.found_faces import FoundFaces, find_faces
from pipeline.images.framing import View
from pipeline.images.photos import FaceSearch, Photos, decode_photo
from pipeline.images.prepared import prepare, prepare_all
from pipeline.runtime import store
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import backdrop, take

VIEWS = [View(40, 30, 0.25), View(40, 30, 0.6), View(64, 48)]
NAMES = ["000.png", "1.jpg", "2.jpg", "blank.png", "bad.jpg", "two.png"]


@pytest.fixture(scope="module")
def detector():
    return Detector()


@pytest.fixture
def photos(tmp_path):
    """Drawn people, one of them twice in a photo; a photo without a face, and one that cannot be decoded."""
    shots = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shots.append(take(Person(rng, seed % 2, 30, 1.0), backdrop(rng), rng, "none")[0])
    slope = np.arange(60, dtype=np.uint8)[None, :, None]
    shots += [np.full((50, 60, 3), 100, np.uint8) + slope, np.concatenate([shots[0], shots[1]], 1)]
    for name, shot in zip([name for name in NAMES if name != "bad.jpg"], shots, strict=True):
        Image.fromarray(shot).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8no photo")
    return Photos(tmp_path, NAMES)


def every(photos: Photos, detector: Detector) -> FoundFaces:
    """One after the other, without what is kept."""
    pixels = {name: read_photo(photos.root / name) for name in NAMES if name != "bad.jpg"}
    return FoundFaces(
        {name: detector.find(photo) for name, photo in pixels.items()},
        {name: photo.shape[1::-1] for name, photo in pixels.items()},
    )


@pytest.mark.parametrize("jobs", [1, 4])
def test_faces_are_those_of_each_photo_alone(photos, detector, tmp_path, jobs):
    found = find_faces(photos, "album", detector, jobs, tmp_path / "kept")
    assert found == every(photos, detector)
    assert [len(found.faces[name]) for name in found.faces] == [1, 1, 1, 0, 2]


class Unasked:
    """A detector that finds nothing, and is not to be asked."""

    def __init__(self, method: str):
        self.method = method

    def find(self, photo):
        raise AssertionError("what was found before is to be taken")


def kept(photos, tmp_path, detector) -> FoundFaces:
    return find_faces(photos, "album", detector, 1, tmp_path / "kept")


def test_faces_are_found_once(photos, detector, tmp_path):
    first = kept(photos, tmp_path, detector)
    assert kept(photos, tmp_path, Unasked(detector.method)) == first
    with pytest.raises(AssertionError):
        kept(photos, tmp_path, Unasked("another"))


@pytest.mark.parametrize("rule", ["LONGEST", "FINER", "SMALL", "FACE_SCORE", "GAIN", "VERSION"])
def test_faces_are_found_anew_by_other_rules(photos, detector, tmp_path, monkeypatch, rule):
    kept(photos, tmp_path, detector)
    where = detect if rule == "VERSION" else yunet
    monkeypatch.setattr(where, rule, getattr(where, rule) * 0.9)
    assert Detector().method != detector.method
    with pytest.raises(AssertionError):
        kept(photos, tmp_path, Unasked(Detector().method))


def test_photos_are_prepared_anew_for_another_frame(photos, detector, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", Path(tmp_path / "prepared"))
    prepare(by_faces(photos, detector), "album", VIEWS[0], 1)
    before = set((tmp_path / "prepared").glob("album-4*"))
    monkeypatch.setattr(face_framing, "FRAME", (*face_framing.FRAME, 1))
    prepare(by_faces(photos, detector), "album", VIEWS[0], 1)
    assert len(set((tmp_path / "prepared").glob("album-4*")) - before) == 1


@pytest.mark.parametrize("fault", ["changed photo", "damaged file", "lost file"])
def test_faces_are_found_again_where_they_may_be_others(photos, detector, tmp_path, fault):
    first = kept(photos, tmp_path, detector)
    (table,) = (tmp_path / "kept").glob("album-faces-*/faces.csv")
    if fault == "changed photo":
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(photos.root / "1.jpg")
    elif fault == "damaged file":
        table.write_text(table.read_text().replace("1.jpg", "7.jpg"))
    else:
        table.unlink()
    again = kept(photos, tmp_path, detector)
    assert again == every(photos, detector)
    assert (again == first) == (fault != "changed photo")


def test_pixels_are_those_of_the_whole_photo(photos, detector, tmp_path, monkeypatch):
    whole = kept(photos, tmp_path, detector)
    monkeypatch.setattr(decode, "MOST_PIXELS", 30_000)
    name = "1.jpg"
    reduced = find_faces(replace(photos, names=[name]), "album", detector, 1, tmp_path / "again")
    assert reduced.sizes[name] == whole.sizes[name]
    ((ours,), (theirs,)) = reduced.faces[name], whole.faces[name]
    assert ours != theirs
    assert ours.box == pytest.approx(theirs.box, rel=0.2)
    framing = Framing.of(detector, [(ours, reduced.sizes[name], None)])
    photo = decode.decode(photos.root / name)
    assert photo.reduced == 2
    for known in (reduced.faces, {}):  # in the pixels of the decoded photo
        framed = FaceSearch(framing, detector, known)
        assert framed.faces(name, photo) == detector.find(photo.pixels)


def by_faces(photos: Photos, detector: Detector) -> Photos:
    """Framed by faces that are looked for; the first photo has a box around nothing."""
    found = every(photos, detector)
    shown = [(found.faces[n][0], found.sizes[n], None) for n in found.faces if found.faces[n]]
    boxes = np.full((len(NAMES), 4), np.nan)
    boxes[0] = 2, 3, 20, 20
    return replace(photos, faces=FaceSearch(Framing.of(detector, shown), detector), boxes=boxes)


def test_photos_are_framed_by_the_face_that_counts(photos, detector):
    searched = by_faces(photos, detector)
    for index, name in enumerate(NAMES):
        fitted = decode_photo(searched, index, VIEWS)
        if name == "bad.jpg":
            assert isinstance(fitted, str)
            continue
        pixels, box = read_photo(photos.root / name), searched.box(index)
        face = chosen_face(detector.find(pixels), box)
        assert (face is None) == (name in ("000.png", "blank.png"))
        eyes = eyes_of(face) if face else searched.faces.framing.eyes(None, pixels.shape[1::-1], box)
        for view in VIEWS:
            np.testing.assert_array_equal(fitted[view], frame_face(pixels, *view.size, eyes, view.margin))


def test_prepared_and_unprepared_photos_are_the_same_bytes(photos, detector, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", Path(tmp_path / "prepared"))
    searched = by_faces(photos, detector)
    for view in VIEWS:
        made = prepare(searched, "album", view, 2)
        assert list(made.bad) == ["bad.jpg"]
        for index, name in enumerate(NAMES):
            if name != "bad.jpg":
                np.testing.assert_array_equal(made.pixels[index], decode_photo(searched, index, [view])[view])
    folders = list((tmp_path / "prepared").glob("album-*"))
    assert sum(folder.name.startswith("album-faces-") for folder in folders) == 1
    unframed = prepare(photos, "album", VIEWS[0], 2)
    assert not np.array_equal(unframed.pixels, prepare(searched, "album", VIEWS[0], 2).pixels)
    shifted = replace(searched.faces.framing, typical=searched.faces.framing.typical._replace(x=0.1))
    moved = prepare(replace(searched, faces=replace(searched.faces, framing=shifted)), "album", VIEWS[0], 2)
    blank = NAMES.index("blank.png")
    differ = (moved.pixels != prepare(searched, "album", VIEWS[0], 2).pixels).any(axis=(1, 2, 3))
    assert np.flatnonzero(differ).tolist() == [blank]


def test_each_photo_is_decoded_once_for_all_views(photos, detector, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", Path(tmp_path / "alone"))
    searched = by_faces(photos, detector)
    alone = {view: prepare(searched, "album", view, 1) for view in VIEWS}
    for module in (photos_module, found_faces):
        with monkeypatch.context() as patch:
            patch.setattr(prepared, "PREPARED", Path(tmp_path / module.__name__))
            read, given = [], module.decode
            patch.setattr(module, "decode", lambda source, given=given, read=read: read.append(source) or given(source))
            together = prepare_all(searched, "album", VIEWS, 2)
        assert sorted(read) == sorted(photos.root / name for name in NAMES)
        assert list(together) == VIEWS
        for view in VIEWS:
            np.testing.assert_array_equal(together[view].pixels, alone[view].pixels)
            assert together[view].digest == alone[view].digest
            assert together[view].bad == alone[view].bad == {"bad.jpg": alone[view].bad["bad.jpg"]}


def test_what_stands_is_not_prepared_again_beside_what_does_not(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", Path(tmp_path / "prepared"))
    plain = View(40, 30)
    prepare(photos, "album", plain, 1)
    (stands,) = (tmp_path / "prepared").glob("album-40x30-*/pixels.npy")
    before = stands.stat().st_mtime_ns
    made = prepare_all(photos, "album", [plain, View(64, 48), plain._replace(margin=0.6)], 1)  # the last is the first
    assert made[plain] is made[plain._replace(margin=0.6)]
    assert made[View(64, 48)].pixels.shape == (len(NAMES), 64, 48, 3)
    assert stands.stat().st_mtime_ns == before


def test_a_view_that_stands_keeps_nobody_waiting_for_another(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", Path(tmp_path / "prepared"))
    stands, other = View(40, 30), View(64, 48)
    prepare(photos, "album", stands, 1)
    decode_into, seen = prepared._decode_into, []

    def while_decoding(*given):
        for view in (stands, other):
            (lock,) = (tmp_path / "prepared").glob(f".album-{view.height}x{view.width}-*.lock")
            with store.free_lock(lock) as free:
                seen.append(free)
        decode_into(*given)

    monkeypatch.setattr(prepared, "_decode_into", while_decoding)
    prepare_all(photos, "album", [stands, other], 1)
    assert seen == [True, False]
