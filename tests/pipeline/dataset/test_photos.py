"""Reading good data sets: the photo table, what is told, the submission and the truth."""

import csv
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_data import STEMS, change, contest, general, key, touch, unchanged, write_csv

from models.labels import encode
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.truth import read_truth

FACES = Path(__file__).parents[3] / "../shared/faces"


# --- Good data sets ---


def test_contest_gives_the_photo_table(tmp_path):
    root = contest(tmp_path / "My data")
    before = unchanged(root)
    data = read_data_set(root)
    assert unchanged(root) == before
    assert (data.root, data.name, data.notes) == (root, "My data", ())
    assert list(data.train) == ["photo", "person", "mask", "gender", "age"]
    dtypes = {"photo": "string", "person": "string", "mask": "Int64", "gender": "Int64", "age": "float64"}
    assert data.train.dtypes.astype(str).to_dict() == dtypes
    one, two = "000001_female_Asian_25", "000002_male_Asian_60"
    assert list(data.train["photo"]) == [f"train/images/{p}/{s}.jpg" for p in (one, two) for s in STEMS]
    assert list(data.train["person"]) == [one] * 7 + [two] * 7
    assert list(data.train["mask"]) == [1, 0, 0, 0, 0, 0, 2] * 2
    assert list(data.train["gender"]) == [1] * 7 + [0] * 7
    assert list(data.train["age"]) == [25.0] * 7 + [60.0] * 7
    assert list(data.eval) == ["photo", "person"]
    assert list(data.eval["photo"]) == ["eval/images/b.jpg", "eval/images/a.png"]
    assert data.eval["person"].isna().all()
    assert all(data.path(photo).is_file() for table in (data.train, data.eval) for photo in table["photo"])


def test_general_gives_the_same_table(tmp_path):
    root = general(tmp_path)
    before = unchanged(root)
    data = read_data_set(root)
    assert unchanged(root) == before
    assert list(data.train["photo"]) == ["in/a.jpg", "in/a2.jpg", "in/b.jpg", "in/b2.jpg"]
    assert data.train["mask"].tolist() == [2, pd.NA, 0, 1]
    assert data.train["gender"].tolist() == [1, pd.NA, 0, 0]
    assert np.array_equal(data.train["age"], [np.nan, np.nan, 61, 61], equal_nan=True)
    assert list(data.eval) == ["photo", "person"]
    assert list(data.eval["photo"]) == ["new/d.jpg", "new/c.jpg"]
    assert list(data.eval["person"]) == ["di", "di"]
    assert data.notes == (
        "train photos without mask (1): 'in/a2.jpg'",
        "train photos without gender (1): 'in/a2.jpg'",
        "train photos without age (2): 'in/a.jpg', 'in/a2.jpg'",
    )


def test_without_eval_part_there_are_no_eval_rows(tmp_path):
    root = contest(tmp_path)
    (root / "eval").rename(root.parent / f"{root.name}-away")
    data = read_data_set(root)
    assert len(data.train) == 14
    assert len(data.eval) == 0
    assert list(data.eval) == ["photo", "person"]


def test_odd_names_and_a_byte_order_mark_are_fine(tmp_path):
    name = 'Zoë, "the\n2nd" 김_x'
    root = contest(tmp_path)
    (root / "train/images/000002_male_Asian_60").rename(root / "train/images" / name)
    write_csv(
        root / "train/train.csv",
        [("path", "age", "gender"), (name, 3, "male"), ("000001_female_Asian_25", "", "")],
    )
    data = (root / "train/train.csv").read_bytes()
    (root / "train/train.csv").write_bytes(b"\xef\xbb\xbf" + data + b",,\r\n")
    table = read_data_set(root).train
    assert set(table["person"]) == {name, "000001_female_Asian_25"}
    assert table.loc[table["person"] == name, "age"].eq(3).all()


def test_one_id_token_may_stand_for_two_people(tmp_path):
    root = contest(tmp_path)
    (root / "train/images/000002_male_Asian_60").rename(root / "train/images/000001_male_Asian_60")
    change(
        root / "train/train.csv",
        "000002,male,Asian,60,000002_male_Asian_60",
        "000001,male,Asian,60,000001_male_Asian_60",
    )
    assert read_data_set(root).train["person"].nunique() == 2


