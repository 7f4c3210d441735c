"""A JPEG whose end is missing is decoded where all but its last row of blocks is there; OpenCV is the reference."""

import cv2
import numpy as np
import pytest
from exif_blocks import block, encoded, turned_by, with_exif
from PIL import Image

from pipeline.images import jpeg
from pipeline.images.decode import BadPhotoError, decode
from pipeline.images.framing import View
from pipeline.images.photos import Photos, decode_photo
from pipeline.images.prepared import prepare
from pipeline.runtime.problems import cut_short_line

NOISE = np.random.default_rng(3).integers(0, 256, (150, 100, 3), np.uint8)
"""So that each row of blocks takes its share of the file."""
KINDS = {
    "4:4:4": (NOISE, {"subsampling": 0}),
    "4:2:2": (NOISE, {"subsampling": 1}),
    "4:2:0": (NOISE, {"subsampling": 2}),
    "grey": (NOISE[..., 0], {}),
    "with restarts": (NOISE, {"restart_marker_blocks": 5}),
    "CMYK": (np.dstack([NOISE, NOISE[..., :1]]), {}),
}


def made(kind):
    photo, options = KINDS[kind]
    mode = "CMYK" if kind == "CMYK" else None
    return encoded(Image.fromarray(photo, mode) if mode else photo, quality=80, **options)


def whole_rows(path, whole, row):
    """How many rows of blocks OpenCV decodes as it does those of the whole file, from above."""
    told, expected = (cv2.imread(str(p), cv2.IMREAD_COLOR) for p in (path, whole))
    if told is None:
        return 0
    lines = (told == expected).reshape(len(expected), -1).all(axis=1)
    right = len(lines) if lines.all() else int(lines.argmin())
    return -(-(right + 2) // row) if lines.all() else (right + 2) // row  # two lines lean on the row below


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_last_row_of_blocks(tmp_path, kind):
    content, row = made(kind), 16 if kind == "4:2:0" else 8
    rows = -(-len(NOISE) // row)
    (tmp_path / "whole.jpg").write_bytes(content)
    outcomes = []
    for cut in [1, 2, 3, 9, *range(20, len(content) // 3, 97)]:
        path = tmp_path / "a.jpg"
        path.write_bytes(content[:-cut])
        there = whole_rows(path, tmp_path / "whole.jpg", row)
        try:
            decoded = decode(path)
        except BadPhotoError:
            outcomes.append(False)
            assert there <= rows - 1  # at the border itself it may be either
            continue
        outcomes.append(True)
        assert decoded.cut_short
        assert there >= rows - 1
        if kind != "CMYK":  # which OpenCV turns to colours by another rule
            np.testing.assert_array_equal(decoded.pixels, cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {True, False}


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_progressive_one_whose_first_scan_is_whole(tmp_path, subsampling):
    content = encoded(NOISE, quality=80, progressive=True, subsampling=subsampling)
    scans = [segment for segment in jpeg.segments(content) if segment.marker == jpeg.SOS]
    assert len(scans) > 5
    first = scans[0].end
    cuts = [*range(first + 2, len(content) - 2, 331), *(scan.start + 1 for scan in scans[1:]), len(content) - 2]
    for length in cuts:  # in a scan, and in the segments between two
        (tmp_path / "a.jpg").write_bytes(content[:length])
        decoded = decode(tmp_path / "a.jpg")
        assert decoded.cut_short
        theirs = cv2.imread(str(tmp_path / "a.jpg"))
        if theirs is None:  # in the head of a segment OpenCV gives up; what was decoded by then is the same
            before = max(segment.start for segment in jpeg.segments(content) if segment.start < length)
            (tmp_path / "b.jpg").write_bytes(content[:before] + jpeg.END)
            theirs = cv2.imread(str(tmp_path / "b.jpg"))
        np.testing.assert_array_equal(decoded.pixels, theirs[..., ::-1])
    for length in (first - 1, first - 40, scans[0].start + 3):
        (tmp_path / "a.jpg").write_bytes(content[:length])
        with pytest.raises(BadPhotoError, match=r"truncated|begins like a JPEG but is damaged"):
            decode(tmp_path / "a.jpg")


def test_a_progressive_one_without_its_colours_is_refused(tmp_path):
    """Some programs begin with a scan of the lightness alone; cut behind it, the photo would be grey."""
    content = encoded(NOISE, quality=80, progressive=True)
    scan = next(segment for segment in jpeg.segments(content) if segment.marker == jpeg.SOS)
    alone = bytes([1, *scan.content[1:3], *scan.content[-3:]])
    grey = content[: scan.start] + b"\xff\xda\0\x08" + alone + bytes(99) + b"\xff\xc4\0\x05abc"
    (tmp_path / "a.jpg").write_bytes(grey)
    with pytest.raises(BadPhotoError):
        decode(tmp_path / "a.jpg")
    assert jpeg.ended(grey) is None


@pytest.mark.parametrize("height", [5, 8, 9, 16, 17])
def test_low_photos_need_a_whole_row(tmp_path, height):
    content = encoded(NOISE[:height], quality=80, subsampling=0)
    scan = next(segment for segment in jpeg.segments(content) if segment.marker == jpeg.SOS)
    (tmp_path / "a.jpg").write_bytes(content[: scan.start + 30])
    with pytest.raises(BadPhotoError, match="truncated"):
        decode(tmp_path / "a.jpg")


def test_it_is_turned_upright(tmp_path):
    whole = encoded(NOISE, quality=80)
    for name, content in (("a", whole[:-2]), ("b", with_exif(whole, block([turned_by(6)]))[:-2])):
        (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "b").pixels, np.rot90(decode(tmp_path / "a").pixels, -1))
    assert decode(tmp_path / "b").cut_short


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_other_formats_are_refused_as_before(tmp_path, kind):
    (tmp_path / "a.jpg").write_bytes(encoded(NOISE, kind)[:-60])
    with pytest.raises(BadPhotoError):
        decode(tmp_path / "a.jpg")


def test_a_whole_photo_is_not_cut_short(tmp_path):
    for name, content in (
        ("a", encoded(NOISE)),
        ("b", encoded(NOISE) + b"more behind it"),
        ("c", encoded(NOISE, "PNG")),
    ):
        (tmp_path / name).write_bytes(content)
        assert not decode(tmp_path / name).cut_short
    assert jpeg.ended(encoded(NOISE)) is None


def test_they_are_listed_where_photos_are_prepared_and_predicted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(encoded(NOISE)[:-2])
    (tmp_path / "b.jpg").write_bytes(encoded(NOISE))
    photos = Photos(tmp_path, ["a.jpg", "b.jpg"])
    assert [decode_photo(photos, index, [View(8, 6)]).cut_short for index in (0, 1)] == [True, False]
    for _ in range(2):  # decoded, and found decoded
        assert prepare(photos, "cut", View(8, 6), 1).cut_short == ("a.jpg",)
    assert cut_short_line(["a.jpg"]) == "1 photos are cut short, decoded as far as they go: 'a.jpg'"
    assert cut_short_line([]) == ""
