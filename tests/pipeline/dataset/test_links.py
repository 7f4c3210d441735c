"""Links in a data set, and paths in its tables: nothing outside is read unless the user follows links."""

import os
from pathlib import Path

import pytest
from small_data import GENERAL, change, contest, general, key, touch, write_csv

from models.errors import UserError
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.truth import read_truth

PERSON = "train/images/000001_female_Asian_25"
BOXES = [("photo", "box_x", "box_y", "box_w", "box_h")]


def boxed(root: Path) -> Path:
    write_csv(root / "boxes.csv", BOXES)
    return root


def folder(root: Path) -> Path:
    touch(root / "a.jpg", root / "in/b.jpg")
    return root


def known(root: Path) -> Path:
    return key(contest(root), ("a.png", 17), ("b.jpg", 3), header=("ImageID", "ans"))


def move_out(root: Path, path: str) -> None:
    """Put something outside, and a link to it in its place."""
    outside = root.parent / "outside"
    outside.mkdir(exist_ok=True)
    (root / path).rename(outside / os.path.basename(path))
    (root / path).symlink_to(outside / os.path.basename(path))


@pytest.mark.parametrize(
    ("make", "path", "read"),
    [
        (contest, f"{PERSON}/normal.jpg", read_data_set),
        (contest, PERSON, read_data_set),
        (contest, "train/images", read_data_set),
        (contest, "train/train.csv", read_data_set),
        (contest, "train", read_data_set),
        (contest, "eval/images/b.jpg", read_data_set),
        (contest, "eval/images", read_data_set),
        (contest, "eval/info.csv", read_data_set),
        (contest, "eval", read_data_set),
        (lambda root: boxed(contest(root)), "boxes.csv", read_data_set),
        (known, "key.csv", read_truth),
        (known, "eval/info.csv", read_truth),
        (general, "photos.csv", read_data_set),
        (general, "photos.csv", read_truth),
        (general, "in", read_data_set),
        (general, "in/a.jpg", read_data_set),
        (general, "new/c.jpg", read_truth),
        (folder, "a.jpg", read_folder),
        (folder, "in", read_folder),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_link_that_leaves_is_refused_unless_links_are_followed(tmp_path, make, path, read):
    root = make(tmp_path / "data")
    before = read(root)
    move_out(root, path)
    with pytest.raises(UserError) as error:
        read(root)
    (told,) = str(error.value).splitlines()
    outside = tmp_path / "outside" / os.path.basename(path)
    assert f"'{path}' is a link that leaves the data set (to '{outside}')" in told
    assert told.endswith("or allow such links with --follow-links.")
    after = read(root, follow_links=True)
    if read is read_truth:
        assert after.equals(before)
    else:
        assert after.train.equals(before.train)
        assert after.eval.equals(before.eval)


@pytest.mark.parametrize("follow", [False, True])
def test_links_inside_are_fine_and_so_is_a_data_set_that_is_one(tmp_path, follow):
    root = contest(tmp_path / "data")
    expected = read_data_set(root)
    for path, hidden in ((PERSON, ".one"), ("eval/images/b.jpg", ".b"), ("train/train.csv", "labels")):
        (root / path).rename(root / hidden)
        (root / path).symlink_to(os.path.relpath(root / hidden, (root / path).parent))
    (tmp_path / "linked").symlink_to(root)
    data = read_data_set(tmp_path / "linked", follow_links=follow)
    assert data.train.equals(expected.train)
    assert data.eval.equals(expected.eval)


def test_a_folder_beside_that_begins_alike_is_outside(tmp_path):
    root = folder(tmp_path / "data")
    touch(tmp_path / "data2/c.jpg")
    (root / "c.jpg").symlink_to("../data2/c.jpg")
    with pytest.raises(UserError, match=r"'c\.jpg' is a link that leaves the data set \(to '.*/data2/c\.jpg'\)"):
        read_folder(root)


def test_a_link_over_a_link_inside_is_found(tmp_path):
    root = folder(tmp_path / "data")
    touch(tmp_path / "c.jpg")
    (root / "out").symlink_to("..")
    (root / "c.jpg").symlink_to("out/c.jpg")
    with pytest.raises(UserError) as error:
        read_folder(root)
    assert "'c.jpg' is a link that leaves" in str(error.value)
    assert "'out' is a link that leaves" in str(error.value)


def test_a_link_that_nothing_reads_does_not_matter(tmp_path):
    root, outside = folder(tmp_path / "data"), tmp_path / "notes.txt"
    outside.touch()
    for name in ("notes.txt", ".hidden.jpg"):
        (root / name).symlink_to(outside)
    data = read_folder(root)
    assert list(data.eval["photo"]) == ["a.jpg", "in/b.jpg"]
    assert "not photos, not used (1): 'notes.txt'" in data.notes


def test_ten_links_then_a_count_and_a_folder_counts_once(tmp_path):
    root = folder(tmp_path / "data")
    touch(*(tmp_path / f"outside/{number:02}.jpg" for number in range(12)))
    for number in range(12):
        (root / f"{number:02}.jpg").symlink_to(tmp_path / f"outside/{number:02}.jpg")
    (root / "all").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError) as error:
        read_folder(root)
    first, *rest = str(error.value).splitlines()
    assert "13 problems" in first
    assert len(rest) == 11
    assert rest[-1] == "  and 3 more"


def test_a_followed_circle_ends_and_counts_each_photo_once(tmp_path):
    root = folder(tmp_path / "data")
    touch(tmp_path / "outside/c.jpg")
    (root / "outside").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/again").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/back").symlink_to(root)
    data = read_folder(root, follow_links=True)
    assert list(data.eval["photo"]) == ["a.jpg", "in/b.jpg", "outside/c.jpg"]