def test_ages_above_100_train_as_100(tmp_path):
    root = contest(tmp_path)
    change(root / "train/train.csv", "Asian,60,000002_male_Asian_60", "Asian,120,000002_male_Asian_120")
    (root / "train/images/000002_male_Asian_60").rename(root / "train/images/000002_male_Asian_120")
    data = read_data_set(root)
    assert data.train["age"].max() == 100
    assert data.notes == ("ages of train/train.csv above 100 (up to 120), trained as 100 (1): 120",)


def test_what_is_told_but_not_fatal(tmp_path):
    root = contest(tmp_path)
    one, two = (root / "train/images" / name for name in ("000001_female_Asian_25", "000002_male_Asian_60"))
    touch(root / "train/images/.DS_Store", one / "._mask1.jpg", root / "eval/images/.hidden.jpg")
    touch(one / "mask1.JPEG", one / "portrait.jpg", one / "mask2.txt", root / "train/images/read me.txt")
    touch(root / "eval/images/extra.jpg", root / "eval/images/x.jpg/inner.jpg")
    (two / "normal.jpg").unlink()
    (two / "mask5.jpg").unlink()
    (two / "mask5.jpg").mkdir()
    (two / "mask4.jpg").unlink()
    (two / "mask4.jpg").symlink_to("mask4.jpg")
    (root / "eval/images/a.png").unlink()
    data = read_data_set(root)
    assert len(data.train) == 11
    assert f"{one.relative_to(root)}/mask1.JPEG" in set(data.train["photo"])  # the first of the two by name
    assert list(data.eval["photo"]) == ["eval/images/b.jpg", "eval/images/a.png"]
    notes = "\n".join(data.notes)
    assert "people with photos missing (1): '000002_male_Asian_60' lacks mask4 mask5 normal" in notes
    assert "none of a person's seven photos, not used (6): " in notes
    for name in ("mask1.jpg", "portrait.jpg", "mask2.txt"):
        assert f"'train/images/000001_female_Asian_25/{name}'" in notes
    assert "'train/images/000002_male_Asian_60/mask4.jpg', 'train/images/000002_male_Asian_60/mask5.jpg'" in notes
    assert "'train/images/read me.txt'" in notes
    assert "system files (.DS_Store, Thumbs.db, ._* and the like), not used: 2" in notes
    assert "hidden files and folders, not used (1): 'eval/images/.hidden.jpg'" in notes
    assert "photos of eval/info.csv that are not on disk (1): 'eval/images/a.png'" in notes
    extra = "(2): 'eval/images/extra.jpg', 'eval/images/x.jpg/inner.jpg'"
    assert f"photos that are not in eval/info.csv, not used {extra}" in notes


def test_notes_count_after_the_first_ten(tmp_path):
    root = contest(tmp_path)
    touch(*(root / f"train/images/.{i:02}" for i in range(13)))
    (note,) = read_data_set(root).notes
    assert note.startswith("hidden files and folders, not used (13): ")
    assert note.endswith("'train/images/.09' and 3 more")


@pytest.mark.parametrize("make", [contest, general])
def test_boxes_csv(tmp_path, make):
    root = make(tmp_path)
    photos = [*read_data_set(root).train["photo"], *read_data_set(root).eval["photo"]]
    rows = [(photos[0], -1.5, 2, 30, 40), (photos[-1], 0, 0, 10, 10), (photos[1], "", "", "", "")]
    write_csv(root / "boxes.csv", [("photo", "box_x", "box_y", "box_w", "box_h"), *rows])
    data = read_data_set(root)
    boxes = ["box_x", "box_y", "box_w", "box_h"]
    assert data.train.loc[0, boxes].tolist() == [-1.5, 2, 30, 40]
    assert data.train.loc[1:, boxes].isna().all(axis=None)
    assert data.eval.iloc[-1][boxes].tolist() == [0, 0, 10, 10]
    assert data.train["box_x"].dtype == data.eval["box_h"].dtype == np.float64


