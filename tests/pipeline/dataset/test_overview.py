"""What was read, counted and told."""

import os
from pathlib import Path

import pytest
from small_data import GENERAL, contest, general, key, touch, write_csv

from pipeline.dataset.duplicates import Duplicates, find_duplicates
from pipeline.dataset.overview import absent_labels, overview_of
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.record import record_overview
from pipeline.dataset.report import overview_lines, warnings_of
from pipeline.runtime import store

FACES = Path(__file__).parents[3] / "../shared/faces"


def table(root, rows):
    """A data set of train photos: (person, mask, gender, age)."""
    named = [(f"{i}.jpg", *row, "train") for i, row in enumerate(rows)]
    write_csv(root / "photos.csv", [GENERAL, *named])
    touch(*(root / row[0] for row in named))
    return read_data_set(root)


def seen(data, bad=None, duplicates=None):
    return overview_of(data, duplicates or Duplicates(), bad or {})


def people(masks=("worn", "wrong", "none"), genders=("male", "female"), ages=(22, 45, 61)):
    return [(f"{g}{a}", m, g, a) for g in genders for a in ages for m in masks]


def test_the_contest(tmp_path):
    overview = seen(read_data_set(contest(tmp_path)))
    train = overview.train
    assert (train.people, train.photos, train.boxed) == (2, 14, 0)
    assert train.genders == {"male": 1, "female": 1}
    assert train.ages == {"least": 25, "median": 42.5, "most": 60}
    assert train.bands == {"under 30": 1, "30 to 59": 0, "60 and over": 1}
    assert train.masks == {"worn": 10, "wrong": 2, "none": 2}
    assert (overview.eval.photos, overview.eval.people) == (2, None)
    assert overview.missing == ("age 30 to 59",)
    assert len(overview.absent) == 12


def test_blanks_are_unknown(tmp_path):
    overview = seen(read_data_set(general(tmp_path)))
    assert overview.train.masks == {"worn": 1, "wrong": 1, "none": 1, "unknown": 1}
    assert overview.train.bands == {"under 30": 0, "30 to 59": 0, "60 and over": 1, "unknown": 1}
    assert overview.eval.people == 1


def test_a_person_counts_in_each_of_his_bands(tmp_path):
    overview = seen(table(tmp_path, [("a", "none", "male", age) for age in (20, 20, 34, 61)]))
    assert overview.train.people == 1
    assert overview.train.bands == {"under 30": 1, "30 to 59": 1, "60 and over": 1}
    assert overview.train.ages == {"least": 20, "median": 34, "most": 61}


@pytest.mark.parametrize(
    ("rows", "missing", "absent"),
    [
        (people(), [], 0),
        (people(masks=("none",)), ["mask worn", "mask wrong"], 12),
        (people(masks=("worn", "wrong")), ["mask none"], 6),
        (people(genders=("male",)), ["gender female"], 9),
        (people(ages=(22, 35)), ["age 60 and over"], 6),
        (people(ages=(30, 61)), ["age under 30"], 6),
        (people(ages=(22, 61)), ["age 30 to 59"], 6),
        (people()[1:], [], 1),
    ],
)
def test_labels_without_train_photos_are_told_and_warned_of(tmp_path, rows, missing, absent):
    overview = seen(table(tmp_path, rows))
    assert list(overview.missing) == missing
    assert len(overview.absent) == absent
    lines = overview_lines(overview, None)
    assert any(line.startswith(f"labels that no train photo carries: {absent} of 18") for line in lines)
    warnings = warnings_of(overview)
    assert len(warnings) == len(missing)
    assert all(value in warning for value, warning in zip(missing, warnings, strict=True))


def test_photos_with_few_labels_carry_none_of_the_18(tmp_path):
    data = table(tmp_path, [("a", "worn", "", ""), ("b", "", "male", 20), ("c", "worn", "male", 20)])
    assert len(absent_labels(data.train)) == 17
    assert seen(data).train.masks["worn"] == 2


