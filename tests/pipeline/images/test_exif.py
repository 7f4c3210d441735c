"""A tag never costs a photo: whatever stands in its EXIF, it is decoded, and turned by a believable orientation."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from exif_blocks import BROKEN_TAGS, block, encoded, turned_by, with_exif
from PIL import Image

from pipeline.images import exif
from pipeline.images.decode import read_photo

PHOTO = np.kron(np.random.default_rng(1).integers(0, 256, (6, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
"""(48, 32, 3)."""
JPEG = encoded(PHOTO, quality=95)
PLAIN = np.asarray(Image.open(io.BytesIO(JPEG)))
TURNED = np.rot90(PLAIN, -1)
"""As orientation 6 shows it."""


def read(tmp_path, content, name="a.jpg"):
    (tmp_path / name).write_bytes(content)
    return read_photo(tmp_path / name)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_in_both_orders(order, value):
    assert exif.orientation(block([turned_by(value, order)], order)) == value
    assert exif.orientation(b"Exif\0\0" + block([(0x10F, 2, 2, b"a\0"), turned_by(value, order)], order, 20)) == value


@pytest.mark.parametrize(
    "exif_block",
    [
        b"",
        b"II",
        b"II*\0\x08\0\0\0",
        b"Exif\0\0",
        b"XX*\0\x08\0\0\0",
        block([turned_by(6)], magic=43),
        block([turned_by(6)])[:18],  # cut within the entry
        block([turned_by(6, kind=4)]),
        block([turned_by(6, kind=1)]),
        block([turned_by(6, kind=8)]),
        block([turned_by(6, count=2)]),
        block([turned_by(6, count=0)]),
        block([turned_by(6, count=0xFFFFFFFF)]),
        block([turned_by(0)]),
        block([turned_by(9)]),
        block([turned_by(65535)]),
        block([(0x112, 2, 2, b"6\0")]),
        block([turned_by(6)], count=0),
        struct.pack("<2sHI", b"II", 42, 0xFFFFFFFF) + bytes(30),
        struct.pack("<2sHI", b"II", 42, 0) + bytes(30),
        block([turned_by(6, ">")], "<"),
    ],
)
def test_what_is_no_orientation(exif_block):
    assert exif.orientation(exif_block) == 1


@pytest.mark.parametrize(
    "exif_block",
    [
        block([turned_by(6)], count=0xFFFF),  # more entries than there are
        block([turned_by(6), turned_by(3)]),  # the first counts
        block([turned_by(6)])[:20],  # cut behind the entry's value
        b"Exif\0\0Exif\0\0" + block([turned_by(6)]),
    ],
)
def test_what_is_one_all_the_same(exif_block):
    assert exif.orientation(exif_block.ljust(22, b"\0") if len(exif_block) == 20 else exif_block) == 6


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("broken", BROKEN_TAGS)
def test_a_broken_tag_costs_no_photo(tmp_path, broken, first):
    tags = [turned_by(6), BROKEN_TAGS[broken]]
    content = with_exif(JPEG, block(tags if first else tags[::-1]))
    np.testing.assert_array_equal(read(tmp_path, content), TURNED)


def shifted(tag, kind, count, value):
    """The same numbers in the other order of bytes."""
    size = {3: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 12: 8}.get(kind, 1)
    whole = value or b""
    return tag, kind, count, b"".join(whole[i : i + size][::-1] for i in range(0, len(whole), size)) or value


@pytest.mark.parametrize("broken", BROKEN_TAGS)
def test_a_broken_tag_in_the_other_order(tmp_path, broken):
    content = with_exif(JPEG, block([turned_by(6, ">"), shifted(*BROKEN_TAGS[broken])], ">"))
    np.testing.assert_array_equal(read(tmp_path, content), TURNED)


def test_all_of_them_at_once(tmp_path):
    content = with_exif(JPEG, block([*BROKEN_TAGS.values(), turned_by(6)]))
    np.testing.assert_array_equal(read(tmp_path, content), TURNED)


SEGMENTS = {
    "an application's segment of length 0": b"\xff\xe1\0\0",
    "one of length 1": b"\xff\xe1\0\1",
    "two bytes of EXIF": b"\xff\xe1\0\4Ex",
    "a JFIF too short": b"\xff\xe0\0\x09JFIF\0\1\1",
    "an Adobe too short": b"\xff\xee\0\x08Adobe\0",
    "Photoshop's, cut": b"\xff\xed\0\x16Photoshop 3.0\x008BIM\0\0",
    "several pictures, without any": b"\xff\xe2\0\x08MPF\0\0\0",
    "a profile of no number": b"\xff\xe2\0\x0fICC_PROFILE\0\0",
    "bytes between segments": b"\xff\xfe\0\4abcdefg",
    "filling": b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("kind", SEGMENTS)
def test_a_broken_segment_costs_no_photo(tmp_path, kind):
    content = JPEG[:2] + SEGMENTS[kind] + with_exif(JPEG, block([turned_by(6)]))[2:]
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    np.testing.assert_array_equal(read(tmp_path, content), TURNED)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks):
    whole = encoded(PHOTO, "PNG")
    return whole[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + whole[33:]


@pytest.mark.parametrize("broken", BROKEN_TAGS)
def test_png_with_broken_exif(tmp_path, broken):
    content = png_with((b"eXIf", block([turned_by(6), BROKEN_TAGS[broken]])))
    np.testing.assert_array_equal(read(tmp_path, content), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("text", ["\nexif\n      99\n{}\n", "\nexif\n 9\nzz"])
def test_png_with_exif_as_imagemagick_writes_it(tmp_path, text):
    whole = text.format((b"Exif\0\0" + block([turned_by(6)])).hex()).encode()
    content = png_with((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(whole)))
    np.testing.assert_array_equal(read(tmp_path, content), np.rot90(PHOTO, -1) if "{}" in text else PHOTO)


LONG = b"x" * 3_000_000
CHUNKS = {
    "a long text": (b"tEXt", b"Comment\0" + LONG),
    "a long packed text": (b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "a long international text": (b"iTXt", b"Comment\0\1\0en\0\0" + zlib.compress(LONG)),
    "a text that packs a gigabyte": (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))),
    "a text packed in no known way": (b"zTXt", b"a\0\7xx"),
    "a text that is damaged": (b"iTXt", b"a\0\1\0\0\0no"),
    "a long colour profile": (b"iCCP", b"a\0\0" + zlib.compress(LONG)),
    "a resolution too short": (b"pHYs", b"\0"),
    "a gamma too short": (b"gAMA", b""),
}


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("kind", CHUNKS)
def test_png_with_chunks_that_pillow_refuses(tmp_path, kind, times):
    content = png_with(*[CHUNKS[kind]] * times, (b"eXIf", block([turned_by(6)])))
    np.testing.assert_array_equal(read(tmp_path, content), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("broken", BROKEN_TAGS)
def test_webp_with_broken_exif(tmp_path, broken):
    content = encoded(PHOTO, "WEBP", lossless=True, exif=block([turned_by(6), BROKEN_TAGS[broken]]))
    np.testing.assert_array_equal(read(tmp_path, content), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("place", [0xFFFFFF0, 8, 0, 1])
@pytest.mark.parametrize("tag", [0x8769, 0x8825])
def test_tiff_whose_exif_is_broken(tmp_path, tag, place):
    content = bytearray(encoded(PHOTO, "TIFF", tiffinfo={0x112: 6, 65000: 7}))
    at = content.find(struct.pack("<H", 65000))
    struct.pack_into("<HHII", content, at, tag, 4, 1, place)
    np.testing.assert_array_equal(read(tmp_path, bytes(content)), np.rot90(PHOTO, -1))


@pytest.mark.skipif("AVIF" not in Image.SAVE, reason="this Pillow writes no AVIF")
@pytest.mark.parametrize("broken", BROKEN_TAGS)
def test_avif_with_broken_exif(tmp_path, broken):
    inside = block([BROKEN_TAGS[broken], BROKEN_TAGS["a resolution of -1/0"]])
    room = block([turned_by(6), (0x10F, 2, 200, b"x" * 199 + b"\0")])
    content = bytearray(encoded(PHOTO, "AVIF", quality=95, exif=room))
    at = content.rfind(b"II*\0", 0, content.find(b"x" * 199))
    content[at : at + len(inside)] = inside  # Pillow cannot write it, so it is put in
    plain = np.asarray(Image.open(io.BytesIO(encoded(PHOTO, "AVIF", quality=95))).convert("RGB"))
    np.testing.assert_array_equal(read(tmp_path, bytes(content)), np.rot90(plain, -1))


def test_nothing_of_exif_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Exif, "tobytes", lambda *_, **__: pytest.fail("EXIF was written"))
    np.testing.assert_array_equal(read(tmp_path, with_exif(JPEG, block([turned_by(6)]))), TURNED)
