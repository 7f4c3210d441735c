"""Photos that a text file lists, and files given in its place."""

import gzip
import io
import os
from pathlib import Path

import pytest
from PIL import Image
from tars import write_tar

from models.errors import UserError
from pipeline.dataset.duplicates import find_duplicates
from pipeline.dataset.eval_sources import read_eval
from pipeline.runtime import store


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/b c.jpg", "in/é.png", "other/a.jpg", ".hidden"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name * 1000)


def read(content: str | bytes, path: str = "in/my.list.txt"):
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_eval(Path(path), False, Path("index"))


def refused(content: str | bytes, path: str = "in/list.txt") -> str:
    with pytest.raises(UserError) as error:
        read(content, path)
    return str(error.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_a_photo_is_called_as_its_line_says_in_the_lists_order(tmp_path, begin, end):
    names = ["é.png", "./b c.jpg", "../other/a.jpg", str(tmp_path / "in/a.jpg"), "../.hidden"]
    data = read(begin + end.join(["", *names[:2], "  ", *names[2:]]).encode())
    assert data.eval["photo"].tolist() == names
    assert (data.name, data.layout, data.root, data.notes) == ("my.list", "list", Path("in"), ())
    assert data.eval["person"].isna().all()
    for name, file in zip(names, ("in/é.png", "in/b c.jpg", "other/a.jpg", "in/a.jpg", ".hidden"), strict=True):
        assert data.source(name).read_text() == file * 1000
    assert not Path("index").exists()


def test_a_photo_that_changes_changes_the_fingerprint_wherever_it_lies(tmp_path):
    lines = f"a.jpg\n{tmp_path}/other/a.jpg"
    before = read(lines).eval_fingerprint()
    assert read(lines).eval_fingerprint() == before
    Path("other/a.jpg").write_text("x")
    assert read(lines).eval_fingerprint() != before


def test_each_photo_is_looked_at_once(monkeypatch):
    before = store.photo_fingerprint(Path("in"), ["a.jpg", "b c.jpg"], times=True)
    looked, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: looked.append(str(path)) or stat(path, **how))
    assert read("a.jpg\nb c.jpg").eval_fingerprint() == before
    assert [path for path in looked if path.endswith(".jpg")] == ["in/a.jpg", "in/b c.jpg"]


def test_a_photo_by_another_path_is_the_same(tmp_path):
    """Through links, and steps that lead out of the folder and back; hard links are files of their own."""
    os.symlink("../other", "in/link")
    os.symlink("a.jpg", "in/one.jpg")
    os.link("in/a.jpg", "in/hard.jpg")
    lines = ["hard.jpg", "a.jpg", "../in/a.jpg", "é.png", "link/a.jpg", f"{tmp_path}/in/link/a.jpg", "one.jpg"]
    assert sorted(refused("\n".join(lines)).splitlines()[1:]) == [
        "  line 3: the photo '../in/a.jpg' is the one in line 2 by another path; keep one",
        f"  line 6: the photo '{tmp_path}/in/link/a.jpg' already stands in line 5; keep one",
        "  line 7: the photo 'one.jpg' is the one in line 2 by another path; keep one",
    ]


def test_a_list_of_tars_is_to_be_a_pattern():
    write_tar(Path("in/x.tar"), ("a.jpg", b""))
    assert "line 2: the photo 'x.tar' is a tar; name tars by a pattern in place of the list" in refused("a.jpg\nx.tar")


def test_the_same_bytes_are_found_under_relative_and_absolute_names(tmp_path):
    Path("other/a.jpg").write_bytes(Path("in/a.jpg").read_bytes())
    away = str(tmp_path / "other/a.jpg")
    assert find_duplicates(read(f"a.jpg\nb c.jpg\n{away}")).harmless == [[away, "a.jpg"]]


