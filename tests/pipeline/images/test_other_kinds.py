"""Files that are not decoded say what they are and what to do; HEIC is decoded where pi-heif is there."""

import io
import struct
import sys
import types
import zipfile

import cv2
import numpy as np
import pytest
from exif_blocks import block, encoded, turned_by
from PIL import Image, ImageFile

from pipeline.images import lean
from pipeline.images.decode import BadPhotoError, decode, read_photo

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 18, 3), np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", encoded(PHOTO))
    return file.getvalue()


REFUSED = {
    "a HEIC": (HEIC + bytes(99), "it is a HEIC photo; pip install pi-heif lets it be read, or convert it to JPEG"),
    "a raw file": (b"FUJIFILMCCD-RAW 0201" + bytes(99), "it is a camera's raw file; export it from the camera's"),
    "JPEG XL": (b"\xff\x0a" + bytes(99), "it is a JPEG XL photo; convert it to JPEG or PNG"),
    "a PDF": (b"%PDF-1.4\n" + bytes(99), "it is no photo but a PDF"),
    "a film": (b"\0\0\0\x14ftypisom\0\0\2\0mp41" + bytes(99), "it is no photo but a video"),
    "a zip": (zipped(), "it is no photo but a zip archive"),
    "a page": (b"<!doctype html><html><body>403</body></html>", "it is no photo but an HTML page"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "it is no photo but a Git LFS pointer; f",
    ),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is no photo but a PostScript file"),
    "nothing": (b"", "it is no photo but an empty file"),
    "zeros": (bytes(9999), "it is no photo but a file of zeros"),
    "text": (b"a note", "it is no photo"),
    "the head of a JPEG": (
        b"\xff\xd8\xff\xd9",
        "it begins like a JPEG but is damaged, or of a kind that th",
    ),
    "the head of a PNG": (b"\x89PNG\r\n\x1a\n", "it begins like a PNG but is damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_says_what_it_is(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(lean, "reads_heic", lambda: False)
    content, told = REFUSED[kind]
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadPhotoError) as refused:
        decode(tmp_path / "a.jpg")
    assert str(refused.value).startswith(told)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("kind", [k for k in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")])
@pytest.mark.parametrize("name", ["a", "a.txt", "a.heic", "a.jpg"])
def test_what_can_be_decoded_is_a_photo_whatever_its_ending(tmp_path, kind, name):
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    (tmp_path / name).write_bytes(encoded(PHOTO, kind))
    assert read_photo(tmp_path / name).shape == (24, 18, 3)


PPM = {
    "PGM": b"P5\n18 24\n255\n" + PHOTO[..., 0].tobytes(),
    "PGM of 16 bits": b"P5\n# deep\n18 24\n65535\n" + (PHOTO[..., 0].astype(">u2") * 257).tobytes(),
    "plain PGM": b"P2\n18 24\n255\n" + " ".join(map(str, PHOTO[..., 0].ravel())).encode() + b"\n",
    "plain PPM": b"P3 18 24 255\n" + " ".join(map(str, PHOTO.ravel())).encode() + b"\n",
    "PBM": b"P4\n16 24\n" + PHOTO[..., 0].tobytes()[:48],
}


@pytest.mark.parametrize("kind", PPM)
def test_kinds_of_ppm_are_decoded_as_opencv_does(tmp_path, kind):
    """FERET comes as PPM, the faces of AT&T and Yale as PGM."""
    (tmp_path / "a.pgm").write_bytes(PPM[kind])
    theirs = cv2.imread(str(tmp_path / "a.pgm"), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.pgm"), theirs[..., ::-1])
    (tmp_path / "a.pgm").write_bytes(PPM[kind][:-30])
    with pytest.raises(BadPhotoError):
        decode(tmp_path / "a.pgm")


@pytest.mark.parametrize("ending", ["nef", "ARW", "dng", "pef"])
def test_a_raw_file_that_is_a_tiff_is_not_its_thumbnail(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_bytes(encoded(PHOTO, "TIFF"))
    with pytest.raises(BadPhotoError, match="it is a camera's raw file; export it"):
        decode(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("tags", [{0xC612: b"\1\4\0\0"}, {0xFE: 1, 0x14A: 8}])
def test_a_raw_file_that_is_a_tiff_by_its_tags(tmp_path, tags):
    (tmp_path / "a.jpg").write_bytes(encoded(PHOTO, "TIFF", tiffinfo=tags))
    with pytest.raises(BadPhotoError, match="it is a camera's raw file; export it"):
        decode(tmp_path / "a.jpg")
    (tmp_path / "b.tif").write_bytes(encoded(PHOTO, "TIFF", tiffinfo={0xFE: 0}))
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif"), PHOTO)


@pytest.fixture
def plugin(monkeypatch):
    """A stand-in for pi-heif: the photo's pixels lie behind its head; like pi-heif's, they come upright."""

    class HeifFile(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            self._size, self._mode = (18, 24), "RGB"
            self.info["exif"] = b"Exif\0\0" + block([turned_by(6)])
            self.tile = [ImageFile._Tile("raw", (0, 0, 18, 24), len(HEIC), "RGB")]

    def register():
        Image.register_open("HEIF", HeifFile, lambda prefix: prefix[4:12] == b"ftypheic")

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setitem(sys.modules, "pi_heif", types.SimpleNamespace(register_heif_opener=register))
    lean.reads_heic.cache_clear()
    yield
    lean.reads_heic.cache_clear()


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "a.jpg", "a"])
def test_heic_through_the_plugin(tmp_path, plugin, name):
    (tmp_path / name).write_bytes(HEIC + PHOTO.tobytes())
    np.testing.assert_array_equal(read_photo(tmp_path / name), PHOTO)  # turned once, by libheif


def test_a_damaged_heic_says_what_the_plugin_says(tmp_path, plugin):
    (tmp_path / "a.heic").write_bytes(HEIC + b"short")
    with pytest.raises(BadPhotoError, match="truncated"):
        decode(tmp_path / "a.heic")


def test_a_plugin_that_does_not_fit_the_machine_is_none(tmp_path, monkeypatch):
    def register():
        raise OSError("libheif.so.1: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "pi_heif", types.SimpleNamespace(register_heif_opener=register))
    lean.reads_heic.cache_clear()
    (tmp_path / "a.heic").write_bytes(HEIC + struct.pack(">99x"))
    with pytest.raises(BadPhotoError, match="it is a HEIC photo; pip install pi-heif"):
        decode(tmp_path / "a.heic")
    lean.reads_heic.cache_clear()
