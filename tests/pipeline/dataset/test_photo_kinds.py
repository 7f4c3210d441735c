"""What lies in a folder: photos whatever their ending, system files, and what is named as what it is."""

import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image
from small_data import contest, touch, write_csv

from models.errors import UserError
from pipeline.dataset.photo_kinds import HEIC, JXL, RAW, kind_of
from pipeline.dataset.photos import read_data_set, read_folder

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 18, 3), np.uint8))


def encoded(kind, **options):
    file = io.BytesIO()
    PHOTO.save(file, kind, **options)
    return file.getvalue()


def box(brand, *others):
    """The first box of a file of ISO 14496-12."""
    inside = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(inside)) + b"ftyp" + inside + bytes(99)


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return file.getvalue()


DECODED = [
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "PPM",
    *(kind for kind in ("AVIF", "JPEG2000") if kind in Image.SAVE),
]
OTHERS = {
    "HEIC of a telephone": (box(b"heic", b"mif1", b"heic"), HEIC, True),
    "HEIC of ten bits": (box(b"heix"), HEIC, True),
    "HEIC of another major brand": (box(b"mif1", b"miaf", b"heic"), HEIC, True),
    "AVIF of another major brand": (box(b"mif1", b"miaf", b"avif"), "AVIF", True),
    "Canon's raw": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), RAW, True),
    "Canon's newer raw": (box(b"crx ", b"isom"), RAW, True),
    "Fuji's raw": (b"FUJIFILMCCD-RAW 0201" + bytes(99), RAW, True),
    "Panasonic's raw": (b"IIU\0\x18\0\0\0" + bytes(99), RAW, True),
    "Olympus's raw": (b"IIRO\x08\0\0\0" + bytes(99), RAW, True),
    "JPEG XL": (b"\xff\x0a\xfa\x7f\x01" + bytes(99), JXL, True),
    "JPEG XL in a box": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), JXL, True),
    "a film": (box(b"isom", b"mp41"), "a video", False),
    "a film of a telephone": (box(b"qt  "), "a video", False),
    "a film of Matroska": (b"\x1aE\xdf\xa3" + bytes(99), "a video", False),
    "a film of Windows": (b"RIFF\0\0\0\0AVI LIST", "a video", False),
    "a voice": (box(b"M4A "), "a sound file", False),
    "a PDF": (b"%PDF-1.7\n", "a PDF", False),
    "a zip": (zipped(), "a zip archive", False),
    "a page": (b"\r\n<!DOCTYPE HTML>\n<title>sign in</title>", "an HTML page", False),
    "a drawing": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing", False),
    "Photoshop's": (b"8BPS\0\1" + bytes(99), "a Photoshop file", False),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", False),
    "zeros": (bytes(4096), "a file of zeros", False),
}


@pytest.mark.parametrize("kind", DECODED)
def test_what_is_decoded_is_known_by_its_first_bytes(kind):
    told = kind_of(encoded(kind)[:512])
    assert (told.name, told.photo) == (kind, True)


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_decoded_is_named(kind):
    content, name, photo = OTHERS[kind]
    told = kind_of(content[:512], "a.jpg")
    assert (told.name, told.photo) == (name, photo)
    if name != "AVIF":
        assert told.refusal.startswith(f"it is {name}" if photo else f"it is no photo but {name}")


@pytest.mark.parametrize(
    "head",
    [
        b"P5\n18 24\n255\n",
        b"P5 18 24 65535 ",
        b"P6\n# by hand\n# of 1998\n18\n24\n255\n",
        b"P1\r\n4 4\r\n",
        b"P4\t#\n9 9\n",
    ],
)
def test_the_grey_and_plain_kinds_of_ppm(head):
    assert kind_of(head + bytes(99)).name == "PPM"


@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"\xff", b"II*", b"abc,def\n1,2\n", b"RIFF", b"\0\0\0\x18ftyp", b"BMxx", b"P5 is a road\n", b"P61"],
)
def test_what_tells_nothing(content):
    told = kind_of(content)
    assert told is None or not told.photo


@pytest.mark.parametrize("name", ["a", "a.", "a.txt", "a.dat", "a.php", "photo.jpg.download", "a.HTML", "사진"])
@pytest.mark.parametrize("kind", DECODED)
def test_a_photo_of_any_ending_or_none(tmp_path, kind, name):
    (tmp_path / name).write_bytes(encoded(kind))
    assert list(read_folder(tmp_path).eval["photo"]) == [name]


ENDINGS = [
    "jfif",
    "JPE",
    "jif",
    "avif",
    "gif",
    "jp2",
    "j2k",
    "jpx",
    "webp",
    "tiff",
    "dib",
    "PGM",
    "ppm",
    "pnm",
    "heic",
    "HEIF",
    "hif",
]
RAW_ENDINGS = ["CR2", "cr3", "NEF", "arw", "dng", "raf", "rw2", "orf"]


