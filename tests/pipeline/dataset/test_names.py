"""Names that are the same to the eye: composed and decomposed letters, backslashes, capital letters."""

import unicodedata

import pandas as pd
import pytest
from small_data import GENERAL, change, contest, general, key, touch, write_csv

from models.errors import UserError
from pipeline.dataset.names import Files, Spellings
from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth

HANGUL, ACCENT, VIETNAMESE = "사진1", "Zoë", "Nguyễn"
BOX = ("photo", "box_x", "box_y", "box_w", "box_h")


def nfd(name):
    return unicodedata.normalize("NFD", name)


def told(read, root):
    with pytest.raises(UserError) as error:
        read(root)
    return str(error.value)


# --- Composed and decomposed letters ---


@pytest.mark.parametrize("name", [HANGUL, ACCENT, VIETNAMESE])
@pytest.mark.parametrize("flip", [False, True], ids=["disk decomposed", "table decomposed"])
def test_eval_names_of_the_same_letters_match(tmp_path, name, flip):
    root = contest(tmp_path)
    disk, table = (name, nfd(name)) if flip else (nfd(name), name)
    (root / "eval/images/b.jpg").rename(root / f"eval/images/{disk}.jpg")
    change(root / "eval/info.csv", "b.jpg", f"{table}.jpg")
    data = read_data_set(root)
    assert data.notes == ()
    assert data.eval["photo"][0] == f"eval/images/{disk}.jpg"
    assert data.path(data.eval["photo"][0]).is_file()
    labels = pd.Series(3, index=data.eval["photo"])
    assert list(data.submission(labels)["ImageID"]) == [f"{table}.jpg", "a.png"], "as eval/info.csv writes them"
    key(root, (f"{disk}.jpg", 3, "", ""), ("a.png", 17, "", ""))
    assert list(read_truth(root)["photo"]) == list(data.eval["photo"])


@pytest.mark.parametrize("name", [HANGUL, ACCENT, VIETNAMESE])
def test_people_of_the_contest_of_the_same_letters_match(tmp_path, name):
    root = contest(tmp_path)
    (root / "train/images/000002_male_Asian_60").rename(root / "train/images" / nfd(name))
    change(root / "train/train.csv", "000002_male_Asian_60", name)
    data = read_data_set(root)
    (person,) = set(data.train["person"]) - {"000001_female_Asian_25"}
    assert person == name
    rows = data.train[data.train["person"] == name]
    assert len(rows) == 7
    assert all(data.path(photo).is_file() for photo in rows["photo"])
    for fixed in (name, nfd(name), f"{name}/normal", f"{nfd(name)}/normal.jpg"):
        column, value = ("mask", "worn") if "/" in fixed else ("gender", "female")
        write_csv(tmp_path.parent / "fixes.csv", [("key", "column", "value"), (fixed, column, value)])
        after = read_data_set(root, str(tmp_path.parent / "fixes.csv")).train
        assert not after.equals(data.train)


@pytest.mark.parametrize("name", [HANGUL, ACCENT, VIETNAMESE])
def test_photos_csv_and_boxes_of_the_same_letters_match(tmp_path, name):
    root = general(tmp_path)
    (root / "in").rename(root / nfd(name))
    text = (root / "photos.csv").read_text().replace("in/", f"{name}/")
    (root / "photos.csv").write_text(text.replace(",ann,", f",{name},", 1).replace(",ann,", f",{nfd(name)},"))
    write_csv(root / "boxes.csv", [BOX, (f"{name}/a.jpg", 1, 2, 30, 40), (f"{nfd(name)}/b.jpg", 1, 2, 30, 40)])
    data = read_data_set(root)
    assert all(data.path(photo).is_file() for photo in data.train["photo"])
    assert set(data.train["person"]) == {"bo", name}, "one person, however the letters are composed"
    assert data.train["box_x"].notna().sum() == 2


def twins(folder, name, ending):
    touch(folder / f"{name}{ending}", folder / f"{nfd(name)}{ending}")
    if len(list(folder.iterdir())) < 2:
        pytest.skip("this file system takes both for one")


