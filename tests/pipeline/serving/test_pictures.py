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
    other = tmp_path / "others/a.jpg"
    other.parent.mkdir()
    Image.new("RGB", (100, 80), "white").save(other)
    third = tmp_path / "others/b.jpg"
    Image.new("RGB", (50, 80), "white").save(third)
    photos = [str(photo), str(other), str(third)]
    whole = pd.DataFrame([row(name) for name in photos])
    written = draw_pictures(tmp_path / "out/deep", photos, faces(str(photo), (10, 50, 40, 50)), whole)
    assert len({path.name for path in written}) == 3
    assert sorted(path.name for path in (tmp_path / "out/deep").iterdir()) == sorted(path.name for path in written)
    assert [Image.open(path).size for path in written] == [(400, 300), (100, 80), (50, 80)]
    assert written[2].name == "b.jpg"


def test_pictures_never_take_the_place_of_photos(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(photo.parent)
    (tmp_path / "link").symlink_to(photo.parent)
    for folder in (photo.parent, tmp_path / "link"):
        for name in (str(photo), photo.name):
            with pytest.raises(UserError, match="name another folder"):
                check_pictures_folder(folder, [name])
    check_pictures_folder(tmp_path / "out", [str(photo)])


def test_white_letters_can_be_read_on_every_colour():
    def light(colour: str) -> float:
        shares = [value / 255 for value in ImageColor.getrgb(colour)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colour in pictures.COLOURS.values():
        assert 1.05 / (light(colour) + 0.05) >= 4.5  # WCAG 2.2, AA
