"""Photos as they come, the rectangle that is kept, prepared arrays, and what training alters."""

import errno
import itertools
import os
import random
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from dataclasses import fields, replace
from pathlib import Path

import albumentations as alb
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import UserError
from models.task import Augmentation
from pipeline.images import decode
from pipeline.images import photos as photos_module
from pipeline.images.augment import Augmenter
from pipeline.images.decode import MOST_PIXELS, BadPhotoError, read_photo
from pipeline.images.framing import View, fit, rectangle
from pipeline.images.photos import Photos, decode_all, decode_photo
from pipeline.images.prepared import PREPARED, prepare

ROOT = Path(__file__).parents[3]


def picture(height=40, width=30):
    """A smooth photo with a red, a green, a blue and a grey corner."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    corners = [np.array(c, float) for c in ((220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128))]
    mixed = (1 - y) * (1 - x) * corners[0] + (1 - y) * x * corners[1] + y * (1 - x) * corners[2] + y * x * corners[3]
    return mixed.round().astype(np.uint8)


def saved(path, image, **options):
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def close(one, other, most=10):
    assert one.dtype == np.uint8
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= most


# ----------------------------------------------------------------------------------------------------------- read


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_lossless_formats_come_back_exactly(tmp_path, name):
    np.testing.assert_array_equal(read_photo(saved(tmp_path / name, picture())), picture())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"optimize": True}])
def test_jpeg(tmp_path, options):
    close(read_photo(saved(tmp_path / "a.jpg", picture(), quality=95, **options)), picture())


def test_webp(tmp_path):
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.webp", picture(), lossless=True)), picture())


def test_the_content_counts_and_not_the_ending(tmp_path):
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.jpg", picture(), format="PNG")), picture())


def test_grey(tmp_path):
    grey = picture()[..., 0]
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.png", grey)), np.repeat(grey[..., None], 3, 2))


def test_black_and_white(tmp_path):
    bits = picture()[..., 0] > 128
    expected = np.repeat(bits[..., None] * np.uint8(255), 3, 2)
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.png", Image.fromarray(bits))), expected)


def test_palette(tmp_path):
    photo = Image.fromarray(picture()).quantize(16)
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.png", photo)), np.asarray(photo.convert("RGB")))


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    photo = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode=None).convert("P")
    photo.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 250])
    expected = [[[10, 20, 30], [255, 255, 255]], [[0, 0, 250], [255, 255, 255]]]
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.png", photo, transparency=1)), expected)
    half = bytes([255, 128, 0])
    expected = [[[10, 20, 30], [227, 127, 127]], [[255] * 3, [227, 127, 127]]]
    close(read_photo(saved(tmp_path / "b.png", photo, transparency=half)), np.array(expected), 1)


def test_alpha_lies_on_white(tmp_path):
    clear = np.dstack([picture(), np.full((40, 30), 51, np.uint8)])  # a fifth
    close(read_photo(saved(tmp_path / "a.png", clear)), np.round(picture() * 0.2 + 255 * 0.8).astype(int), 1)
    clear[..., 3] = 0
    assert (read_photo(saved(tmp_path / "b.png", clear)) == 255).all()
    clear[..., 3] = 255
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "c.png", clear)), picture())


def test_grey_with_alpha_lies_on_white(tmp_path):
    grey = Image.merge("LA", [Image.new("L", (4, 3), 100), Image.new("L", (4, 3), 51)])
    close(read_photo(saved(tmp_path / "a.png", grey)), np.full((3, 4, 3), 224), 1)


def test_grey_with_a_transparent_shade(tmp_path):
    read_back = read_photo(saved(tmp_path / "a.png", np.array([[7, 99]], np.uint8), transparency=7))
    np.testing.assert_array_equal(read_back, [[[255] * 3, [99] * 3]])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_keeps_the_upper_8(tmp_path, name):
    deep = (picture()[..., 0].astype(np.uint16) << 8) + 77
    expected = np.repeat(picture()[..., :1], 3, 2)
    np.testing.assert_array_equal(read_photo(saved(tmp_path / name, deep)), expected)


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("white", [1, 255])
def test_decimal_numbers_from_0_to_1_or_to_255(tmp_path, monkeypatch, rows, white):
    """By the largest number of the whole photo, of however many strips."""
    shades = picture()[..., 0].copy()
    shades[0], shades[-1] = 0, 255
    monkeypatch.setattr(decode, "STRIP", rows * 30)
    path = saved(tmp_path / "a.tif", Image.fromarray(shades.astype(np.float32) * np.float32(white / 255)))
    np.testing.assert_array_equal(read_photo(path), np.repeat(shades[..., None], 3, 2))


def test_decimal_numbers_that_are_none_do_not_count(tmp_path):
    shades = np.array([[np.nan, -3, 0.5], [np.inf, -np.inf, 1]], np.float32)
    expected = np.array([[0, 0, 128], [255, 0, 255]])
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.tif", Image.fromarray(shades)))[..., 0], expected)
    shades[1, 2] = 200
    expected = np.array([[0, 0, 0], [255, 0, 200]])
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "b.tif", Image.fromarray(shades)))[..., 0], expected)


def png(width, height, colour_type, bits, rows=b""):
    """A PNG by hand."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_colour(tmp_path):
    deep = (picture().astype(">u2") << 8) + 50
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    (tmp_path / "a.png").write_bytes(png(30, 40, 2, 16, rows))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), picture())