@pytest.mark.parametrize("name", [HANGUL, ACCENT, VIETNAMESE])
def test_two_files_of_the_same_letters_are_named(tmp_path, name):
    root = general(tmp_path / "general")
    twins(root / "in", name, ".jpg")
    change(root / "photos.csv", "in/a.jpg", f"in/{name}.jpg")
    message = told(read_data_set, root)
    assert "photos.csv row 4: photo" in message
    assert all(ascii(f"in/{spelled}.jpg") in message for spelled in (name, nfd(name)))
    root = contest(tmp_path / "contest")
    twins(root / "eval/images", name, ".jpg")
    change(root / "eval/info.csv", "b.jpg", f"{name}.jpg")
    message = told(read_data_set, root)
    assert "eval/info.csv row 2" in message
    assert all(ascii(f"eval/images/{spelled}.jpg") in message for spelled in (name, nfd(name)))
    root = contest(tmp_path / "people")
    for spelled in (name, nfd(name)):
        touch(root / "train/images" / spelled / "normal.jpg")
    change(root / "train/train.csv", "000002_male_Asian_60", name)
    message = told(read_data_set, root)
    assert all(ascii(spelled) in message for spelled in (name, nfd(name)))


def test_a_row_in_each_spelling_is_one_photo_twice(tmp_path):
    root = general(tmp_path)
    (root / "in/a.jpg").rename(root / f"in/{nfd(HANGUL)}.jpg")
    change(root / "photos.csv", "in/a.jpg", f"in/{HANGUL}.jpg")
    change(root / "photos.csv", "in/a2.jpg", f"in/{nfd(HANGUL)}.jpg")
    assert "already stands in row 4" in told(read_data_set, root)


# --- Capital letters ---


@pytest.mark.parametrize(
    ("make", "file", "old", "new", "names"),
    [
        (general, "photos.csv", "in/a.jpg", "in/A.jpg", "'in/a.jpg'"),
        (general, "photos.csv", "in/b.jpg", "In/b.jpg", "'in/b.jpg'"),
        (general, "photos.csv", "in/b.jpg", "IN\\b.JPG", "'in/b.jpg'"),
        (contest, "eval/info.csv", "b.jpg", "b.JPG", "'eval/images/b.jpg'"),
        (contest, "train/train.csv", "60,000002_male_Asian_60", "60,000002_MALE_asian_60", "'000002_male_Asian_60'"),
    ],
)
def test_names_that_differ_in_capital_letters_are_named_and_not_guessed(tmp_path, make, file, old, new, names):
    root = make(tmp_path)
    change(root / file, old, new)
    message = told(read_data_set, root)
    assert names in message
    assert "differs only in capital letters" in message
    assert "\n" not in message


def test_capital_letters_in_boxes_key_and_fixes(tmp_path):
    root = contest(tmp_path / "data")
    write_csv(root / "boxes.csv", [BOX, ("eval/images/B.jpg", 1, 2, 30, 40)])
    assert "boxes.csv row 2: the photo 'eval/images/B.jpg' is not there, but 'eval/images/b.jpg'" in told(
        read_data_set, root
    )
    (root / "boxes.csv").unlink()
    key(root, ("A.png", 17, "", ""), ("b.jpg", 3, "", ""))
    assert "key.csv row 2: the photo 'A.png' is not there, but 'a.png' is" in told(read_truth, root)
    write_csv(tmp_path / "fixes.csv", [("key", "column", "value"), ("000002_Male_Asian_60", "gender", "female")])
    message = told(lambda at: read_data_set(at, str(tmp_path / "fixes.csv")), root)
    assert "but '000002_male_Asian_60' differs only in capital letters" in message


@pytest.mark.parametrize(
    ("make", "old", "new", "says"),
    [
        (contest, "eval", "Eval", "the folder 'Eval' differs from eval only in capital letters"),
        (contest, "train/images", "train/Images", "but 'Images' lies there, which differs only in capital letters"),
        (contest, "train/train.csv", "train/Train.csv", "'Train.csv' lies there, which differs only in capital"),
        (contest, "train", "Train", "the folder 'Train' differs from train only in capital letters"),
        (general, "photos.csv", "Photos.csv", "'Photos.csv' lies there, which differs only in capital letters"),
    ],
)
def test_tables_and_folders_in_capitals_are_named(tmp_path, make, old, new, says):
    root = make(tmp_path)
    (root / old).rename(root / new)
    assert says in told(read_data_set, root)