def test_boxes_in_photos_csv(tmp_path):
    root = general(tmp_path)
    table = pd.read_csv(root / "photos.csv", dtype=str)
    table.assign(box_x="1", box_y=["2"] * 5 + [""], box_w="3", box_h="4").iloc[:5].to_csv(
        root / "photos.csv", index=False
    )
    data = read_data_set(root)
    assert data.train[["box_x", "box_y", "box_w", "box_h"]].to_numpy().tolist() == [[1, 2, 3, 4]] * 4
    assert len(data.eval) == 1


def test_a_folder_of_photos(tmp_path):
    root = tmp_path / "new photos"
    names = ["B.JPG", "a/z.webp", "a/é 1.png", "c.jpg/d.jpeg"]
    touch(*(root / name for name in names), root / ".hidden.jpg", root / ".git/x.jpg", root / "notes.txt")
    before = unchanged(root)
    data = read_folder(root)
    assert unchanged(root) == before
    assert list(data.eval["photo"]) == names
    assert data.eval["person"].isna().all()
    assert len(data.train) == 0
    assert list(data.train) == ["photo", "person", "mask", "gender", "age"]
    assert data.notes == (
        "hidden files and folders, not used (2): '.git', '.hidden.jpg'",
        "not photos, not used (1): 'notes.txt'",
    )
    assert data.submission(pd.Series(range(4), index=names)).to_dict("list") == {
        "photo": names,
        "ans": [0, 1, 2, 3],
    }


def test_a_folder_linked_in_a_circle_ends(tmp_path):
    touch(tmp_path / "a.jpg")
    (tmp_path / "again").symlink_to(tmp_path)
    assert list(read_folder(tmp_path).eval["photo"]) == ["a.jpg"]


# --- The submission and the truth ---


def test_submission_is_the_contest_table_filled_in(tmp_path):
    data = read_data_set(contest(tmp_path))
    labels = pd.Series({"eval/images/a.png": 17, "eval/images/b.jpg": 4})
    assert data.submission(labels).to_csv(index=False) == "ImageID,ans\nb.jpg,4\na.png,17\n"


@pytest.mark.parametrize(
    "labels",
    [
        {"eval/images/a.png": 1},
        {"eval/images/a.png": 1, "eval/images/b.jpg": 1, "eval/images/c.jpg": 1},
        {"eval/images/a.png": 1, "eval/images/c.jpg": 1},
        {"eval/images/a.png": 1, "eval/images/b.jpg": 18},
        {"eval/images/a.png": 1, "eval/images/b.jpg": 1.5},
        {"eval/images/a.png": 1, "eval/images/b.jpg": np.nan},
        {"a.png": 1, "b.jpg": 1},
    ],
)
def test_a_submission_has_every_row_once(tmp_path, labels):
    data = read_data_set(contest(tmp_path))
    with pytest.raises(ValueError, match=r"photos? lack|whole numbers"):
        data.submission(pd.Series(labels))


def test_a_submission_refuses_two_labels_for_a_photo(tmp_path):
    data = read_data_set(contest(tmp_path))
    with pytest.raises(ValueError, match="two labels"):
        data.submission(pd.Series([1, 2, 3], index=["eval/images/a.png", "eval/images/b.jpg", "eval/images/a.png"]))


def test_truth_of_the_contest(tmp_path):
    root = contest(tmp_path)
    assert read_truth(root) is None
    truth = read_truth(key(root, ("a.png", 17, "eve", 60), ("b.jpg", 3, "", "")))
    assert list(truth) == ["photo", "person", "mask", "gender", "band", "age", "label"]
    assert truth["photo"].tolist() == ["eval/images/b.jpg", "eval/images/a.png"]
    assert truth["person"].tolist() == [pd.NA, "eve"]
    assert truth[["mask", "gender", "band", "label"]].to_numpy().tolist() == [[0, 1, 0, 3], [2, 1, 2, 17]]
    assert np.array_equal(truth["age"], [np.nan, 60], equal_nan=True)
    bare = read_truth(key(root, ("a.png", 17), ("b.jpg", 3), header=("ImageID", "ans")))
    assert bare["label"].tolist() == [3, 17]
    assert bare["age"].isna().all()