@pytest.mark.parametrize("ending", ENDINGS + RAW_ENDINGS)
def test_a_photo_by_its_ending_is_one_whatever_it_holds(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_bytes(b"no photo")
    assert list(read_folder(tmp_path).eval["photo"]) == [f"a.{ending}"]


def test_what_is_no_photo_is_counted_and_named(tmp_path):
    files = {
        "a.pdf": OTHERS["a PDF"][0],
        "b.mov": OTHERS["a film of a telephone"][0],
        "c.zip": zipped(),
        "d/index.html": b"<html></html>",
        "e.txt": b"a note",
        "f.csv": b"photo,ans\n",
        "g": b"",
        "h.psd": OTHERS["Photoshop's"][0],
        "z.jpg": encoded("JPEG"),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    data = read_folder(tmp_path)
    assert list(data.eval["photo"]) == ["z.jpg"]
    assert data.notes == (
        "not photos, not used (8): 'a.pdf' (a PDF), 'b.mov' (a video), 'c.zip' (a zip archive), "
        "'d/index.html' (an HTML page), 'e.txt', 'f.csv', 'g', 'h.psd' (a Photoshop file)",
    )
    assert data.left_out.files["b.mov"] == "not photos (a video)"
    assert data.left_out.files["e.txt"] == "not photos"
    assert len(data.left_out.files) == 8


SYSTEM = [
    ".DS_Store", "Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "._a.jpg", "sub/._b.png",
    "Icon\r", "__MACOSX/a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "$RECYCLE.BIN/$I30.jpg", ".thumbnails/1.jpg",
    ".Trashes/501/a.jpg", ".LSOverride",
]  # fmt: skip


def test_system_files_are_counted_and_not_listed(tmp_path):
    touch(tmp_path / "a.jpg", *(tmp_path / name for name in SYSTEM))
    data = read_folder(tmp_path)
    assert list(data.eval["photo"]) == ["a.jpg"]
    assert data.notes == (f"system files (.DS_Store, Thumbs.db, ._* and the like), not used: {len(SYSTEM)}",)


def test_system_files_in_a_contest(tmp_path):
    root = contest(tmp_path)
    person = root / "train/images/000001_female_Asian_25"
    touch(
        root / "train/images/__MACOSX/._x", root / "train/images/Thumbs.db", person / "desktop.ini", person / "@eaDir/x"
    )
    touch(root / "eval/images/Thumbs.db", root / "eval/images/._b.jpg")
    data = read_data_set(root)
    assert len(data.train) == 14
    assert data.notes == ("system files (.DS_Store, Thumbs.db, ._* and the like), not used: 6",)


def test_only_system_files_are_no_photos(tmp_path):
    touch(*(tmp_path / name for name in SYSTEM))
    with pytest.raises(UserError, match=r"it holds no photos \(JPEG, PNG, WebP"):
        read_folder(tmp_path)


def test_raw_files_beside_their_photo_are_one_photo(tmp_path):
    touch(tmp_path / "a.CR2", tmp_path / "a.JPG", tmp_path / "b.NEF", tmp_path / "s/a.dng", tmp_path / "c.jpg")
    data = read_folder(tmp_path)
    assert list(data.eval["photo"]) == ["a.JPG", "b.NEF", "c.jpg", "s/a.dng"]
    assert data.notes == ("cameras' raw files beside a photo of the same name, not used (1): 'a.CR2'",)
    assert data.left_out.files == {"a.CR2": "cameras' raw files beside a photo of the same name"}


def test_a_persons_photos_of_any_ending(tmp_path):
    root = contest(tmp_path)
    person = root / "train/images/000001_female_Asian_25"
    for stem, name in (("mask1", "mask1"), ("mask2", "mask2.dat"), ("mask3", "mask3.jfif"), ("normal", "normal.avif")):
        (person / f"{stem}.jpg").unlink()
        (person / name).write_bytes(encoded("JPEG"))
    (person / "mask5.CR2").touch()
    (person / "mask4.txt").write_text("not a photo")
    data = read_data_set(root)
    mine = [photo.rpartition("/")[2] for photo in data.train["photo"] if person.name in photo]
    assert mine == ["incorrect_mask.jpg", "mask1", "mask2.dat", "mask3.jfif", "mask4.jpg", "mask5.jpg", "normal.avif"]
    assert data.notes == (
        f"in train/images but none of a person's seven photos, not used (1): 'train/images/{person.name}/mask4.txt'",
        f"cameras' raw files; export them as JPEG, not used (1): 'train/images/{person.name}/mask5.CR2'",
    )


def test_eval_photos_of_any_ending(tmp_path):
    root = contest(tmp_path)
    names = ["a.avif", "b.gif", "c.jp2", "d.jfif", "e", "f.HEIC"]
    write_csv(root / "eval/info.csv", [("ImageID", "ans"), *((name, 0) for name in names)])
    for name in names:
        (root / "eval/images" / name).write_bytes(encoded("JPEG"))
    for old in ("a.png", "b.jpg"):
        (root / "eval/images" / old).unlink()
    data = read_data_set(root)
    assert [photo.rpartition("/")[2] for photo in data.eval["photo"]] == names
    assert data.notes == ()


def test_a_link_that_leads_out_is_not_opened_to_see(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_bytes(encoded("JPEG"))
    touch(tmp_path / "in/a.jpg")
    (tmp_path / "in/b").symlink_to(tmp_path / "out/secret")
    data = read_folder(tmp_path / "in")
    assert list(data.eval["photo"]) == ["a.jpg"]
    assert data.notes == ("not photos, not used (1): 'b'",)
    assert list(read_folder(tmp_path / "in", follow_links=True).eval["photo"]) == ["a.jpg", "b"]
