"""Extra sets, read as people have them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_data import GENERAL, contest, general, touch, unchanged, write_csv

from models.errors import UserError
from pipeline.dataset.extra import RANGE, check_apart, extra_lines, read_extra
from pipeline.dataset.photos import read_data_set


def rows(data) -> dict[str, tuple]:
    """Person, mask, gender and age by photo, None where blank."""
    table = data.train.astype(object)
    table = table.where(table.notna(), None)
    return {row.photo: (row.person, row.mask, row.gender, row.age) for row in table.itertuples()}


UTKFACE = {
    "26_1_0_20170116184024662.jpg.chip.jpg": (1, 26),
    "1_0_2_20161219141717007.jpg": (0, 1),
    "55_0_0_20170116232725357jpg.chip.jpg": (0, 55),
    "24_0_1_20170116220224657 .jpg.chip.jpg": (0, 24),
    "44_1_4_20170116235150272.pg.chip.jpg": (1, 44),
    "110_1_0_20170110150000000.jpg": (1, 100),
    "116_1_0_20170120134921760.JPG": (1, 100),
    # a field is missing, and nobody knows which
    "39_1_20170116174525125.jpg.chip.jpg": (None, 39),
    "61_3_20170109150557335.jpg.chip.jpg": (None, 61),
    "53__0_20170116184028385.jpg.chip.jpg": (None, 53),
    "30_3_1_20170109150557335.png": (None, 30),
    "999_1_1_20170109150557335.jpeg": (1, None),
}


def test_utkface(tmp_path):
    for number, name in enumerate(UTKFACE):
        touch(tmp_path / ("part1" if number % 2 else "part2") / name)
    touch(tmp_path / "part1/.DS_Store", tmp_path / "part1/notes.txt", tmp_path / "part2/me.jpg")
    before = unchanged(tmp_path)
    data = read_extra(tmp_path)
    assert unchanged(tmp_path) == before
    assert data.layout == "UTKFace"
    found = rows(data)
    assert {photo.partition("/")[2]: labels[2:] for photo, labels in found.items()} == UTKFACE
    assert all(person == photo and mask is None for photo, (person, mask, *_) in found.items())
    told = "\n".join(data.notes)
    assert "photos whose names tell no gender (4)" in told
    assert "photos whose names tell no age (1): 'part1/999_1_1_20170109150557335.jpeg'" in told
    assert "not named as UTKFace's, not used (1): 'part2/me.jpg'" in told
    assert "above 100 (up to 120), trained as 100 (2): 110, 116" in told
    assert data.left_out.files.keys() == {"part1/notes.txt", "part2/me.jpg"}
    assert data.eval.empty


def test_agedb(tmp_path):
    touch(
        *(
            tmp_path / name
            for name in ("0_MariaCallas_35_f.jpg", "1_MariaCallas_40_F.png", "12_O'Neil_2_50_m.JPG", "x_y.jpg")
        )
    )
    data = read_extra(tmp_path)
    assert data.layout == "AgeDB"
    assert rows(data) == {
        "0_MariaCallas_35_f.jpg": ("MariaCallas", None, 1, 35),
        "12_O'Neil_2_50_m.JPG": ("O'Neil_2", None, 0, 50),
        "1_MariaCallas_40_F.png": ("MariaCallas", None, 1, 40),
    }


FAIRFACE = [
    ("file", "age", "gender", "race", "service_test"),
    ("train/1.jpg", "50-59", "Male", "East Asian", "True"),
    ("train/2.jpg", "0-2", "Female", "Indian", "False"),
    ("train/3.jpg", "more than 70", "Female", "Black", "False"),
    ("train/4.jpg", "", "Male", "White", "False"),
    ("train/5.jpg", "33", "", "White", "False"),
]


@pytest.mark.parametrize("above", ["", "fairface-img-margin025-trainval/"])
def test_fairface(tmp_path, above):
    write_csv(tmp_path / "fairface_label_train.csv", FAIRFACE)
    write_csv(tmp_path / "fairface_label_val.csv", [FAIRFACE[0], ("val/1.jpg", "90+", "male", "White", "True")])
    write_csv(tmp_path / "other.csv", [("a", "b"), (1, 2)])
    touch(*(tmp_path / above / row[0] for row in FAIRFACE[1:]), tmp_path / above / "val/1.jpg")
    data = read_extra(tmp_path)
    assert data.layout == "FairFace"
    assert {photo.removeprefix(above): labels[2:] for photo, labels in rows(data).items()} == {
        "train/1.jpg": (0, None),
        "train/2.jpg": (1, None),
        "train/3.jpg": (1, None),
        "train/4.jpg": (0, None),
        "train/5.jpg": (None, 33),
        "val/1.jpg": (0, None),
    }
    none = [np.nan, np.nan]
    wanted = [[50, 59], [0, 2], [70, 90], none, none, [90, 100]]
    np.testing.assert_array_equal(data.train[list(RANGE)], wanted)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("1.jpg", "9-Mar", "Male"), "'9-Mar' is no range of years (a spreadsheet makes dates of ranges); write"),
        (("1.jpg", "29-20", "Male"), "'29-20' is no range of years; write it as 20-29, or more than 70"),
        (("1.jpg", "200", "Male"), "is no range of years"),
        (("1.jpg", "20-29", "boy"), "gender 'boy' is none of male, female"),
        (("2.jpg", "20-29", "Male"), "'2.jpg' is not on disk; mend or remove the row"),
        (("../1.jpg", "20-29", "Male"), "leaves the data set"),
    ],
)
def test_rows_of_fairface_that_are_wrong(tmp_path, row, problem):
    write_csv(tmp_path / "label.csv", [("file", "age", "gender"), row])
    touch(tmp_path / "1.jpg")
    with pytest.raises(UserError, match=r"label.csv row 2") as raised:
        read_extra(tmp_path)
    assert problem in str(raised.value)


def test_photos_that_fairfaces_tables_do_not_name(tmp_path):
    write_csv(tmp_path / "label.csv", [("file", "age", "gender", "race", "mask"), ("1.jpg", "20-29", "Male", "", "1")])
    touch(tmp_path / "1.jpg", tmp_path / "2.jpg")
    data = read_extra(tmp_path)
    assert len(data.train) == 1
    told = "\n".join(data.notes)
    assert "photos that label.csv do not name, not used (1): '2.jpg'" in told
    assert "columns of label.csv that are not used (1): 'mask'" in told


def test_fairface_with_both_margins(tmp_path):
    write_csv(tmp_path / "label.csv", FAIRFACE)
    for folder in ("margin025", "margin125"):
        touch(*(tmp_path / folder / row[0] for row in FAIRFACE[1:]))
    with pytest.raises(
        UserError, match=r"the photos of label\.csv are in 'margin025' and 'margin125'; take all but one"
    ):
        read_extra(tmp_path)


def test_the_first_photo_of_fairface_may_be_missing(tmp_path):
    write_csv(tmp_path / "label.csv", FAIRFACE)
    touch(*(tmp_path / "margin025" / row[0] for row in FAIRFACE[2:]))
    with pytest.raises(UserError, match=r"label.csv row 2: the photo 'margin025/train/1.jpg' is not on disk"):
        read_extra(tmp_path)


def test_tables_that_are_none(tmp_path):
    write_csv(tmp_path / "label.csv", [("file;age;gender",)])
    write_csv(tmp_path / ".label.csv", FAIRFACE)
    (tmp_path / "self.csv").symlink_to("self.csv")
    (tmp_path / "zz").symlink_to("zz")
    touch(tmp_path / "a/1.jpg")
    with pytest.raises(UserError, match=r"\('label.csv' lack the columns file, age, gender\)"):
        read_extra(tmp_path)


@pytest.mark.parametrize("name", ["Photos.csv", "photos.xlsx"])
def test_a_table_of_another_name_is_not_passed_over(tmp_path, name):
    touch(tmp_path / "men/a.jpg", tmp_path / name)
    with pytest.raises(UserError, match=f"'{name}' lies there"):
        read_extra(tmp_path)


def test_an_extra_set_need_not_name_persons(tmp_path):
    write_csv(
        tmp_path / "photos.csv", [GENERAL, ("a.jpg", "", "", "male", "", "train"), ("b.jpg", "b", "", "", "", "train")]
    )
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert [labels[0] for labels in rows(read_extra(tmp_path)).values()] == ["a.jpg", "b"]
    write_csv(tmp_path / "photos.csv", [GENERAL, ("a.jpg", "", "", "male", "", "eval")])
    with pytest.raises(UserError, match=r"The extra set .* has no train row; an extra set is learned from"):
        read_extra(tmp_path)


def test_a_photo_stands_once_in_fairfaces_tables(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, [("file", "age", "gender"), ("1.jpg", "20-29", "Male")])
    touch(tmp_path / "1.jpg")
    with pytest.raises(UserError, match=r"b.csv row 2: the photo '1.jpg' already stands in a.csv row 2; keep one"):
        read_extra(tmp_path)


@pytest.mark.parametrize(
    ("folder", "mask", "gender"),
    [
        ("with_mask", 0, None),
        ("Train/WithMask", 0, None),
        ("CMFD/00000", 0, None),
        ("mask_weared_incorrect", 1, None),
        ("IMFD/00000", 1, None),
        ("Face Mask Dataset/Validation/With-Mask/7", 0, None),
        ("with_mask/train", 0, None),
        ("Incorrect Mask", 1, None),
        ("without_mask", 2, None),
        ("no-mask", 2, None),
        ("Test/female", None, 1),
        ("women/with_mask", 0, 1),
        ("mask/without_mask", 2, None),
    ],
)
def test_a_folder_a_class(tmp_path, folder, mask, gender):
    touch(tmp_path / folder / "0_0_0 copy 10.jpg", tmp_path / "men/b.png")
    data = read_extra(tmp_path)
    photo = f"{folder}/0_0_0 copy 10.jpg"
    assert rows(data) == {photo: (photo, mask, gender, None), "men/b.png": ("men/b.png", None, 0, None)}


def test_unknown_classes_are_listed(tmp_path):
    touch(tmp_path / "with_mask/a.jpg", tmp_path / "selfies/2/a.jpg", tmp_path / "a.jpg", tmp_path / "party/a.jpg")
    with pytest.raises(UserError, match=r"names of these folders: '\.', 'party', 'selfies/2'; name each") as raised:
        read_extra(tmp_path)
    assert "name the folder above it" in str(raised.value)


@pytest.mark.parametrize(
    "folder", ["mask_0", "mask 미착용", "with_mask/no mask at all", "with_mask/mask_chin", "masks", "men/friends"]
)
def test_folders_that_only_look_like_classes_are_unknown(tmp_path, folder):
    touch(tmp_path / "without_mask/a.jpg", tmp_path / folder / "a.jpg")
    with pytest.raises(UserError, match="name each folder by its class") as raised:
        read_extra(tmp_path)
    assert repr(folder) in str(raised.value)
    assert "without_mask'" not in str(raised.value)


def test_masks_drawn_on_utkface(tmp_path):
    touch(
        tmp_path / "with_mask/26_1_0_20170116184024662.jpg",
        tmp_path / "IMFD/27_0_0_20170116184024662.jpg",
        tmp_path / "28_0_0_20170116184024662.jpg",
    )
    assert [labels[1] for labels in rows(read_extra(tmp_path)).values()] == [None, 1, 0]


def test_the_layouts_of_data_sets(tmp_path):
    own, other = general(tmp_path / "general"), contest(tmp_path / "contest")
    data = read_extra(own)
    pd.testing.assert_frame_equal(data.train, read_data_set(own).train)
    assert data.eval.empty
    assert "eval photos, not used (2): 'new/d.jpg', 'new/c.jpg'" in data.notes
    data = read_extra(other)
    assert len(data.train) == 14
    assert data.eval.empty


def test_folders_that_are_no_set(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        read_extra(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="it holds no photos"):
        read_extra(tmp_path / "empty")


def test_what_is_told_of_each(tmp_path):
    write_csv(tmp_path / "label.csv", FAIRFACE)
    touch(*(tmp_path / row[0] for row in FAIRFACE[1:]))
    (line,) = extra_lines([read_extra(tmp_path)])
    assert line.endswith("(FairFace): 5 photos, 0 with a mask state, 4 with a gender, 4 with an age")


def own_and_extra(tmp_path) -> tuple[Path, Path]:
    own, more = tmp_path / "own", tmp_path / "more"
    write_csv(own / "photos.csv", [GENERAL, ("a.jpg", "a", "", "male", "", "train"), ("b.jpg", "", "", "", "", "eval")])
    touch(more / "men/c.jpg", more / "men/d.jpg")
    for name in ("own/a.jpg", "own/b.jpg", "more/men/c.jpg", "more/men/d.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8" + name.encode())
    return own, more


@pytest.mark.parametrize("name", ["a.jpg", "b.jpg"])
def test_extra_photos_that_are_validated_or_predicted_are_refused_by_name(tmp_path, name):
    own, more = own_and_extra(tmp_path)
    check_apart(read_data_set(own), [read_extra(more)], allowed=False)
    (more / "men/d.jpg").write_bytes((own / name).read_bytes())
    with pytest.raises(UserError, match=rf"more/men/d.jpg' = '{name}'") as raised:
        check_apart(read_data_set(own), [read_extra(more)], allowed=False)
    assert "--allow-duplicates" in str(raised.value)
    (told,) = check_apart(read_data_set(own), [read_extra(more)], allowed=True)
    assert "used as allowed (1)" in told


def test_an_extra_set_that_holds_the_data_sets_own_files_is_refused(tmp_path):
    own, _ = own_and_extra(tmp_path)
    (own / "men").mkdir()
    (own / "a.jpg").rename(own / "men/a.jpg")
    write_csv(own / "photos.csv", [GENERAL, ("men/a.jpg", "a", "", "male", "", "train")])
    write_csv(own / "men/photos.csv", [GENERAL, ("a.jpg", "", "", "male", "", "train")])
    (tmp_path / "link").symlink_to(own / "men")
    for extra in (own / "men", tmp_path / "link"):
        with pytest.raises(UserError, match="1 photos of extra sets are also the data set's own"):
            check_apart(read_data_set(own), [read_extra(extra)], allowed=False)


def test_what_no_photo_is_may_be_the_same(tmp_path):
    own, more = own_and_extra(tmp_path)
    for file in (own / "a.jpg", more / "men/d.jpg"):
        file.write_bytes(b"<!DOCTYPE html><html>error 404</html>")
    assert check_apart(read_data_set(own), [read_extra(more)], allowed=False) == []


def test_extra_photos_may_repeat_one_another(tmp_path):
    own, more = own_and_extra(tmp_path)
    (more / "men/d.jpg").write_bytes((more / "men/c.jpg").read_bytes())
    check_apart(read_data_set(own), [read_extra(more)], allowed=False)
