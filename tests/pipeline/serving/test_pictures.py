"""Pictures of photos with their faces and labels: where frames and captions are, and that no photo is lost."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from models.errors import UserError
from pipeline.serving import pictures
from pipeline.serving.pictures import COLOURS, check_pictures_folder, draw_pictures, drawn


def row(photo: str, **given):
    return {"photo": str(photo), "mask": "worn", "gender": "female", "band": "under 30", "age_years": 23.4} | given


def faces(photo: str, *boxes, mask="worn") -> pd.DataFrame:
    sides = ("box_x", "box_y", "box_w", "box_h")
    return pd.DataFrame([row(photo, mask=mask, **dict(zip(sides, box, strict=True))) for box in boxes])


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photos/a.png"
    path.parent.mkdir()
    Image.new("RGB", (400, 300), "white").save(path)
    return path


def where(picture: Image.Image, colour: str) -> np.ndarray:
    """Whether each pixel is of a colour."""
    return (np.asarray(picture) == ImageColor.getrgb(colour)).all(-1)


@pytest.mark.parametrize("mask", COLOURS)
def test_a_frame_stands_around_its_face_with_a_caption_above(photo, mask):
    found = where(drawn(photo, faces(photo, (100, 120, 90, 110), mask=mask)), COLOURS[mask])
    assert found[120:230, 100].all()
    assert found[230, 100:190].all()
    assert not found[130:220, 110:180].any()
    assert not found[:, :99].any()
    rows = np.flatnonzero(found[:118].any(1))
    assert 60 < rows.min() < 118 == rows.max() + 1
    assert (np.asarray(drawn(photo, faces(photo, (100, 120, 90, 110), mask=mask)))[rows] != 255).mean() > 0.1


@pytest.mark.parametrize("box", [(0, 0, 60, 80), (340, 5, 60, 80), (-10, -10, 50, 60), (380, 290, 40, 40)])
def test_captions_stay_in_the_picture(photo, box):
    picture = drawn(photo, faces(photo, box))
    inside = where(picture, COLOURS["worn"])
    assert picture.size == (400, 300)
    wide = inside.sum(1).max()
    assert wide > 80  # the caption is whole


def test_a_caption_stands_below_a_face_that_reaches_to_the_top(photo):
    found = where(drawn(photo, faces(photo, (100, 5, 90, 110))), COLOURS["worn"])
    assert not found[10:110, 110:180].any()
    assert found[116:130, 100:180].sum() > 300
    tall = where(drawn(photo, faces(photo, (100, 5, 90, 290))), COLOURS["worn"])  # no room at all: over the forehead
    assert tall[10:30, 110:180].any()


def test_boxes_of_a_small_photo_grow_with_it(tmp_path):
    Image.new("RGB", (100, 50), "white").save(tmp_path / "small.png")
    picture = drawn(tmp_path / "small.png", faces("small.png", (50, 25, 20, 20)))
    assert picture.size == (400, 200)
    assert where(picture, COLOURS["worn"])[100:180, 200].all()


def test_a_large_photo_is_shown_smaller_with_its_frame_in_place(tmp_path):
    Image.new("RGB", (3000, 1500), "white").save(tmp_path / "large.png")
    picture = drawn(tmp_path / "large.png", faces("large.png", (1500, 750, 300, 300)))
    assert picture.size == (1280, 640)
    found = where(picture, COLOURS["worn"])
    assert found[320:448, 640].all()
    assert not found[330:440, 650:760].any()


def test_a_photo_without_a_face_has_its_label_below(photo):
    whole = pd.DataFrame([row(photo)])
    found = where(drawn(photo, whole), COLOURS["worn"])
    assert found[-1].any()
    assert not found[:200].any()


def test_every_photo_has_a_picture(tmp_path, photo):
    paths = [photo, *(tmp_path / "others" / name for name in ("a.jpg", "b.jpg", f"{'long' * 60}.jpg"))]
    sizes = [(400, 300), (100, 80), (50, 80), (60, 80)]
    paths[1].parent.mkdir()
    for path, size in zip(paths[1:], sizes[1:], strict=True):
        Image.new("RGB", size, "white").save(path)
    photos, out = list(map(str, paths)), tmp_path / "out/deep"
    whole = pd.DataFrame([row(name) for name in photos])
    for _ in range(2):
        check_pictures_folder(out, photos, tmp_path / "data")
        draw_pictures(out, photos, faces(photos[0], (10, 50, 40, 50)), whole)
    draw_pictures(out, photos[2:], None, whole[2:])  # and those before stay listed
    listed = pd.read_csv(out / "pictures.csv").set_index("photo")["picture"]
    assert {path.name for path in out.iterdir()} == {"pictures.csv", *listed}
    assert len(set(listed)) == 4
    shown = [(400, 300), (400, 320), (250, 400), (300, 400)]  # small ones larger, for captions to leave room
    assert [Image.open(out / listed[name]).size for name in photos] == shown
    assert listed[photos[2]] == "b.jpg"
    check_pictures_folder(out, photos, tmp_path / "data")


def test_a_photo_without_a_label_changes_no_name(tmp_path, photo):
    """Names are those that were checked, whichever photos could be decoded."""
    photos, out = [str(photo), str(tmp_path / "bad/a.jpg")], tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"a photo of mine")  # in no place of a picture
    check_pictures_folder(out, photos, tmp_path / "data")
    draw_pictures(out, photos, None, pd.DataFrame([row(photos[0])]))
    assert (out / "a.jpg").read_bytes() == b"a photo of mine"
    (drawn_as,) = pd.read_csv(out / "pictures.csv")["picture"]
    assert drawn_as != "a.jpg"
    assert {path.name for path in out.iterdir()} == {"a.jpg", "pictures.csv", drawn_as}


def test_a_list_of_another_kind_is_kept(tmp_path, photo):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/pictures.csv").write_text("title,year\nA view,1901\n")
    with pytest.raises(UserError, match=r"its pictures\.csv is no list of ours"):
        check_pictures_folder(tmp_path / "out", [str(photo)], tmp_path / "data")


@pytest.mark.parametrize("photo_in", ["photos", "elsewhere"])
def test_pictures_never_take_the_place_of_photos(photo, tmp_path, photo_in):
    """Nor of any other file: a folder's photos may be named as those of another."""
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (50, 80), "white").save(tmp_path / photo_in / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / photo_in)
    for folder in (tmp_path / photo_in, tmp_path / "link"):
        with pytest.raises(UserError, match=r"'a\.jpg' is there already and is no picture of ours"):
            check_pictures_folder(folder, [str(photo)], tmp_path / "data")
    check_pictures_folder(tmp_path / "out", [str(photo)], tmp_path / "data")


def test_pictures_are_never_drawn_into_the_data_set(photo, tmp_path):
    (tmp_path / "data/eval").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for folder in ("data", "data/eval", "data/new", "link/eval"):
        with pytest.raises(UserError, match="lies in the data set"):
            check_pictures_folder(tmp_path / folder, [str(photo)], tmp_path / "data")
    with pytest.raises(UserError, match="is not a folder"):
        check_pictures_folder(photo, [str(photo)], tmp_path / "data")


def test_white_letters_can_be_read_on_every_colour():
    def light(colour: str) -> float:
        shares = [value / 255 for value in ImageColor.getrgb(colour)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colour in pictures.COLOURS.values():
        assert 1.05 / (light(colour) + 0.05) >= 4.5  # WCAG 2.2, AA
