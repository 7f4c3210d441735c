"""A JPEG of too many pixels is decoded at a half, a quarter or an eighth; boxes stay where they are."""

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from exif_blocks import block, encoded, turned_by, with_exif
from PIL import Image

from pipeline.images import decode as module
from pipeline.images.decode import MOST_BYTES, MOST_PIXELS, BadPhotoError, decode
from pipeline.images.framing import View
from pipeline.images.photos import Photos, decode_photo

ROOT = Path(__file__).parents[3]
COLOURS = np.random.default_rng(5).integers(0, 256, (12, 9, 3), np.uint8)
PHOTO = cv2.resize(COLOURS, (720, 960), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    ("most", "reduced"), [(960 * 720, 1), (960 * 720 - 1, 2), (480 * 360, 2), (90_000, 4), (10_800, 8)]
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_the_least_reduction_that_fits(tmp_path, monkeypatch, most, reduced, options):
    (tmp_path / "a.jpg").write_bytes(encoded(PHOTO, quality=95, **options))
    monkeypatch.setattr(module, "MOST_PIXELS", most)
    decoded = decode(tmp_path / "a.jpg")
    assert decoded.reduced == reduced
    assert decoded.pixels.shape == (960 // reduced, 720 // reduced, 3)
    expected = cv2.resize(PHOTO, None, fx=1 / reduced, fy=1 / reduced, interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_keep_the_limit(tmp_path, monkeypatch, kind):
    (tmp_path / "a.jpg").write_bytes(encoded(PHOTO, kind))
    monkeypatch.setattr(module, "MOST_PIXELS", 960 * 720 - 1)
    with pytest.raises(BadPhotoError, match=r"^720x960 pixels are too many$"):
        decode(tmp_path / "a.jpg")


def test_one_too_large_even_at_an_eighth(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(encoded(PHOTO))
    monkeypatch.setattr(module, "MOST_PIXELS", 10_799)
    with pytest.raises(BadPhotoError, match=r"^720x960 pixels are too many$"):
        decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_pixels_of_the_whole_upright_photo(tmp_path, monkeypatch, orientation):
    (tmp_path / "a.jpg").write_bytes(with_exif(encoded(PHOTO, quality=95), block([turned_by(orientation)])))
    high, wide = (960, 720) if orientation < 5 else (720, 960)
    photos = Photos(tmp_path, ["a.jpg"], np.array([[wide * 0.5, high * 0.25, wide * 0.3, high * 0.3]]))
    full = decode_photo(photos, 0, [View(64, 48)])[View(64, 48)]
    for most in (200_000, 50_000, 11_000):
        monkeypatch.setattr(module, "MOST_PIXELS", most)
        reduced = decode_photo(photos, 0, [View(64, 48)])[View(64, 48)]
        assert np.abs(reduced.astype(int) - full).mean() < 6


def test_a_cut_short_one(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(encoded(PHOTO, quality=95)[:-9])
    monkeypatch.setattr(module, "MOST_PIXELS", 200_000)
    decoded = decode(tmp_path / "a.jpg")
    assert (decoded.cut_short, decoded.reduced, decoded.pixels.shape) == (True, 2, (480, 360, 3))


def resized(content, width, height):
    """A JPEG that says it is of another size; the rows that are not there are filled while it is decoded."""
    changed = bytearray(content)
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    struct.pack_into(">HH", changed, at + 5, height, width)
    return bytes(changed)


HELD = """
import sys
from pathlib import Path
from pipeline.images.decode import BadPhotoError, decode
try:
    photo = decode(Path(sys.argv[1]))
    print(photo.pixels.shape, photo.reduced)
except BadPhotoError as refusal:
    print(refusal)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory as Linux does")
@pytest.mark.parametrize(
    ("width", "height", "options", "told"),
    [
        (12000, 9000, {}, "(4500, 6000, 3) 2"),
        (12000, 9000, {"progressive": True, "subsampling": 0}, "(2250, 3000, 3) 4"),
        (12000, 9000, {"progressive": True, "subsampling": 2}, "(4500, 6000, 3) 2"),
        (16320, 12240, {}, "(6120, 8160, 3) 2"),
        (65000, 49000, {}, "(6125, 8125, 3) 8"),
        (65000, 49000, {"progressive": True}, "65000x49000 pixels are too many"),
    ],
)
def test_within_a_gigabyte(tmp_path, width, height, options, told):
    (tmp_path / "a.jpg").write_bytes(resized(encoded(PHOTO, **options), width, height))
    command = [sys.executable, "-c", HELD, str(tmp_path / "a.jpg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outcome, held = done.stdout.splitlines()
    assert outcome == told
    assert int(held) < 1_000_000


def test_what_is_too_much_follows_from_the_limits():
    assert MOST_PIXELS * module.A_PIXEL < MOST_BYTES < 1e9
    assert Image.MAX_IMAGE_PIXELS is None
