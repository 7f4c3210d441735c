"""Broken data sets: each way to break one gets its sentence, and nothing is written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import GENERAL, change, contest, general, key, touch, unchanged, write_csv

from models.errors import UserError
from pipeline.dataset.names import path_fault
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.tables import parse_label, says_nothing
from pipeline.dataset.truth import read_truth

TRAIN, INFO, PHOTOS = "train/train.csv", "eval/info.csv", "photos.csv"
ANN = "in/a.jpg,ann,none,female,,train"


def edit(file: str, old: str, new: str):
    return lambda root: change(root / file, old, new)


def replace(file: str, content: bytes):
    return lambda root: (root / file).write_bytes(content)


def remove(path: str):
    return lambda root: (root / path).rename(root.parent / "away")


def add(file: str, line: str):
    return lambda root: (root / file).write_text((root / file).read_text() + line + "\n")


def folder_instead(file: str):
    return lambda root: ((root / file).unlink(), (root / file).mkdir())


def boxes(*rows: tuple, header=("photo", "box_x", "box_y", "box_w", "box_h")):
    return lambda root: write_csv(root / "boxes.csv", [header, *rows])


def box_columns(names: str, values: str):
    def change_all(root: Path) -> None:
        head, *lines = (root / PHOTOS).read_text().split()
        (root / PHOTOS).write_text("\n".join([f"{head},{names}", *(f"{line},{values}" for line in lines)]))

    return change_all


BROKEN = {
    # the contest's layout
    "train.csv missing": (contest, remove(TRAIN), "train/train.csv is missing"),
    "train missing": (contest, remove("train"), "neither train/train.csv nor photos.csv"),
    "train images missing": (contest, remove("train/images"), "the folder train/images is missing"),
    "train.csv is a folder": (
        contest,
        folder_instead(TRAIN),
        "train/train.csv is a folder; a CSV table is expected",
    ),
    "eval photos named without their endings": (
        contest,
        replace(INFO, b"ImageID,ans\nb,0\na,0\n"),
        "none of the photos that eval/info.csv lists is in eval/images, which holds others, like 'eval/images/a.png'; "
        "write their names into ImageID as they are there, endings and all",
    ),
    "train.csv is empty": (
        contest,
        replace(TRAIN, b""),
        "train/train.csv is empty; it needs the columns gender, age",
    ),
    "train.csv is blank": (contest, replace(TRAIN, b"\xef\xbb\xbf\n,,\n"), "train/train.csv is empty"),
    "not UTF-8": (contest, replace(TRAIN, b"id\nZo\xeb\n"), "train/train.csv line 2 is not UTF-8 text; save"),
    "UTF-16": (contest, replace(TRAIN, "id,path".encode("utf-16")), "line 1 is not UTF-8 text"),
    "NUL byte": (contest, edit(TRAIN, "female,", "fem\0ale,"), "train/train.csv line 2 holds a NUL byte"),
    "quote left open": (
        contest,
        edit(TRAIN, "000002,", '"000002,'),
        "train/train.csv line 3 is not readable as CSV",
    ),
    "semicolons": (contest, replace(TRAIN, b"id;gender;age;path\n"), "separate the cells with commas"),
    "no path column": (contest, edit(TRAIN, "path", "folder"), "train/train.csv lacks the column path"),
    "no two columns": (
        contest,
        edit(TRAIN, "gender,race,age", "x,y,z"),
        "lacks the columns gender, age in its first row",
    ),
    "a column twice": (contest, edit(TRAIN, "race", "age"), "train/train.csv names the column age twice"),
    "too few cells": (
        contest,
        add(TRAIN, "000003,male"),
        "train/train.csv row 4 has 2 cells, but the header has 5",
    ),
    "too many cells": (contest, edit(TRAIN, "Asian,25", "Asian,2,5"), "train/train.csv row 2 has 6 cells"),
    "age in words": (
        contest,
        edit(TRAIN, "Asian,25", "Asian,old"),
        "row 2: age 'old' is not a number; write years",
    ),
    "age too high": (contest, edit(TRAIN, "Asian,25", "Asian,120.5"), "row 2: age 120.5 is impossible"),
    "age below zero": (
        contest,
        edit(TRAIN, "Asian,60", "Asian,-1"),
        "train/train.csv row 3: age -1 is impossible",
    ),
    "unknown gender": (
        contest,
        edit(TRAIN, "2,male,", "2,man,"),
        "row 3: gender 'man' is none of male, female",
    ),
    "gender number": (
        contest,
        edit(TRAIN, "2,male,", "2,2,"),
        "row 3: gender '2' is none of male, female (or 0 to 1)",
    ),
    "row without folder": (
        contest,
        remove("train/images/000002_male_Asian_60"),
        "train/train.csv row 3: there is no folder 'train/images/000002_male_Asian_60'",
    ),
    "folder without row": (
        contest,
        lambda root: (root / "train/images/who\x1b").mkdir(),
        "the folder 'train/images/who\\x1b' has no row in train/train.csv",
    ),
    "row twice": (
        contest,
        add(TRAIN, "000001,female,Asian,25,000001_female_Asian_25"),
        "train/train.csv row 4: '000001_female_Asian_25' already stands in row 2",
    ),
    "row without person": (
        contest,
        add(TRAIN, "000003,male,Asian,3, "),
        "row 4 has no person: path is blank",
    ),
    "path leaves": (
        contest,
        add(TRAIN, "3,male,x,3,../../etc"),
        "row 4: path '../../etc' leaves the data set",
    ),
    "path is the folder": (contest, add(TRAIN, "3,male,x,3,."), "row 4: path '.' is not plain"),
    "path absolute": (contest, add(TRAIN, "3,male,x,3,/etc"), "row 4: path '/etc' is absolute"),
    "path too deep": (
        contest,
        add(TRAIN, "3,male,x,3,a/b"),
        "path 'a/b' is not the name of a folder directly in",
    ),
    "no train rows": (
        contest,
        lambda root: (
            [folder.rename(root.parent / folder.name) for folder in (root / "train/images").iterdir()],
            (root / TRAIN).write_text("id,gender,race,age,path\n"),
        ),
        "train/train.csv has no rows",
    ),
    "no photo at all": (
        contest,
        lambda root: [photo.unlink() for photo in (root / "train/images").rglob("*.jpg")],
        "train/images holds no photo; name them mask1",
    ),
    "info.csv missing": (
        contest,
        remove(INFO),
        "eval/info.csv is missing; list the eval photos in it, or take",
    ),
    "eval images missing": (contest, remove("eval/images"), "the folder 'eval/images/' is missing"),
    "info.csv without ImageID": (
        contest,
        edit(INFO, "ImageID", "id"),
        "eval/info.csv lacks the column ImageID",
    ),
    "info.csv without ans": (contest, edit(INFO, ",ans", ",x"), "eval/info.csv lacks the column ans"),
    "info.csv without rows": (contest, replace(INFO, b"ImageID,ans\n"), "eval/info.csv has no rows"),
    "eval photo twice": (
        contest,
        add(INFO, "b.jpg,0"),
        "eval/info.csv row 4: the photo 'b.jpg' already stands in row 2",
    ),
    "eval photo leaves": (
        contest,
        add(INFO, "x/../../b.jpg,0"),
        "row 4: ImageID 'x/../../b.jpg' leaves the data set",
    ),
    "eval photo blank": (contest, add(INFO, ",0"), "eval/info.csv row 4: ImageID '' is blank"),
    "both layouts": (
        contest,
        lambda root: write_csv(root / PHOTOS, [GENERAL]),
        "both photos.csv and train/train.csv",
    ),
    # boxes
    "box of nobody": (
        contest,
        boxes(("a.jpg", 1, 1, 1, 1)),
        "boxes.csv row 2: 'a.jpg' is no photo of the data set",
    ),
    "box without size": (
        contest,
        boxes(("eval/images/b.jpg", 1, 1, 0, 5)),
        "row 2: the box is 0 wide and 5 high",
    ),
    "box of negative size": (
        general,
        boxes(("in/a.jpg", 1, 1, 5, -5)),
        "row 2: the box is 5 wide and -5 high",
    ),
    "box in words": (
        contest,
        boxes(("eval/images/b.jpg", "x", 1, 1, 5)),
        "boxes.csv row 2: box_x 'x' is not a number",
    ),
    "box infinite": (
        contest,
        boxes(("eval/images/b.jpg", "1e999", 1, 1, 5)),
        "row 2: box_x '1e999' is not a number",
    ),
    "half a box": (
        contest,
        boxes(("eval/images/b.jpg", 1, 1, 1, "")),
        "row 2: box_h '' is not a number; a box needs all",
    ),
    "box twice": (
        contest,
        boxes(*[("eval/images/b.jpg", 1, 1, 9, 9)] * 2),
        "row 3: the photo 'eval/images/b.jpg' already",
    ),
    "boxes without height": (
        contest,
        boxes(header=("photo", "box_x", "box_y", "box_w")),
        "boxes.csv lacks the column box_h",
    ),
    "some box columns": (
        general,
        box_columns("box_x,box_y", "1,2"),
        "photos.csv has the column box_x, but a box needs all",
    ),
    # the general layout
    "photos.csv is a folder": (general, folder_instead(PHOTOS), "photos.csv is a folder"),
    "no part column": (general, edit(PHOTOS, ",part", ",x"), "photos.csv lacks the column part"),
    "no age column": (general, edit(PHOTOS, "age", "years"), "photos.csv lacks the column age"),
    "unknown part": (
        general,
        edit(PHOTOS, ANN, ANN[:-5] + "test"),
        "row 4: part 'test' is neither train nor eval",
    ),
    "train row without person": (
        general,
        edit(PHOTOS, ANN, ANN.replace("ann", " ")),
        "photos.csv row 4 is a train row without person",
    ),
    "photo not on disk": (
        general,
        remove("in/a.jpg"),
        "photos.csv row 4: the photo 'in/a.jpg' is not on disk",
    ),
    "photo is a folder": (
        general,
        folder_instead("in/a.jpg"),
        "row 4: the photo 'in/a.jpg' is a folder, not a photo",
    ),
    "photo leaves": (
        general,
        edit(PHOTOS, "in/a.jpg", "in/../../a.jpg"),
        "row 4: photo 'in/../../a.jpg' leaves the data",
    ),
    "photo absolute": (
        general,
        edit(PHOTOS, "in/a.jpg", "/in/a.jpg"),
        "row 4: photo '/in/a.jpg' is absolute",
    ),
    "photo on a drive": (
        general,
        edit(PHOTOS, "in/a.jpg", "C:\\a.jpg"),
        "row 4: photo 'C:\\\\a.jpg' is absolute",
    ),
    "photo not plain": (
        general,
        edit(PHOTOS, "in/a.jpg", "./in/a.jpg"),
        "row 4: photo './in/a.jpg' is not plain",
    ),
    "photo blank": (general, edit(PHOTOS, "in/a.jpg", ""), "photos.csv row 4: photo '' is blank"),
    "photo twice": (
        general,
        edit(PHOTOS, "in/a2.jpg", "in/a.jpg"),
        "row 5: the photo 'in/a.jpg' already stands in row 4",
    ),
    "unknown mask": (
        general,
        edit(PHOTOS, "ann,none", "ann,off"),
        "row 4: mask 'off' is none of worn, wrong, none",
    ),
    "half a mask": (general, edit(PHOTOS, "ann,none", "ann,0.5"), "row 4: mask '0.5' is none of"),
    "person in both parts": (
        general,
        edit(PHOTOS, "a2.jpg,ann,,,,train", "a2.jpg,ann,,,,eval"),
        "photos.csv row 5: the part of 'ann' is eval, but train in row 4; a person is in train or in eval",
    ),
    "person of two genders": (
        general,
        edit(PHOTOS, "bo,1,0", "bo,1,1"),
        "photos.csv row 3: the gender of 'bo' is female, but male in row 2; a person has one gender",
    ),
    "no train row": (
        general,
        lambda root: (root / PHOTOS).write_text(",".join(GENERAL) + "\nnew/c.jpg,,,,,eval\n"),
        "photos.csv has no train row; for predictions alone give the folder as EVAL",
    ),
    "photos.csv without rows": (
        general,
        replace(PHOTOS, ",".join(GENERAL).encode()),
        "photos.csv has no train row",
    ),
    "impossible eval label": (
        general,
        edit(PHOTOS, "none,female,30", "none,female,300"),
        "row 6: age 300 is impossible",
    ),
    "not a data set": (
        lambda root: root,
        lambda root: touch(root / "a.jpg"),
        "neither train/train.csv nor photos.csv",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(tmp_path, name):
    make, harm, says = BROKEN[name]
    root = make(tmp_path / "data")
    root.mkdir(exist_ok=True)
    harm(root)
    before = unchanged(root)
    with pytest.raises(UserError) as error:
        read_data_set(root)
    message = str(error.value)
    assert unchanged(root) == before
    assert says in message
    assert message.startswith(f"The data set '{root}' cannot be used: ")
    assert message.endswith(".")
    assert "\n" not in message, "one thing was broken, so one sentence tells it"


@pytest.mark.parametrize("read", [read_data_set, read_folder, read_truth])
def test_a_folder_that_is_none(tmp_path, read):
    touch(tmp_path / "file")
    with pytest.raises(UserError, match="there is no such folder; name the folder"):
        read(tmp_path / "away")
    with pytest.raises(UserError, match="it is not a folder"):
        read(tmp_path / "file")


def test_a_folder_without_photos(tmp_path):
    touch(tmp_path / "a.txt", tmp_path / ".a.jpg")
    with pytest.raises(UserError, match=r"^The folder '.*' cannot be used: it holds no photos"):
        read_folder(tmp_path)


def test_a_photo_whose_name_no_table_can_hold(tmp_path):
    try:
        touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")))
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(UserError, match=r"the name of '\\udcff.jpg' is not UTF-8") as error:
        read_folder(tmp_path)
    str(error.value).encode()


@pytest.mark.parametrize("name", ["train/train.csv", "eval/info.csv"])
def test_a_table_that_may_not_be_read(tmp_path, monkeypatch, name):
    root, read = contest(tmp_path), Path.read_bytes

    def refuse(path):
        if path == root / name:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)  # chmod stops nobody who is root
    with pytest.raises(UserError, match=rf"{name} cannot be read \(Permission denied\); check its permissions"):
        read_data_set(root)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    root, scan = contest(tmp_path), os.scandir
    name = "train/images/000002_male_Asian_60"

    def refuse(path):
        if Path(path) == root / name:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=rf"the folder '{name}' cannot be read \(Permission denied\)"):
        read_data_set(root)


def test_a_pipe_in_place_of_a_table(tmp_path):
    root = contest(tmp_path)
    (root / TRAIN).unlink()
    os.mkfifo(root / TRAIN)
    with pytest.raises(UserError, match=r"train/train.csv is not a file"):
        read_data_set(root)


def test_all_problems_are_told_at_once(tmp_path):
    root = contest(tmp_path)
    change(root / TRAIN, "000001,female,Asian,25", "000001,woman,Asian,old")
    (root / INFO).unlink()
    (root / "train/images/who").mkdir()
    boxes(("eval/images/b.jpg", 1, 1, 0, 1))(root)
    with pytest.raises(UserError) as error:
        read_data_set(root)
    first, *rest = str(error.value).split("\n")
    assert first.endswith("cannot be used; mend these 5 problems and run again:")
    for says in (
        "row 2: gender 'woman'",
        "row 2: age 'old'",
        "images/who'",
        "eval/info.csv is missing",
        "boxes.csv row 2",
    ):
        assert sum(says in line for line in rest) == 1, says


def test_ten_problems_then_a_count(tmp_path):
    root = contest(tmp_path)
    for number in range(14):
        (root / f"train/images/{number:02}").mkdir()
    with pytest.raises(UserError) as error:
        read_data_set(root)
    first, *rest = str(error.value).split("\n")
    assert "14 problems" in first
    assert [line.split("'")[1] for line in rest[:-1]] == [f"train/images/{number:02}" for number in range(10)]
    assert rest[-1] == "  and 4 more"


A, B = ("a.png", 17, "eve", 60), ("b.jpg", 3, "eve", 20)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([A], "key.csv has no row for the photo 'b.jpg'; add it"),
        ([A, B, B], "key.csv row 4: the photo 'b.jpg' stands there twice"),
        ([A, B, ("c.jpg", 1, "", "")], "key.csv row 4: the photo 'c.jpg' is not in eval/info.csv"),
        ([A, ("b.jpg", 18, "", "")], "key.csv row 3: ans '18' is no label; write 0 to 17"),
        ([A, ("b.jpg", "", "", "")], "key.csv row 3: ans '' is no label"),
        ([A, ("b.jpg", 1.5, "", "")], "key.csv row 3: ans '1.5' is no label"),
        ([A, ("b.jpg", 3, "", "?")], "key.csv row 3: age '?' is not a number"),
        ([A, ("b.jpg", 3, "", 30)], "key.csv row 3: age 30 and ans 3 (under 30) differ"),
        ([A, ("b.jpg", 0, "eve", 20)], "key.csv row 3: 'eve' has another gender in a row above"),
        (
            [A, ("b.jpg", 3, "000001_female_Asian_25", 25)],
            "key.csv: '000001_female_Asian_25' is in train too",
        ),
        ([], "key.csv has no row for the photo"),
    ],
)
def test_broken_keys(tmp_path, rows, says):
    root = key(contest(tmp_path), *rows)
    with pytest.raises(UserError) as error:
        read_truth(root)
    assert says in str(error.value)
    assert str(error.value).startswith("The truth of ")
    assert ("\n" in str(error.value)) == (not rows)


def test_a_key_without_columns_or_eval_part(tmp_path):
    root = key(contest(tmp_path), header=("ImageID", "answer"))
    with pytest.raises(UserError, match=r"key\.csv lacks the column ans"):
        read_truth(root)
    (root / INFO).unlink()
    with pytest.raises(UserError, match=r"eval/info\.csv is missing"):
        read_truth(root)


def test_half_a_truth_in_photos_csv(tmp_path):
    root = general(tmp_path)
    change(root / PHOTOS, "di,worn,female,30", "di,worn,,")
    with pytest.raises(UserError, match=r"photos\.csv row 7: the eval photo lacks gender, age; label all eval photos"):
        read_truth(root)


# --- Cells ---


@given(st.text())
def test_any_cell_is_a_label_blank_or_a_sentence(text):
    for column, top in (("mask", 2), ("gender", 1), ("age", 120)):
        try:
            value = parse_label(column, text)
        except ValueError as error:
            value = str(error)
        if isinstance(value, str):
            assert value.startswith(column)
        else:
            assert value is None if says_nothing(column, text) else 0 <= value <= top


@given(st.text(alphabet="ab./ ", max_size=8))
def test_a_path_without_fault_stays_inside(path):
    if path_fault(path) is None:
        assert os.path.normpath(os.path.join("/data", path)) == f"/data/{path}"