OUTSIDE = ("../x.jpg", "in/../../x.jpg", "/x.jpg", "C:\\x.jpg", "..", "a/" * 3000 + "x.jpg")


@pytest.mark.parametrize("path", OUTSIDE, ids=range(len(OUTSIDE)))
def test_no_table_reaches_outside(tmp_path, path):
    """In every column of paths: train.csv, info.csv, photos.csv, boxes.csv, key.csv and fixes."""
    touch(tmp_path / "x.jpg", tmp_path / "data/in/b.jpg")

    def refused(read, *arguments):
        with pytest.raises(UserError) as error:
            read(*arguments)
        assert repr(path) in str(error.value)

    root = contest(tmp_path / "train")
    change(root / "train/train.csv", "Asian,25,000001_female_Asian_25", f"Asian,25,{path}")
    refused(read_data_set, root)
    root = contest(tmp_path / "eval")
    change(root / "eval/info.csv", "b.jpg", path)
    if path.startswith("a/"):  # inside, but not there
        assert f"'eval/images/{path}'" in "".join(read_data_set(root).notes)
    else:
        refused(read_data_set, root)
    root = boxed(contest(tmp_path / "boxes"))
    write_csv(root / "boxes.csv", [*BOXES, (path, 1, 1, 9, 9)])
    refused(read_data_set, root)
    root = known(tmp_path / "key")
    write_csv(root / "key.csv", [("ImageID", "ans"), (path, 1), ("a.png", 17), ("b.jpg", 3)])
    refused(read_truth, root)
    root = contest(tmp_path / "fixes")
    write_csv(tmp_path / "fixes.csv", [("key", "column", "value"), (path, "age", 3)])
    refused(read_data_set, root, tmp_path / "fixes.csv")
    root = general(tmp_path / "general")
    write_csv(root / "photos.csv", [GENERAL, (path, "bo", "", "", "", "train")])
    refused(read_data_set, root)
    root = general(tmp_path / "general eval")
    change(root / "photos.csv", "new/c.jpg", path)
    refused(read_data_set, root)


def test_a_table_reaches_outside_over_no_link_either(tmp_path):
    root = general(tmp_path / "data")
    touch(tmp_path / "outside/x.jpg")
    (root / "away").symlink_to(tmp_path / "outside")
    change(root / "photos.csv", "new/c.jpg", "away/x.jpg")
    with pytest.raises(UserError, match="'away' is a link that leaves the data set"):
        read_data_set(root)
    assert "away/x.jpg" in set(read_data_set(root, follow_links=True).eval["photo"])