def test_every_line_that_cannot_be_is_told_with_its_number(tmp_path):
    Path("in/folder").mkdir()
    os.mkfifo("in/pipe.jpg")
    lines = ["a.jpg", "", "./a.jpg", str(tmp_path / "in/a.jpg"), "gone.jpg", "folder", "pipe.jpg", "A.JPG", "in\\x"]
    content = "\n".join(lines).encode() + b"\n\xff.jpg\n\n" + b"a.jpg".ljust(500) + b"\na\0.jpg\na.jpg/x"
    told = refused(content).splitlines()
    assert told[0] == "The list 'in/list.txt' cannot be used; mend these 11 problems and run again:"
    assert told[1:] == [
        "  line 3: the photo './a.jpg' already stands in line 1; keep one",
        f"  line 4: the photo '{tmp_path}/in/a.jpg' already stands in line 1; keep one",
        "  line 5: the photo 'gone.jpg' is not on disk; mend or remove the line",
        "  line 6: the photo 'folder' is a folder; list the photos in it",
        "  line 7: the photo 'pipe.jpg' is not a file",
        "  line 8: the photo 'A.JPG' is not there, but 'a.jpg' is, and differs only in capital letters; write both "
        "alike",
        "  line 9: the photo 'in\\\\x' is not on disk; mend or remove the line",
        "  line 10 is not UTF-8; write the list in UTF-8",
        f"  line 12: the photo {'a.jpg'.ljust(500)!r} cannot be read (File name too long)",
        "  line 13: the photo 'a\\x00.jpg' is no path",
        "  and 1 more",
    ]


def test_a_name_in_another_spelling_of_its_letters_is_told(tmp_path):
    Path("in/e\u0301.jpg").touch()
    told = refused("\u00e9.jpg\n..\\other\\a.jpg")
    assert "line 1: the photo '\u00e9.jpg' is not there, but 'e\u0301.jpg' is; write it so" in told


def test_a_list_of_nothing():
    for content in ("", "\n \r\n", b"\xef\xbb\xbf"):
        assert refused(content).endswith("it lists no photos; write a path on each line.")


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (photo(), "it is a photo; name its folder, or label it alone with face18 label"),
        (
            gzip.compress(b"a", mtime=0),
            "it is a gzip file; a tar that is packed cannot be read at any place; unpack it into a",
        ),
        (b"PK\x03\x04" + bytes(99), "it is a zip archive; unpack it and name the folder"),
        ("a.jpg".encode("utf-16"), "it is text in UTF-16; write it in UTF-8"),
        (b"%PDF-1.7", "it is a PDF; name a text file with the path of a photo on each line"),
        (b"\x01\x00\x05" * 200, "it is no text; name a text file"),
    ],
)
def test_a_file_that_is_no_list(content, told):
    assert refused(content).startswith(f"The list 'in/list.txt' cannot be used: {told}")


@pytest.mark.parametrize("name", ["MZ.jpg", "BZh", "P1 2 .jpg", "ID3/x.jpg", "GIF89a"])
def test_a_name_that_a_file_of_another_kind_begins_with_is_a_name(name):
    Path("in", name).parent.mkdir(exist_ok=True)
    Path("in", name).touch()
    assert read(f"{name}\na.jpg").eval["photo"].tolist() == [name, "a.jpg"]


def test_a_list_in_latin_1_is_told_by_its_lines():
    assert refused(b"a.jpg\nin/\xe9.png") == (
        "The list 'in/list.txt' cannot be used: line 2 is not UTF-8; write the list in UTF-8."
    )


def test_a_tar_under_another_name():
    tar = write_tar(Path("in/x.tar"), ("a.jpg", b"")).read_bytes()
    assert "it is a tar; give it a name that ends in .tar" in refused(tar)


def test_what_is_neither_folder_nor_file_and_what_is_not_there():
    os.mkfifo("pipe")
    with pytest.raises(UserError, match=r"^'pipe' is neither a folder of photos nor a file; name one of them\.$"):
        read_eval(Path("pipe"), False, Path("index"))
    for name in ("nowhere", "guests.txt", "no.tar"):
        with pytest.raises(UserError, match=f"^'{name}' cannot be used: there is no such folder, list or tar; correct"):
            read_eval(Path(name), False, Path("index"))


def test_a_folder_of_tars_points_to_them():
    write_tar(Path("deep/s/a.tar"), ("a.jpg", b""))
    with pytest.raises(UserError, match=r'it holds no photos \(.*\); EVAL="deep/s/\*\.tar" labels the photos in its'):
        read_eval(Path("deep"), False, Path("index"))
    write_tar(Path("deep/t/a.tar"), ("a.jpg", b""))
    with pytest.raises(UserError, match=r'EVAL="deep/\*\*/\*\.tar" labels the photos in its tars'):
        read_eval(Path("deep"), False, Path("index"))
    assert len(read_eval(Path("deep/**/*.tar"), False, Path("index")).eval) == 2
