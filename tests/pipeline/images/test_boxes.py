"""Face boxes beside the sizes of their photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import UserError
from pipeline.images import decode
from pipeline.images.boxes import check_boxes, inside
from pipeline.images.framing import View, clipped, rectangle
from pipeline.images.photos import Photos, decode_photo
from pipeline.images.prepared import prepare
from pipeline.run.presets import PRESETS


def album(folder, box, size=(480, 640), orientation=None, ending="jpg"):
    """A photo with a box and one without."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    for name in ("a", "b"):
        Image.new("RGB", size, "gray").save(folder / f"{name}.{ending}", exif=exif)
    boxes = np.array([box, [np.nan] * 4], float)
    return Photos(folder, [f"a.{ending}", f"b.{ending}"], boxes, 1.0, {f"a.{ending}": "boxes.csv row 7"})


OUTSIDE = {
    "of a larger photo": (900, 400, 100, 120),
    "beside it": (481, 10, 100, 100),
    "above it": (10, -500, 100, 120),
    "larger than it": (0, 0, 4000, 3000),
    "mostly over the edge": (-60, 10, 100, 100),
    "at a corner": (420, 580, 100, 100),
}


@pytest.mark.parametrize("box", OUTSIDE.values(), ids=OUTSIDE)
def test_a_box_outside_its_photo_is_refused_by_row(tmp_path, monkeypatch, box):
    monkeypatch.chdir(tmp_path)
    photos = album(tmp_path, box)
    for check in (lambda: check_boxes(photos, "The face boxes", 2), lambda: prepare(photos, "odd", View(32, 24), 1)):
        with pytest.raises(UserError) as error:
            check()
        message = str(error.value)
        assert "boxes.csv row 7: the box (" in message
        assert "outside the photo 'a.jpg'" in message
        assert "480 wide and 640 high" in message
        assert "in pixels of the upright, full-size photo" in message
        assert "\n" not in message


@pytest.mark.parametrize(
    "box", [(0, 0, 480, 640), (-40, 10, 100, 100), (430, 600, 60, 50), (10, 10, 3, 1), (-50, 0, 100, 10)]
)
def test_a_box_that_mostly_lies_inside_is_clipped(tmp_path, monkeypatch, box):
    monkeypatch.chdir(tmp_path)
    photos = album(tmp_path, box)
    check_boxes(photos, "The face boxes", 1)
    assert prepare(photos, "odd", View(32, 24), 1).bad == {}
    cut = clipped(box, 480, 640)
    assert rectangle(480, 640, 0.75, box) == rectangle(480, 640, 0.75, cut)
    assert inside(cut, 480, 640) == 1


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_are_in_upright_pixels(tmp_path, orientation, ending):
    """Stored 480x640 and turned on its side, a photo is 640 wide."""
    check_boxes(album(tmp_path, (520, 100, 100, 100), orientation=orientation, ending=ending), "The face boxes", 1)
    with pytest.raises(UserError, match="640 wide and 480 high"):
        check_boxes(album(tmp_path, (100, 520, 100, 100), orientation=orientation, ending=ending), "The boxes", 1)


@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4])
def test_a_photo_that_is_not_on_its_side_keeps_its_size(tmp_path, orientation):
    check_boxes(album(tmp_path, (100, 520, 100, 100), orientation=orientation), "The face boxes", 1)


def test_boxes_of_a_photo_whose_exif_stands_behind_its_pixels(tmp_path):
    photos = album(tmp_path, (520, 100, 100, 100), orientation=6, ending="png")
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    last = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    check_boxes(photos, "The face boxes", 1)


def test_boxes_of_a_reduced_photo_are_in_pixels_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MOST_PIXELS", 100_000)
    photos = album(tmp_path, (300, 500, 100, 100))
    assert decode.decode(tmp_path / "a.jpg").reduced == 2
    assert decode.whole_size(tmp_path / "a.jpg") == (480, 640)
    check_boxes(photos, "The face boxes", 1)
    assert decode_photo(photos, 0, [View(32, 24)])[View(32, 24)].shape == (32, 24, 3)
    (tmp_path / "more").mkdir()
    with pytest.raises(UserError, match="480 wide and 640 high"):
        check_boxes(album(tmp_path / "more", (900, 400, 100, 120)), "The face boxes", 1)


def test_a_box_of_a_photo_whose_header_pillow_refuses_is_checked(tmp_path, monkeypatch):
    photos, opened = album(tmp_path, (900, 400, 100, 120)), Image.open

    def refuse(file, *rest, **options):
        if isinstance(file, Path):
            raise ValueError("a header in disguise")
        return opened(file, *rest, **options)

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr(decode, "MOST_PIXELS", 100_000)  # what is decoded is reduced
    with pytest.raises(UserError, match="480 wide and 640 high"):
        check_boxes(photos, "The face boxes", 1)


def test_photos_without_boxes_are_not_opened_and_bad_ones_passed_over(tmp_path):
    names = ["no.jpg", "neither.jpg"]
    check_boxes(Photos(tmp_path, names), "The face boxes", 1)
    check_boxes(Photos(tmp_path, names, np.full((2, 4), np.nan)), "The face boxes", 1)
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    check_boxes(Photos(tmp_path, names, np.array([[9, 9, 9, 9.0]] * 2)), "The face boxes", 1)


def test_a_networks_setting_is_the_margin_that_it_is_shown():
    made = PRESETS["lite"]["mask"] | {"face_margin": 0.6, "height": 80, "width": 60}
    assert View.of(made) == (80, 60, 0.6)
    assert View.of(PRESETS["lite"]["mask"]) == View(128, 96) == (128, 96, 0.25)
