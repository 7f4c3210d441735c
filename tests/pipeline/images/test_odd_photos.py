"""Every odd kind of photo has one answer, and the same one in training (prepare) and prediction (decode_all)."""

import csv
import io
import os
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_data import contest, general, touch, write_csv

from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.images import prepared
from pipeline.images.framing import View, fit
from pipeline.images.photos import Photos, decode_all
from pipeline.images.prepared import prepare
from pipeline.runtime import store
from pipeline.runtime.problems import tell_bad_photos

SIZE = View(16, 12)
UPRIGHT = np.kron(np.array([[[220, 30, 30], [30, 200, 30]], [[30, 30, 220], [128, 128, 128]]]), np.ones((32, 24, 1)))
UPRIGHT = UPRIGHT.astype(np.uint8)
"""(64, 48, 3): four corners of a colour each."""


def encoded(photo, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(photo) if isinstance(photo, np.ndarray) else photo).save(file, kind, **options)
    return file.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG of that size by its header, with next to nothing behind it."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    return encoded(np.ascontiguousarray(np.rot90(UPRIGHT, 1)), exif=exif)


def animated() -> bytes:
    rest = [Image.new("RGB", (48, 64), colour) for colour in ("black", "white")]
    return encoded(UPRIGHT, "GIF", save_all=True, append_images=rest)


def clear() -> bytes:
    return encoded(np.dstack([UPRIGHT, np.zeros((64, 48), np.uint8)]))


GREY = UPRIGHT[..., 0]
KINDS = {
    "truncated": (lambda: encoded(UPRIGHT)[:-60], "truncated"),
    "truncated jpeg": (lambda: encoded(UPRIGHT, "JPEG")[:-60], "truncated"),
    "zero bytes": (lambda: b"", "it is no photo"),
    "not a photo": (lambda: b"<html>404</html>" * 99, "it is no photo"),
    "20,000 x 20,000": (lambda: header_of(20_000, 20_000), "20000x20000 pixels are too many"),
    "a bomb of one row": (lambda: header_of(60_000_000, 1), "60000000x1 pixels are too many"),
    "wrong ending": (lambda: encoded(UPRIGHT, "BMP"), UPRIGHT),
    "1x1": (lambda: encoded(np.full((1, 1, 3), 90, np.uint8)), np.full((64, 48, 3), 90, np.uint8)),
    "CMYK": (lambda: encoded(Image.fromarray(UPRIGHT).convert("CMYK"), "TIFF"), UPRIGHT),
    "16 bit": (lambda: encoded(GREY.astype(np.uint16) * 256 + 99), np.repeat(GREY[..., None], 3, 2)),
    "alpha": (clear, np.full((64, 48, 3), 255, np.uint8)),
    "palette": (lambda: encoded(Image.fromarray(UPRIGHT).quantize(4)), UPRIGHT),
    "EXIF rotation": (turned, UPRIGHT),
    "animated": (animated, UPRIGHT),
    "progressive": (lambda: encoded(UPRIGHT, "JPEG", progressive=True, subsampling=0, quality=95), UPRIGHT),
}


def predicted(photos: Photos) -> np.ndarray | str:
    """The pixels of the first photo, or why there are none; the same in training and prediction."""
    (predicted, *_) = decode_all(photos, [SIZE], 1)
    trained = prepare(photos, "odd", SIZE, 1)
    if isinstance(predicted, str):
        assert trained.bad == {photos.names[0]: predicted}
        assert not trained.pixels[0].any()
        return predicted
    assert trained.bad == {}
    np.testing.assert_array_equal(trained.pixels[0], predicted[SIZE])
    return predicted[SIZE]


@pytest.fixture(autouse=True)
def prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "PREPARED", tmp_path / "prepared")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_answer(tmp_path, kind):
    make, expected = KINDS[kind]
    (tmp_path / "a.jpg").write_bytes(make())
    told = predicted(Photos(tmp_path, ["a.jpg"]))
    if isinstance(expected, str):
        assert isinstance(told, str)
        assert expected in told
    else:
        close = np.abs(told.astype(int) - fit(expected, SIZE)).max()
        assert close <= (6 if kind == "progressive" else 2)


def make_folder(path):
    path.mkdir()


def make_dead_link(path):
    path.symlink_to("nowhere.jpg")


def make_circle(path):
    path.symlink_to(path.name)


def make_pipe(path):
    os.mkfifo(path)