def test_what_differs_only_in_capitals_is_told(tmp_path):
    root = contest(tmp_path / "contest")
    folder = root / "train/images/000001_female_Asian_25"
    (folder / "normal.jpg").rename(folder / "Normal.jpg")
    notes = "\n".join(read_data_set(root).notes)
    assert "one of a person's seven photos but for capital letters; rename them, not used (1): " in notes
    root = general(tmp_path / "general")
    change(root / "photos.csv", "in/a2.jpg,ann", "in/a2.jpg,Ann")
    assert "only in capital letters, taken for different people (1): 'Ann' and 'ann'" in "\n".join(
        read_data_set(root).notes
    )


# --- Backslashes ---


def test_backslashes_are_separators_where_only_that_finds_the_file(tmp_path):
    root = general(tmp_path)
    text = (root / "photos.csv").read_text()
    (root / "photos.csv").write_text(text.replace("in/", "in\\").replace("new/d", "new\\d"))
    write_csv(root / "boxes.csv", [BOX, ("in\\a.jpg", 1, 2, 30, 40), ("in/b.jpg", 1, 2, 30, 40)])
    write_csv(tmp_path.parent / "fixes.csv", [("key", "column", "value"), ("in\\a2.jpg", "mask", "worn")])
    data = read_data_set(root, str(tmp_path.parent / "fixes.csv"))
    assert list(data.train["photo"]) == ["in/a.jpg", "in/a2.jpg", "in/b.jpg", "in/b2.jpg"]
    assert data.train["box_x"].notna().sum() == 2
    assert data.train["mask"][1] == 0
    assert "photos of photos.csv with backslashes, read as separators (5): " in data.notes[0]
    labels = pd.Series(3, index=data.eval["photo"])
    assert list(data.submission(labels)["photo"]) == ["new\\d.jpg", "new/c.jpg"]


def test_backslashes_in_the_eval_table_and_its_key(tmp_path):
    root = contest(tmp_path)
    (root / "eval/images/in").mkdir()
    (root / "eval/images/b.jpg").rename(root / "eval/images/in/b.jpg")
    change(root / "eval/info.csv", "b.jpg", "in\\b.jpg")
    data = read_data_set(root)
    assert data.eval["photo"][0] == "eval/images/in/b.jpg"
    key(root, ("in\\b.jpg", 3, "", ""), ("a.png", 17, "", ""))
    assert list(read_truth(root)["photo"]) == list(data.eval["photo"])


def test_a_backslash_in_a_files_own_name_stays(tmp_path):
    root = general(tmp_path)
    touch(root / "in\\a.jpg")
    change(root / "photos.csv", "in/a.jpg", "in\\a.jpg")
    data = read_data_set(root)
    assert "in\\a.jpg" in set(data.train["photo"])
    assert not any("backslashes" in note for note in data.notes)


@pytest.mark.parametrize("path", ["in\\..\\..\\x.jpg", "\\\\server\\a.jpg", ".\\in\\a.jpg", "C:\\in\\a.jpg"])
def test_a_path_with_backslashes_stays_inside(tmp_path, path):
    root = general(tmp_path / "data")
    touch(tmp_path / "x.jpg")
    with (root / "photos.csv").open("w") as file:
        file.write(",".join(GENERAL) + f"\n{path},ann,none,female,20,train\n")
    assert "photos.csv row 2" in told(read_data_set, root)


def test_nothing_is_listed_for_plain_names(tmp_path, monkeypatch):
    touch(tmp_path / "in/a.jpg")
    files = Files(tmp_path)
    monkeypatch.setattr("os.listdir", None)
    assert files.find("in/a.jpg") == "in/a.jpg"


def test_a_name_beside_others():
    names = Spellings(["a", "B", nfd("é"), "É"])
    assert (names.find("a"), names.find("x"), names.find("é")) == ("a", None, nfd("é"))
    with pytest.raises(ValueError, match="'B' is, and differs only in capital letters"):
        names.find("b")
