"""The same photo twice: found by size and bytes, told within a person, refused where it would leak."""

import os
import shutil

import pytest
from small_data import contest, general, touch

from models.errors import UserError
from pipeline.dataset import duplicates
from pipeline.dataset.duplicates import check_duplicates, find_duplicates, same_files
from pipeline.dataset.photos import read_data_set, read_folder

ONE, TWO = "train/images/000001_female_Asian_25", "train/images/000002_male_Asian_60"


def filled(root):
    """Every photo gets bytes of its own, all of one size."""
    for number, path in enumerate(sorted(root.rglob("*.jp*g"))):
        path.write_bytes(f"{number:06}".encode() * 5000)
    return root


def copy(root, one, other):
    shutil.copyfile(root / one, root / other)


def found(root):
    return find_duplicates(read_data_set(root))


def test_different_photos_of_one_size_are_none(tmp_path):
    assert found(filled(contest(tmp_path))).count() == 0


def test_within_a_person_they_are_told(tmp_path):
    root = filled(contest(tmp_path))
    copy(root, f"{ONE}/normal.jpg", f"{ONE}/mask1.jpg")
    copy(root, f"{ONE}/normal.jpg", f"{ONE}/mask2.jpg")
    twice = found(root)
    assert twice.harmless == [[f"{ONE}/mask1.jpg", f"{ONE}/mask2.jpg", f"{ONE}/normal.jpg"]]
    assert twice.leaking == []
    assert twice.count() == 2
    (note,) = check_duplicates(twice, "The data set", allowed=False)
    assert note == f"the same photo twice (1): '{ONE}/mask1.jpg' = '{ONE}/mask2.jpg' = '{ONE}/normal.jpg'"


@pytest.mark.parametrize(
    ("make", "one", "other", "what"),
    [
        (contest, f"{ONE}/normal.jpg", f"{TWO}/normal.jpg", "under two people"),
        (contest, f"{ONE}/normal.jpg", f"{TWO}/mask3.jpg", "under two people"),
        (general, "in/a.jpg", "in/b.jpg", "under two people"),
        (contest, f"{ONE}/mask1.jpg", "eval/images/b.jpg", "in train and in eval"),
        (general, "in/a.jpg", "new/c.jpg", "in train and in eval"),
    ],
)
def test_where_they_leak_they_are_refused_by_name_unless_allowed(tmp_path, make, one, other, what):
    root = filled(make(tmp_path))
    copy(root, one, other)
    twice = found(root)
    assert twice.leaking == [sorted([one, other])]
    with pytest.raises(UserError) as error:
        check_duplicates(twice, "The data set", allowed=False)
    message = str(error.value)
    assert message.count("\n") == 0
    assert all(f"'{photo}'" in message for photo in (one, other))
    assert f"({what})" in message
    assert "--allow-duplicates" in message
    (note,) = check_duplicates(twice, "The data set", allowed=True)
    assert "used as allowed (1): " in note


def test_a_link_is_the_same_photo(tmp_path):
    root = filled(general(tmp_path))
    (root / "new/c.jpg").unlink()
    (root / "new/c.jpg").symlink_to("../in/a.jpg")
    assert found(root).parts == [["in/a.jpg", "new/c.jpg"]]


def test_among_eval_photos_of_unknown_people_they_are_told(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg")
    filled(tmp_path)
    copy(tmp_path, "a.jpg", "c.jpg")
    assert find_duplicates(read_folder(tmp_path)).harmless == [["a.jpg", "c.jpg"]]


def test_empty_and_missing_files_are_no_photos(tmp_path):
    root = contest(tmp_path)
    (root / "eval/images/b.jpg").unlink()
    assert found(root).count() == 0


@pytest.mark.parametrize(
    "content",
    [b"<html>403</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", bytes(999), b"%PDF-1.7\n"],
)
def test_what_a_download_left_in_the_place_of_photos_is_no_photo_twice(tmp_path, content):
    """Decoding them tells what they are."""
    root = filled(contest(tmp_path))
    for photo in (f"{ONE}/normal.jpg", f"{TWO}/normal.jpg", "eval/images/b.jpg"):
        (root / photo).write_bytes(content)
    assert found(root).count() == 0


def test_only_files_of_equal_size_are_read(tmp_path, monkeypatch):
    names = [f"{size}.jpg" for size in range(1, 9)]
    for size, name in enumerate(names, 1):
        (tmp_path / name).write_bytes(b"x" * size)
    monkeypatch.setattr(duplicates, "_sample", None)
    monkeypatch.setattr(duplicates, "_digest", None)
    assert same_files(tmp_path, names) == []


@pytest.mark.parametrize("at", [0, 30_000, 59_999])
def test_one_byte_of_difference_is_another_photo(tmp_path, at):
    data = bytearray(os.urandom(60_000))
    (tmp_path / "a").write_bytes(data)
    data[at] ^= 1
    (tmp_path / "b").write_bytes(data)
    (tmp_path / "c").write_bytes(data)
    assert same_files(tmp_path, ["a", "b", "c"]) == [["b", "c"]]


def test_ten_are_named_and_the_rest_counted(tmp_path):
    twice = duplicates.Duplicates(people=[[f"a{i}", f"b{i}"] for i in range(13)])
    with pytest.raises(UserError) as error:
        check_duplicates(twice, "The data set", allowed=False)
    _, *lines = str(error.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "  and 3 more"