NOT_FILES = {
    "a folder": (make_folder, "it is a folder"),
    "a dead link": (make_dead_link, "it does not exist"),
    "a link to itself": (make_circle, "Too many levels of symbolic links"),
    "a pipe": (make_pipe, "it is not a file"),
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_named_like_a_photo_and_is_none(tmp_path, kind):
    make, reason = NOT_FILES[kind]
    make(tmp_path / "a.jpg")
    assert predicted(Photos(tmp_path, ["a.jpg"])) == reason


@pytest.mark.parametrize("kind", NOT_FILES)
def test_reading_a_contest_leaves_such_a_photo_out_and_says_so(tmp_path, kind):
    root = contest(tmp_path / "data")
    one, other = root / "train/images/000001_female_Asian_25/normal.jpg", root / "eval/images/b.jpg"
    for path in (one, other):
        path.unlink()
        NOT_FILES[kind][0](path)
    data = read_data_set(root)
    assert len(data.train) == 13
    assert list(data.eval["photo"]) == ["eval/images/b.jpg", "eval/images/a.png"]  # a row all the same
    notes = "\n".join(data.notes)
    assert "people with photos missing (1): '000001_female_Asian_25' lacks normal" in notes
    assert "photos of eval/info.csv that are not on disk (1): 'eval/images/b.jpg'" in notes


def test_a_link_to_a_photo_of_the_data_set_is_that_photo(tmp_path):
    (tmp_path / "b.png").write_bytes(encoded(UPRIGHT))
    (tmp_path / "a.jpg").symlink_to("b.png")
    assert list(read_folder(tmp_path).eval["photo"]) == ["a.jpg", "b.png"]
    np.testing.assert_array_equal(predicted(Photos(tmp_path, ["a.jpg"])), fit(UPRIGHT, SIZE))


NAMES = {
    "unicode": "Zoë 山田 🙂.jpg",
    "spaces": "  a  b  .jpg",
    "newline": "a\nb.jpg",
    "carriage return": "a\rb.jpg",
    "quotes and commas": "\"a\",'b',;c.jpg",
    "looks like no value": "NA",
    "255 bytes": "ä" * 125 + "a.jpg",
    "escape sequence": "\x1b[2Jred.jpg",
    "like a key of ours": "fingerprint",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_kept_to_the_letter(tmp_path, name):
    """From the table or the folder, over the answer tables, to the submission."""
    assert len(os.fsencode(name)) <= 255
    root = general(tmp_path / "data")
    with (root / "photos.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[3][0], rows[3][1], rows[5][0] = f"in/{name}", name, name
    rows[4][1] = name
    write_csv(root / "photos.csv", rows)
    for path in (root / "in" / name, root / name):
        path.write_bytes(encoded(UPRIGHT))
    data = read_data_set(root)
    assert f"in/{name}" in set(data.train["photo"])
    assert list(data.train["person"]).count(name.strip()) == 2  # but a person's name is stripped
    assert data.eval["photo"][0] == name
    np.testing.assert_array_equal(predicted(Photos(root, [name])), fit(UPRIGHT, SIZE))
    store.write_csv(tmp_path / "answers.csv", data.train[["photo", "person", "age"]])
    back = store.read_csv(tmp_path / "answers.csv")
    assert list(back["photo"]) == list(data.train["photo"])
    assert list(back["person"]) == list(data.train["person"])
    store.write_csv(tmp_path / "submission.csv", data.submission(pd.Series(7, index=data.eval["photo"])))
    assert list(store.read_csv(tmp_path / "submission.csv")["photo"]) == list(data.eval["photo"])


def test_a_number_in_the_contests_submission_is_kept_to_the_letter(tmp_path):
    root, names = contest(tmp_path / "data"), ["000123", "1e3", "7"]
    write_csv(root / "eval/info.csv", [("ImageID", "ans"), *((name, 0) for name in names)])
    touch(*(root / "eval/images" / name for name in names))
    data = read_data_set(root)
    store.write_csv(tmp_path / "submission.csv", data.submission(pd.Series(7, index=data.eval["photo"])))
    assert list(store.read_csv(tmp_path / "submission.csv")["ImageID"]) == names


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_bad_photo_keeps_its_name_and_is_told_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"no photo")
    assert predicted(Photos(tmp_path, [name])) == "it is no photo"
    line = tell_bad_photos({name: "it is no photo"})
    assert line.isprintable()
    assert line.endswith(": it is no photo")


def test_a_data_set_folder_of_255_bytes_is_prepared(tmp_path):
    touch(tmp_path / "a.jpg")
    assert prepare(Photos(tmp_path, ["a.jpg"]), "ä" * 127, SIZE, 1).bad == {"a.jpg": "it is no photo but an empty file"}


def saved(path, array):
    with path.open("wb") as file:  # given a path, numpy would add an ending
        np.save(file, array, allow_pickle=True)


def pickled(path):
    saved(path, np.array([{"a": 1}] * 9, object))


def shortened(path):
    path.write_bytes(path.read_bytes()[:-3])


def of_another_shape(path):
    saved(path, np.zeros((1, 12, 16, 3), np.uint8))


def of_another_type(path):
    saved(path, np.zeros((1, 16, 12, 3), np.int8))


def of_another_order(path):
    saved(path, np.asfortranarray(np.zeros((1, 16, 12, 3), np.uint8)))


def without_end(path):
    path.write_bytes(path.read_bytes().replace(b"}", b"{", 1))


def archived(path):
    with path.open("wb") as file:
        np.savez(file, pixels=np.zeros((1, 16, 12, 3), np.uint8))


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "harm", [pickled, shortened, of_another_shape, of_another_type, of_another_order, without_end, archived, emptied]
)
@pytest.mark.parametrize("file", ["pixels.npy", "bad.json"])
def test_damaged_prepared_photos_are_prepared_anew(tmp_path, capsys, file, harm):
    (tmp_path / "a.jpg").write_bytes(encoded(UPRIGHT))
    photos = Photos(tmp_path, ["a.jpg"])
    whole = prepare(photos, "odd", SIZE, 1).pixels.copy()
    (folder,) = (path for path in prepared.PREPARED.iterdir() if path.is_dir())
    harm(folder / file)
    capsys.readouterr()
    np.testing.assert_array_equal(prepare(photos, "odd", SIZE, 1).pixels, whole)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"prepare: {folder} is damaged (")
    assert told[0].endswith(") and is prepared anew")
    prepare(photos, "odd", SIZE, 1)
    assert capsys.readouterr().out == ""