def test_cmyk(tmp_path):
    cmyk = Image.fromarray(picture()).convert("CMYK")
    close(read_photo(saved(tmp_path / "a.jpg", cmyk, quality=95)), picture(), 12)
    close(read_photo(saved(tmp_path / "a.tif", cmyk)), picture(), 2)


def test_one_pixel(tmp_path):
    for name in ("a.png", "a.jpg"):
        path = saved(tmp_path / name, np.full((1, 1, 3), 90, np.uint8))
        close(read_photo(path), np.full((1, 1, 3), 90), 3)
        close(fit(read_photo(path), View(8, 6)), np.full((8, 6, 3), 90), 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(tmp_path, kind):
    colours = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    first, *rest = (Image.new("RGB", (8, 6), colour) for colour in colours)
    path = tmp_path / "a.jpg"
    first.save(path, format=kind, save_all=True, append_images=rest, duration=50)
    with Image.open(path) as photo:
        assert photo.n_frames == 3
    close(read_photo(path), np.full((6, 8, 3), (200, 0, 0)), 4)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_stand_upright(tmp_path, ending, orientation):
    upright = picture(32, 48)
    # What a camera held so stores; by definition of the tag, undone by the reader.
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 97}, "png": {}, "webp": {"lossless": True}}[ending]
    path = saved(tmp_path / f"a.{ending}", np.ascontiguousarray(turned), exif=exif, **options)
    close(read_photo(path), upright, 12 if ending == "jpg" else 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\x08\0\0\0\xff\xff no", b"Exif\0\0no", b"no"])
def test_damaged_exif_is_no_damage_to_the_photo(tmp_path, exif):
    close(read_photo(saved(tmp_path / "a.jpg", picture(), quality=95, exif=exif)), picture())


BROKEN = {
    "empty": b"",
    "text": b"this is no photo\n" * 50,
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "jpeg header alone": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "nothing wide": png(0, 5, 2, 8),
    "no rows": png(30, 40, 2, 8),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_photo(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadPhotoError) as told:
        read_photo(tmp_path / "a.jpg")
    assert str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_truncated(tmp_path, kind, options, share):
    """What a JPEG may lack: test_cut_short.py."""
    if kind == "JPEG" and (share == 0.95 or (options and share > 0.2)):
        pytest.skip("enough of it is there")
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    path = saved(tmp_path / "a.jpg", noise, format=kind, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadPhotoError, match=r"."):
        read_photo(path)


def test_a_folder_and_nothing_at_all(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(BadPhotoError, match=r"^it is a folder$"):
        read_photo(tmp_path / "a.jpg")
    with pytest.raises(BadPhotoError, match=r"^it does not exist$"):
        read_photo(tmp_path / "b.jpg")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(BadPhotoError, match=r"^Permission denied$"):
        read_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("bits", [8, 16])
def test_too_many_pixels_are_refused_by_the_header(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(png(20000, 20000, 6, bits, bytes(100)))
    tracemalloc.start()
    peak = resident()
    with pytest.raises(BadPhotoError, match=r"^20000x20000 pixels are too many$"):
        read_photo(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert resident() - peak < 50_000


def resident():
    """The most memory this process ever held, in kB (Pillow's is invisible to tracemalloc)."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_large_photo_within_the_limit(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", picture(40, 30))
    monkeypatch.setattr(decode, "MOST_PIXELS", 1200)
    assert read_photo(path).shape == (40, 30, 3)
    monkeypatch.setattr(decode, "MOST_PIXELS", 1199)
    with pytest.raises(BadPhotoError, match="30x40 pixels are too many"):
        read_photo(path)


def test_pillows_own_limit_does_not_interfere():
    assert Image.MAX_IMAGE_PIXELS is None
    assert MOST_PIXELS == 50_400_000


def test_postscript_is_not_handed_to_ghostscript(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("ran Ghostscript"))
    Image.fromarray(picture()).save(tmp_path / "a.jpg", format="EPS")
    with pytest.raises(BadPhotoError, match="it is no photo"):
        read_photo(tmp_path / "a.jpg")


# ----------------------------------------------------------------------------------------------- rectangle and fit

sides = st.integers(1, 600)
aspects = st.sampled_from([0.75, 1.0, 0.5, 4 / 3])


def check_inside(width, height, kept):
    left, top, right, bottom = kept
    assert all(isinstance(edge, int) for edge in kept)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(sides, sides, aspects, st.floats(0.1, 1))
@settings(deadline=None)
def test_without_a_box_the_largest_centred_rectangle(width, height, aspect, crop):
    left, top, right, bottom = kept = rectangle(width, height, aspect, None, crop)
    check_inside(width, height, kept)
    wide = min(width, height * aspect) * crop
    assert abs(right - left - max(wide, 1)) < 1.001
    assert abs(bottom - top - max(wide / aspect, 1)) < 1.001
    assert abs((left + right) - width) <= 2
    assert abs((top + bottom) - height) <= 2
    if crop == 1:
        assert width - (right - left) <= 1 or height - (bottom - top) <= 1


@given(sides, sides, aspects, st.floats(-700, 700), st.floats(-700, 700), st.floats(0.01, 700), st.floats(0.01, 700))
@settings(deadline=None)
def test_any_box_gives_a_rectangle_inside_the_photo(width, height, aspect, x, y, box_width, box_height):
    kept = rectangle(width, height, aspect, (x, y, box_width, box_height))
    check_inside(width, height, kept)
    left, top, right, bottom = kept
    if min(right - left, bottom - top) > 20:
        assert abs((right - left) - (bottom - top) * aspect) <= 2.1


@given(
    st.integers(200, 600),
    st.integers(200, 600),
    aspects,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(5, 60),
    st.floats(5, 60),
)
@settings(deadline=None)
def test_a_box_is_kept_with_its_margin_and_centred_where_there_is_room(width, height, aspect, x, y, w, h):
    x, y = x * (width - w), y * (height - h)
    left, top, right, bottom = kept = rectangle(width, height, aspect, (x, y, w, h))
    check_inside(width, height, kept)
    # The whole box is kept, to half a pixel.
    assert left <= x + 0.51
    assert top <= y + 0.51
    assert right >= x + w - 0.51
    assert bottom >= y + h - 0.51
    # The smallest rectangle of the aspect around the box and a quarter of it on each side.
    wide = max(1.5 * w, 1.5 * h * aspect)
    assert abs(right - left - wide) < 1.001
    assert abs(bottom - top - wide / aspect) < 1.001
    # Centred, unless that would leave the photo.
    middle_x, middle_y = x + w / 2, y + h / 2
    if wide / 2 < middle_x < width - wide / 2:
        assert abs((left + right) / 2 - middle_x) <= 1
    if wide / aspect / 2 < middle_y < height - wide / aspect / 2:
        assert abs((top + bottom) / 2 - middle_y) <= 1


def test_a_box_larger_than_the_photo_keeps_what_there_is():
    assert rectangle(100, 100, 0.75, (-100, -100, 300, 300)) == (12, 0, 88, 100)
    assert rectangle(100, 100, 0.75, (-50, -50, 300, 300)) == (12, 0, 88, 100)  # clipped, it is the whole photo


def test_a_box_at_the_edge_moves_the_rectangle_into_the_photo():
    assert rectangle(400, 400, 1.0, (0, 0, 100, 100)) == (0, 0, 150, 150)
    assert rectangle(400, 400, 1.0, (390, 150, 100, 100)) == (250, 125, 400, 275)


@pytest.mark.parametrize(("margin", "wide"), [(0.0, 100), (0.05, 110), (0.6, 220), (4, 400)])
def test_the_margin_is_a_share_of_the_face_on_each_side(margin, wide):
    left, top, right, bottom = rectangle(400, 400, 1.0, (150, 150, 100, 100), margin=margin)
    assert (right - left, bottom - top) == (wide, wide)
    assert left + right == top + bottom == 400


def test_shrinking_averages_areas():
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    means = noise.reshape(40, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(fit(noise, View(40, 30)) - means).max() <= 0.5
    np.testing.assert_array_equal(fit(noise, View(40, 30)), cv2.resize(noise, (30, 40), interpolation=cv2.INTER_AREA))
    odd = fit(noise, View(50, 37))
    left, top, right, bottom = rectangle(60, 80, 37 / 50)
    kept = np.ascontiguousarray(noise[top:bottom, left:right])
    np.testing.assert_array_equal(odd, cv2.resize(kept, (37, 50), interpolation=cv2.INTER_AREA))


def test_enlarging_is_linear():
    small = np.random.default_rng(0).integers(0, 256, (20, 15, 3), np.uint8)
    np.testing.assert_array_equal(fit(small, View(80, 60)), cv2.resize(small, (60, 80), interpolation=cv2.INTER_LINEAR))


def test_the_right_size_stays_as_it_is():
    photo = picture(40, 30)
    same = fit(photo, View(40, 30))
    np.testing.assert_array_equal(same, photo)
    same[:] = 0
    np.testing.assert_array_equal(photo, picture(40, 30))


def test_fit_crops_around_the_box():
    photo = np.zeros((100, 100, 3), np.uint8)
    photo[10:50, 60:90] = 255  # the face, 30 x 40
    kept = fit(photo, View(60, 45), (60, 10, 30, 40))
    assert (kept[11:49, 8:37] == 255).all()
    assert (kept[:9] == 0).all()
    assert (kept[:, :7] == 0).all()


@given(st.integers(1, 40), st.integers(1, 40), st.floats(-5, 45), st.floats(-5, 45), st.floats(0.01, 50))
@settings(deadline=None)
def test_fit_gives_its_size_whatever_comes(height, width, x, y, side):
    fitted = fit(np.full((height, width, 3), 9, np.uint8), View(16, 12), (x, y, side, side))
    assert (fitted.shape, fitted.dtype) == ((16, 12, 3), np.uint8)
    assert (fitted == 9).all()


# -------------------------------------------------------------------------------------------- decoding and preparing

BAD = ("p1.jpg", "p4.jpg")
SIZES = (View(16, 12), View(24, 18, 0.1))


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Seven photos of several sizes, one with a box; two are bad."""
    root = tmp_path_factory.mktemp("album")
    random_ = np.random.default_rng(0)
    for i in range(7):
        saved(root / f"p{i}.jpg", cv2.resize(random_.integers(0, 256, (4, 3, 3), np.uint8), (30 + 4 * i, 50)))
    (root / "p1.jpg").write_bytes(b"no photo")
    (root / "p4.jpg").unlink()
    boxes = np.full((7, 4), np.nan)
    boxes[2] = 10, 10, 8, 9
    return Photos(root, [f"p{i}.jpg" for i in range(7)], boxes, 0.9)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def expected(photos, index, size):
    return fit(read_photo(photos.root / photos.names[index]), size, photos.box(index), photos.crop)


def test_a_missing_box_is_none(album):
    assert album.box(0) is None
    assert album.box(2) == (10, 10, 8, 9)
    assert replace(album, boxes=None).box(2) is None


@pytest.mark.parametrize("jobs", [1, 3])
def test_decoding_keeps_the_order(album, jobs, monkeypatch):
    real = decode_photo

    def slow(photos, index, sizes):
        time.sleep(0.02 * (index % 3 == 0))
        return real(photos, index, sizes)

    monkeypatch.setattr(photos_module, "decode_photo", slow)
    decoded = list(decode_all(album, SIZES, jobs))
    assert len(decoded) == 7
    for index, photo in enumerate(decoded):
        if album.names[index] in BAD:
            assert photo == {"p1.jpg": "it is no photo", "p4.jpg": "it does not exist"}[album.names[index]]
            continue
        assert tuple(photo.pixels) == SIZES
        for size in SIZES:
            np.testing.assert_array_equal(photo[size], expected(album, index, size))


def test_decoding_does_not_run_ahead_of_its_reader(monkeypatch):
    begun, lock = [], threading.Lock()

    def note(photos, index, sizes):
        with lock:
            begun.append(index)
        return str(index)

    monkeypatch.setattr(photos_module, "decode_photo", note)
    photos = Photos(Path(), [str(i) for i in range(200)])
    reader = decode_all(photos, SIZES, 2)
    for read_so_far in range(1, 20):
        assert next(reader) == str(read_so_far - 1)
        time.sleep(0.005)
        assert len(begun) <= read_so_far + 32
    reader.close()
    assert len(begun) < 60


def test_a_fault_of_ours_while_decoding_is_not_swallowed(album, monkeypatch):
    monkeypatch.setattr(photos_module, "fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(decode_all(album, SIZES, 2))


@pytest.mark.parametrize("jobs", [1, 3])
def test_prepared_photos_are_the_same_bytes_as_unprepared(album, here, jobs):
    before = {path: path.stat().st_mtime_ns for path in album.root.rglob("*")}
    view = SIZES[1]
    prepared = prepare(album, "album", view, jobs)
    assert prepared.bad == {"p1.jpg": "it is no photo", "p4.jpg": "it does not exist"}
    assert (prepared.pixels.shape, prepared.pixels.dtype) == ((7, 24, 18, 3), np.uint8)
    assert isinstance(prepared.pixels, np.memmap)
    for index, name in enumerate(album.names):
        wanted = np.zeros((24, 18, 3)) if name in BAD else expected(album, index, view)
        np.testing.assert_array_equal(prepared.pixels[index], wanted)
    assert {path: path.stat().st_mtime_ns for path in album.root.rglob("*")} == before


def folders():
    return sorted(path.name for path in PREPARED.iterdir() if path.is_dir())


def test_a_second_call_decodes_nothing(album, here, monkeypatch, capsys):
    first = prepare(album, "album", View(16, 12), 1)
    assert "7 photos at 16x12" in capsys.readouterr().out
    monkeypatch.setattr(photos_module, "decode_photo", lambda *_: pytest.fail("decoded again"))
    again = prepare(album, "album", View(16, 12), 1)
    np.testing.assert_array_equal(again.pixels, first.pixels)
    assert again.bad == first.bad
    assert capsys.readouterr().out == ""
    (name,) = folders()
    assert name.startswith("album-16x12-")


def test_a_photo_that_was_bad_for_a_while_is_prepared_once_it_is_good(tmp_path, here, monkeypatch, capsys):
    """Its bytes are the same: what refused it was a permission, or the disk."""
    saved(tmp_path / "a.png", picture())
    photos = Photos(tmp_path, ["a.png", "b.png"])
    real = Image.open

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Image, "open", refuse)
    assert set(prepare(photos, "album", View(16, 12), 1).bad) == {"a.png", "b.png"}
    assert set(prepare(photos, "album", View(16, 12), 1).bad) == {"a.png", "b.png"}
    monkeypatch.setattr(Image, "open", real)
    capsys.readouterr()
    again = prepare(photos, "album", View(16, 12), 1)
    assert set(again.bad) == {"b.png"}
    assert again.pixels[0].any()
    assert "now can be" in capsys.readouterr().out


def test_a_photo_changed_within_its_size_is_prepared_anew(tmp_path, here):
    for colour, when in ((0, 1), (250, 2)):
        Image.new("RGB", (12, 16), (colour,) * 3).save(tmp_path / "a.bmp")
        os.utime(tmp_path / "a.bmp", (when, when))
        pixels = prepare(Photos(tmp_path, ["a.bmp"]), "album", View(16, 12), 1).pixels
        assert pixels.mean() == colour


def test_what_changes_the_pixels_prepares_anew(album, here, tmp_path):
    import shutil

    copy = replace(album, root=tmp_path / "copy")
    shutil.copytree(album.root, copy.root)
    moved = album.boxes.copy()
    moved[2, 0] += 1
    photos = [
        copy,
        replace(copy, crop=0.8),
        replace(copy, boxes=None),
        replace(copy, boxes=moved),
        replace(copy, names=list(reversed(copy.names))),
    ]
    for count, some in enumerate(photos, 1):
        prepare(some, "album", View(16, 12), 1)
        assert len(folders()) == count
    prepare(copy, "album", View(24, 18), 1)
    assert len(folders()) == 6
    prepare(replace(copy, boxes=None), "album", View(16, 12, 0.1), 1)  # without faces there is nothing around them
    assert len(folders()) == 6
    prepare(copy, "album", View(16, 12, 0.1), 1)
    assert len(folders()) == 7
    with (copy.root / "p0.jpg").open("ab") as file:
        file.write(b"x")
    prepare(copy, "album", View(16, 12), 1)
    assert len(folders()) == 8
    saved(copy.root / "p4.jpg", picture())
    assert set(prepare(copy, "album", View(16, 12), 1).bad) == {"p1.jpg"}


def test_an_interrupted_preparation_begins_anew(album, here, monkeypatch):
    real, calls = decode_photo, itertools.count()

    def stop(*given):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(photos_module, "decode_photo", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(album, "album", View(16, 12), 1)
    monkeypatch.setattr(photos_module, "decode_photo", real)
    (name,) = folders()
    assert list((PREPARED / name).iterdir()) == []
    prepared = prepare(album, "album", View(16, 12), 1)
    np.testing.assert_array_equal(prepared.pixels[6], expected(album, 6, View(16, 12)))


def test_a_full_disk_is_told_before_any_work(album, here, monkeypatch):
    real = os.statvfs

    class Full:
        f_bavail, f_frsize = 1, 512

    monkeypatch.setattr(os, "statvfs", lambda path: Full if "album" in str(path) else real(path))
    monkeypatch.setattr(photos_module, "decode_photo", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"preparing 7 photos at 16x12 needs 0\.0 GB, but only 0\.0 GB are free"):
        prepare(album, "album", View(16, 12), 1)


def parts():
    return [path for path in PREPARED.rglob("*.part") if path.is_file()]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve blocks")
def test_prepared_photos_have_their_place_on_the_disk_before_any_is_decoded(album, here, monkeypatch):
    real, seen = decode_photo, []

    def look(*given):
        (part,) = parts()
        seen.append(part.stat())
        return real(*given)

    monkeypatch.setattr(photos_module, "decode_photo", look)
    prepare(album, "album", View(240, 180), 1)
    assert seen[0].st_size > 7 * 240 * 180 * 3
    assert seen[0].st_blocks * 512 >= seen[0].st_size


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve blocks")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_told_before_any_work_and_nothing_is_left(album, here, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(photos_module, "decode_photo", lambda *_: pytest.fail("decoded"))
    with pytest.raises(OSError, match=r"pixels\.npy") as told:
        prepare(album, "album", View(16, 12), 1)
    assert told.value.errno == number
    assert [path for path in PREPARED.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, None])
def test_a_disk_that_reserves_nothing_is_written_as_it_is(album, here, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    if number is None:
        monkeypatch.delattr(os, "posix_fallocate")
    pixels = prepare(album, "album", View(16, 12), 1).pixels
    np.testing.assert_array_equal(pixels[6], expected(album, 6, View(16, 12)))


def test_a_second_process_waits_for_the_first(album, here, tmp_path):
    code = f"""
from pathlib import Path
from pipeline.images import photos, prepared
from pipeline.images.framing import View
import numpy as np
boxes = np.full((7, 4), np.nan); boxes[2] = 10, 10, 8, 9
album = photos.Photos(Path({str(album.root)!r}), [f"p{{i}}.jpg" for i in range(7)], boxes, 0.9)
prepared.PREPARED = Path({str(tmp_path / PREPARED)!r})
print(prepared.prepare(album, "album", View(16, 12), 1).pixels.sum(dtype=int))
"""
    two = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[0].splitlines() for process in two]
    assert [process.returncode for process in two] == [0, 0]
    assert sorted(len(lines) for lines in told) == [1, 2]  # one of them says that it prepares
    assert len({lines[-1] for lines in told}) == 1


# ------------------------------------------------------------------------------------------------------ augmentation

NOTHING = Augmentation(**{field.name: 0.0 for field in fields(Augmentation)})
FULL = Augmentation(erase=0.3, blur=0.3, noise=0.3, grey=0.2)
PHOTO = picture(32, 24)


def test_augmenting_depends_on_seed_epoch_and_photo_alone():
    keys = [(epoch, index) for epoch in range(2) for index in range(6)]
    one = Augmenter(FULL, 3)
    first = {key: one(PHOTO, *key) for key in keys}
    random.shuffle(keys)
    random.seed(1)
    np.random.seed(1)
    other = Augmenter(FULL, 3)
    for key in keys:
        np.testing.assert_array_equal(other(PHOTO, *key), first[key])
    assert len({altered.tobytes() for altered in first.values()}) >= 11
    assert any((Augmenter(FULL, 4)(PHOTO, *key) != first[key]).any() for key in keys)
    np.testing.assert_array_equal(PHOTO, picture(32, 24))


def test_augmenting_keeps_shape_and_type():
    augmenter = Augmenter(FULL, 0)
    for index in range(40):
        altered = augmenter(PHOTO, 0, index)
        assert (altered.shape, altered.dtype) == ((32, 24, 3), np.uint8)


def test_no_strength_is_no_change():
    augmenter = Augmenter(NOTHING, 0)
    for index in range(30):
        np.testing.assert_array_equal(augmenter(PHOTO, 0, index), PHOTO)


def test_each_strength_alone_alters_about_its_share_of_photos():
    for name, more in (
        ("flip", {}),
        ("move", {"shift": 0.2, "scale": 0.2, "rotate": 20.0}),
        ("light", {}),
        ("colour", {}),
        ("grey", {}),
        ("blur", {}),
        ("noise", {}),
        ("erase", {}),
    ):
        augmenter = Augmenter(replace(NOTHING, **{name: 0.5}, **more), 1)
        noisy = np.random.default_rng(0).integers(20, 220, (32, 24, 3), np.uint8)
        altered = np.mean([(augmenter(noisy, 0, i) != noisy).any() for i in range(150)])
        assert 0.35 < altered < 0.65, name


def test_two_transforms_at_a_half_fire_together_in_a_quarter_of_photos():
    """All pairs of a Compose made and seeded like ours."""

    class Mark(alb.ImageOnlyTransform):
        def __init__(self, channel):
            super().__init__(p=0.5)
            self.channel = channel

        def apply(self, img, **_):
            img = img.copy()
            img[..., self.channel] = 255
            return img

    augmenter = Augmenter(NOTHING, 0)
    augmenter.compose = alb.Compose([Mark(0), Mark(1), Mark(2)])
    black = np.zeros((2, 2, 3), np.uint8)
    fired = np.array([augmenter(black, e, i)[0, 0] == 255 for e in range(2) for i in range(500)])
    assert (np.abs(fired.mean(0) - 0.5) < 0.05).all()
    for one, other in itertools.combinations(range(3), 2):
        assert abs((fired[:, one] & fired[:, other]).mean() - 0.25) < 0.045


def test_our_own_transforms_fire_independently():
    """Flip swaps sides, grey takes colour away: both can be read off a photo."""
    photo = np.zeros((16, 12, 3), np.uint8)
    photo[:, :6] = 200, 60, 60
    augmenter = Augmenter(replace(NOTHING, flip=0.5, grey=0.5), 5)
    flipped, grey = [], []
    for index in range(1000):
        altered = augmenter(photo, 0, index)
        flipped.append(altered[:, 6:].max() > 0)
        grey.append((np.ptp(altered, axis=2) == 0).all())
    flipped, grey = np.array(flipped), np.array(grey)
    for share, wanted in ((flipped.mean(), 0.5), (grey.mean(), 0.5), ((flipped & grey).mean(), 0.25)):
        assert abs(share - wanted) < 0.045


@pytest.mark.parametrize("task", ["mask", "gender", "age"])
def test_no_photo_comes_out_upside_down(task):
    from models.tasks import build_task
    from pipeline.run.presets import PRESETS

    augmenter = Augmenter(build_task(task, PRESETS["small"][task]).augmentation, 0)
    photo = np.zeros((64, 48, 3), np.uint8)
    photo[:24] = 210
    for index in range(300):
        altered = augmenter(photo, 0, index).mean(2)
        assert altered[:32].mean() > altered[32:].mean() + 40