def test_boxes_left_out_bad_photos_and_duplicates_are_counted(tmp_path):
    root = contest(tmp_path / "data")
    write_csv(root / "boxes.csv", [("photo", "box_x", "box_y", "box_w", "box_h"), ("eval/images/b.jpg", 1, 1, 9, 9)])
    touch(root / "eval/images/extra.jpg", root / "eval/images/notes.txt", root / "eval/images/.DS_Store")
    data = read_data_set(root)
    (root / "eval/images/b.jpg").write_bytes(b"photo")
    (root / "eval/images/a.png").write_bytes(b"photo")
    overview = seen(data, {"train/x.jpg": "it is no photo"}, find_duplicates(data))
    assert (overview.eval.boxed, overview.train.boxed) == (1, 0)
    assert overview.duplicates == 1
    assert overview.system_files == 1
    place = tmp_path / "run"
    path = record_overview(place, overview)
    assert store.read_csv(path).to_dict("list") == {
        "photo": ["eval/images/extra.jpg", "eval/images/notes.txt", "train/x.jpg"],
        "reason": ["photos that are not in eval/info.csv", "not photos", "it is no photo"],
    }
    lines = "\n".join(overview_lines(overview, path))
    assert f"files and photos left out: 3; they are listed in {path}; system files: 1" in lines
    assert "photos that are there twice: 1" in lines
    kept = store.read_json(place / "dataset.json")
    assert (kept["left_out"], kept["duplicates"], kept["eval"]["photos"]) == (3, 1, 2)
    assert record_overview(place, seen(read_data_set(contest(tmp_path / "other")))) is None
    assert not path.exists()


def test_a_bad_train_photo_is_left_out_and_not_counted(tmp_path):
    rows = people()
    overview = seen(table(tmp_path, rows), {"0.jpg": "it is no photo"})
    assert (overview.train.photos, overview.train.people) == (len(rows) - 1, 6)
    assert overview.train.masks["worn"] == 5
    assert overview.absent == ("worn, male, under 30",)
    assert overview.left_out == {"0.jpg": "it is no photo"}


@pytest.mark.parametrize("name", [b"caf\xe9.txt", b"\xed\xa0\x80.jpg", b"\xff", b"line\nend \xe9"])
def test_names_that_are_no_utf_8_are_listed_with_their_bytes_spelled_out(tmp_path, name):
    root = contest(tmp_path / "data")
    path = os.fsencode(root / "eval/images") + b"/" + name
    try:
        with open(path, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    overview = seen(read_data_set(root))
    assert len(overview.left_out) == 1
    (told,) = store.read_csv(record_overview(tmp_path / "run", overview))["photo"]
    assert told == "eval/images/" + os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
    assert told.isascii()


def test_a_folder_has_a_table_of_its_own(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "b.txt")
    overview = seen(read_folder(tmp_path))
    assert (overview.absent, overview.missing, warnings_of(overview)) == ((), (), [])
    lines = overview_lines(overview, None)
    assert [line.split() for line in lines[:2]] == [["people", "unknown"], ["photos", "1"]]
    assert not any("label" in line or "train" in line for line in lines)


def test_the_truth_stays_shut(tmp_path):
    root = key(contest(tmp_path / "contest"), ("a.png", 17, "eve", 60))
    (root / "key.csv").unlink()
    (root / "key.csv").mkdir()  # so that opening it would fail
    overview = seen(read_data_set(root))
    assert overview.eval.people is None
    assert overview.eval.genders is None
    root = general(tmp_path / "general")
    before = seen(read_data_set(root))
    text = (root / "photos.csv").read_text()
    (root / "photos.csv").write_text(
        text.replace("none,female,30,eval", "worn,male,64,eval").replace("worn,female,30,eval", "wrong,male,64,eval")
    )
    assert seen(read_data_set(root)) == before


def test_lines_stand_under_one_another(tmp_path):
    lines = overview_lines(seen(read_data_set(contest(tmp_path))), None)
    head, people_line, photos_line = lines[:3]
    assert head.rindex("train") + len("train") == people_line.index("2") + 1 == photos_line.index("14") + 2


@pytest.mark.skipif(not FACES.is_dir(), reason="needs ../shared/faces")
def test_faces():
    data = read_data_set(FACES)
    lines = overview_lines(seen(data, duplicates=find_duplicates(data)), None)
    told = {line.split("  ")[0]: line.split()[-2:] for line in lines[1:3]}
    assert told == {"people": ["357", "unknown"], "photos": ["2,499", "1,141"]}


def test_what_is_not_listed_and_not_looked_for_is_told(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "b.txt")
    data = read_folder(tmp_path)
    data.left_out.unlisted = 1234
    overview = overview_of(data, None, {})
    told = overview_lines(overview, Path("left_out.csv"))
    assert "files and photos left out: 1,235; 1 of them are listed in left_out.csv; system files: 0" in told
    assert "photos that are there twice: not looked for among more than 100,000" in told
    assert (overview.as_json()["left_out"], overview.as_json()["duplicates"]) == (1235, None)