def test_a_key_without_eval_photos_is_no_truth(tmp_path):
    root = key(contest(tmp_path), ("a.png", 17, "eve", 60), ("b.jpg", 3, "", ""))
    shutil.rmtree(root / "eval")
    assert read_truth(root) is None


def test_truth_of_the_general_layout(tmp_path):
    root = general(tmp_path)
    truth = read_truth(root)
    assert truth["photo"].tolist() == ["new/d.jpg", "new/c.jpg"]
    assert truth["person"].tolist() == ["di", "di"]
    assert truth["label"].tolist() == [2 * 6 + 3 + 1, 3 + 1]
    table = pd.read_csv(root / "photos.csv", dtype=str)
    table.loc[table["part"] == "eval", ["mask", "gender", "age"]] = ""
    table.to_csv(root / "photos.csv", index=False)
    assert read_truth(root) is None


def test_reading_a_data_set_gives_no_truth_away(tmp_path):
    root = general(tmp_path)
    before = read_data_set(root)
    text = (root / "photos.csv").read_text().replace("none,female,30,eval", "worn,male,104,eval")
    (root / "photos.csv").write_text(text.replace("worn,female,30,eval", ",,,eval"))
    after = read_data_set(root)
    pd.testing.assert_frame_equal(before.eval, after.eval)
    pd.testing.assert_frame_equal(before.train, after.train)
    assert before.notes == after.notes


def test_reading_a_contest_does_not_open_its_key(tmp_path):
    root = contest(tmp_path)
    (root / "key.csv").mkdir()  # so that opening it would fail
    assert len(read_data_set(root).eval) == 2


def test_the_ans_column_of_the_contest_is_not_read(tmp_path):
    root = contest(tmp_path)
    change(root / "eval/info.csv", "b.jpg,0", "b.jpg,what?")
    assert read_data_set(root).eval["photo"].iloc[0] == "eval/images/b.jpg"


# --- Real data, and speed ---


@pytest.mark.skipif(not FACES.is_dir(), reason="needs ../shared/faces")
def test_faces():
    data, truth = read_data_set(FACES), read_truth(FACES)
    assert data.name == "faces"
    assert len(data.train) == 2499
    assert data.train["person"].nunique() == 357
    assert data.train["mask"].value_counts().to_dict() == {0: 1785, 1: 357, 2: 357}
    tokens = data.train["person"].drop_duplicates().str.split("_").str[0]
    assert tokens[tokens.duplicated()].tolist() == ["000064"]
    assert {"000090", "000090-1"} <= set(tokens)
    assert len(data.eval) == len(truth) == 1141
    assert truth["person"].nunique() == 163
    assert (truth["photo"] == data.eval["photo"]).all()
    assert (truth["label"] == encode(truth["mask"], truth["gender"], truth["band"])).all()
    (note,) = data.notes
    assert note == "system files (.DS_Store, Thumbs.db, ._* and the like), not used: 13"
    with (FACES / "eval/info.csv").open() as file:
        assert list(data.submission(pd.Series(0, index=data.eval["photo"]))["ImageID"]) == [
            r["ImageID"] for r in csv.DictReader(file)
        ]


def test_a_contest_of_full_size_reads_fast(tmp_path):
    names = [f"{number:06}_male_Asian_30" for number in range(2700)]
    write_csv(
        tmp_path / "train/train.csv",
        [("id", "gender", "race", "age", "path"), *((n[:6], "male", "Asian", 30, n) for n in names)],
    )
    for name in names:
        os.makedirs(tmp_path / "train/images" / name)
        for stem in STEMS:
            os.mknod(f"{tmp_path}/train/images/{name}/{stem}.jpg")
    start = time.process_time()
    data = read_data_set(tmp_path)
    assert len(data.train) == 18900
    assert time.process_time() - start < 3  # about 0.3 s, with room for a slow machine
