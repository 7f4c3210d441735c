"""Tables as programs write them: headers in disguise, words for nothing, files that are no CSV, boxes, codes."""

import gzip
import io
import zipfile

import pandas as pd
import pytest
from small_data import GENERAL, STEMS, change, contest, general, key, touch, write_csv

from models.errors import UserError
from pipeline.dataset.folds import fold_table
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.tables import NOTHING, parse_label
from pipeline.dataset.truth import read_truth


def told(read, root):
    with pytest.raises(UserError) as error:
        read(root)
    return str(error.value)


# --- Headers ---

BOM, BOM_AS_TEXT = b"\xef\xbb\xbf", "ï»¿".encode()
HEADERS = {
    "capitals": b"Photo,Person,Mask,Gender,Age,Part",
    "all capitals": b"PHOTO,PERSON,MASK,GENDER,AGE,PART",
    "blanks": b" photo , person,mask ,\tgender,age\xc2\xa0,part",
    "a byte order mark": BOM + b"photo,person,mask,gender,age,part",
    "two byte order marks": BOM * 2 + b"photo,person,mask,gender,age,part",
    "a byte order mark read as text": BOM_AS_TEXT + b"photo,person,mask,gender,age,part",
    "one of each": BOM + BOM_AS_TEXT + b"Photo,person,mask,gender,age,part",
    "read as text twice": "Ã¯Â»Â¿".encode() + b"photo,person,mask,gender,age,part",
    "quoted after a mark": BOM + b'"photo","Person","mask","gender","age","part"',
    "quoted with a mark inside": b'"' + BOM_AS_TEXT + b'photo",person,mask,gender,age,part',
    "quoted after a blank": b'photo, "person", "mask",gender,age,part',
    "zero-width spaces": "\u200bphoto,person\u200b,\u2060mask,gender,age\ufeff,part".encode(),
    "sep=,": b"sep=,\r\nphoto,person,mask,gender,age,part",
    "a mark and sep=,": BOM + b"SEP=,\nphoto,person,mask,gender,age,part",
    "sep quoted": b'"sep=,"\nphoto,person,mask,gender,age,part',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_in_disguise(tmp_path, header):
    root = general(tmp_path)
    before = read_data_set(root)
    content = (root / "photos.csv").read_bytes()
    (root / "photos.csv").write_bytes(content.replace(b",".join(map(str.encode, GENERAL)), header))
    after = read_data_set(root)
    pd.testing.assert_frame_equal(before.train, after.train)
    pd.testing.assert_frame_equal(before.eval, after.eval)
    assert before.notes == after.notes


def test_what_separates_is_what_sep_says(tmp_path):
    root = general(tmp_path)
    before = read_data_set(root)
    text = (root / "photos.csv").read_text()
    for letter in ";\t|":
        (root / "photos.csv").write_text(f"sep={letter}\n{text.replace(',', letter)}")
        pd.testing.assert_frame_equal(read_data_set(root).train, before.train)
    (root / "photos.csv").write_text(f"sep=,\n{text.replace('61.0', 'old')}")
    assert "photos.csv row 3: age 'old'" in told(read_data_set, root), "numbered as a spreadsheet does"


def test_the_other_tables_in_capitals(tmp_path):
    root = contest(tmp_path)
    change(root / "train/train.csv", "id,gender,race,age,path", "ID,Gender,Race,Age,Path")
    change(root / "eval/info.csv", "ImageID,ans", "imageid,ANS")
    write_csv(root / "boxes.csv", [("Photo", "Box_X", "BOX_Y", "box_w ", "Box_H"), ("eval/images/b.jpg", 1, 2, 30, 40)])
    key(root, ("b.jpg", 3, "eve", 20), ("a.png", 17, "eva", 60), header=("IMAGEID", "Ans", "Person", "AGE"))
    data = read_data_set(root)
    assert data.eval["box_w"][0] == 30
    assert list(data.submission(pd.Series(1, index=data.eval["photo"]))) == ["ImageID", "ans"]
    assert read_truth(root)["person"].tolist() == ["eve", "eva"]
    assert read_truth(root)["age"].tolist() == [20, 60]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("pho\u200bto", r"'pho\u200bto'"),
        ("\u0440hoto", "'\u0440hoto'"),
        ("photo\u00adname", r"'photo\xadname'"),
        ("x", "'x'"),
    ],
)
def test_a_header_that_lacks_a_column_is_shown(tmp_path, cell, shown):
    root = general(tmp_path)
    change(root / "photos.csv", "photo,person", f"{cell},person")
    message = told(read_data_set, root)
    assert "photos.csv lacks the column photo in its first row" in message
    assert f"that row holds {shown}, 'person', 'mask', 'gender', 'age', 'part'" in message


def test_a_column_twice_in_other_letters_is_named(tmp_path):
    root = general(tmp_path)
    content = [line + ",x" for line in (root / "photos.csv").read_text().split()]
    (root / "photos.csv").write_text("\n".join([content[0].replace(",x", ",Age"), *content[1:]]))
    assert "names the column age twice ('age', 'Age'); keep one" in told(read_data_set, root)


# --- Words for nothing ---


@pytest.mark.parametrize("word", ["None", "nan", "NaN", "NULL", "null", "<NA>", "n/a", "N/A", "NA", "#N/A", "NaT", "-"])
def test_words_for_nothing_are_blanks(tmp_path, word):
    root = general(tmp_path)
    before = read_data_set(root)
    text = (root / "photos.csv").read_text()
    (root / "photos.csv").write_text(text.replace("ann,,,,", f"ann,{word},{word},{word},"))
    after = read_data_set(root)
    pd.testing.assert_frame_equal(before.train, after.train)
    said = f"mask '{word}' in row 5, gender '{word}' in row 5, age '{word}' in row 5"
    assert f"cells of photos.csv that say nothing, read as blank (3): {said}" in after.notes
    assert set(after.notes) > set(before.notes)


def test_none_in_small_letters_is_a_mask_that_is_not_worn():
    assert parse_label("mask", " none ") == 2
    assert parse_label("mask", "None") is None
    assert parse_label("gender", "none") is None
    assert all(parse_label(column, word) is None for word in NOTHING for column in ("age", "gender"))


@pytest.mark.parametrize(("worn", "bare"), [("Worn", "None"), ("WORN", "NONE"), ("Wrong", "None")])
def test_none_among_masks_in_capitals_is_not_guessed(tmp_path, worn, bare):
    root = general(tmp_path)
    change(root / "photos.csv", "bo,worn", f"bo,{worn}")
    change(root / "photos.csv", "ann,none", f"ann,{bare}")
    assert "photos.csv row 4: mask 'None' may be a mask that is not worn or a blank" in told(read_data_set, root)


@pytest.mark.parametrize("word", ["nan", "None", "<NA>", "NULL"])
def test_nobody_is_called_by_a_programs_word(tmp_path, word):
    root = general(tmp_path)
    text = (root / "photos.csv").read_text()
    (root / "photos.csv").write_text(text.replace(",di,", f",{word},"))
    assert read_data_set(root).eval["person"].isna().all()
    (root / "photos.csv").write_text(text.replace(",ann,", f",{word},"))
    assert f"row 4 is a train row without person (person '{word}' says nobody)" in told(read_data_set, root)


def test_words_for_nothing_in_the_contest_and_its_boxes(tmp_path):
    root = contest(tmp_path)
    change(root / "train/train.csv", "000002,male,Asian,60", "000002,NULL,Asian,nan")
    write_csv(root / "boxes.csv", [("photo", "box_x", "box_y", "box_w", "box_h"), ("eval/images/b.jpg", *["nan"] * 4)])
    data = read_data_set(root)
    assert data.train["gender"].isna().sum() == data.train["age"].isna().sum() == 7
    assert data.eval["box_x"].isna().all()
    assert any("gender 'NULL' in row 3, age 'nan' in row 3" in note for note in data.notes)


def test_words_of_eval_rows_are_not_told(tmp_path):
    root = general(tmp_path)
    before = read_data_set(root)
    change(root / "photos.csv", "new/c.jpg,di,worn,female,30", "new/c.jpg,di,None,nan,NULL")
    assert read_data_set(root).notes == before.notes


# --- Other files in the place of tables and photos ---


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


FOREIGN = {
    "xlsx": (zipped(), "is an Excel workbook or another zip archive; export it as CSV in UTF-8"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is an old Excel workbook; export it as CSV"),
    "parquet": (b"PAR1\x15\x04" + bytes(99) + b"PAR1", "is a Parquet table; export it as CSV"),
    "gzip": (gzip.compress(b"photo,person"), "is compressed with gzip; unpack it"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is an HTML page; download the table itself"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer and not the table itself; fetch"),
    "pickle": (b"\x80\x04\x95" + bytes(20), "is a Python pickle; export it as CSV"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("file", ["train/train.csv", "eval/info.csv", "boxes.csv"])
def test_a_table_that_is_none(tmp_path, kind, file):
    root = contest(tmp_path)
    (root / file).write_bytes(FOREIGN[kind][0])
    message = told(read_data_set, root)
    assert f"{file} {FOREIGN[kind][1]}" in message
    assert "\n" not in message


@pytest.mark.parametrize("ending", ["xlsx", "parquet", "ods", "tsv"])
def test_a_table_beside_the_one_that_is_missing(tmp_path, ending):
    root = contest(tmp_path / "contest")
    for name in ("train/train", "eval/info"):
        (root / f"{name}.csv").rename(root / f"{name}.{ending}")
    message = told(read_data_set, root)
    assert f"train/train.csv is missing, but 'train.{ending}' lies there" in message
    assert f"eval/info.csv is missing, but 'info.{ending}' lies there" in message
    root = general(tmp_path / "general")
    touch(root / f"boxes.{ending}")
    assert f"boxes.csv is not there, but 'boxes.{ending}' lies there" in told(read_data_set, root)
    (root / f"boxes.{ending}").unlink()
    (root / "photos.csv").rename(root / f"photos.{ending}")
    assert f"neither train/train.csv nor photos.csv, but 'photos.{ending}' lies there" in told(read_data_set, root)
    root = contest(tmp_path / "truth")
    touch(root / f"key.{ending}")
    assert f"key.csv is not there, but 'key.{ending}' lies there" in told(read_truth, root)
    assert len(read_data_set(root).eval) == 2


@pytest.mark.parametrize("ending", ["CR2", "nef", "dng", "ARW"])
def test_camera_raw_files(tmp_path, ending):
    root = general(tmp_path / "general")
    (root / "in/a.jpg").rename(root / f"in/a.{ending}")
    change(root / "photos.csv", "in/a.jpg", f"in/a.{ending}")
    assert f"photo 'in/a.{ending}' is a camera's raw file; export it from the camera's program as JPEG" in told(
        read_data_set, root
    )
    root = contest(tmp_path / "contest")
    folder = root / "train/images/000001_female_Asian_25"
    (folder / "normal.jpg").rename(folder / f"normal.{ending}")
    assert any(
        note.startswith("cameras' raw files; export them as JPEG, not used (1): ") for note in read_data_set(root).notes
    )
    change(root / "eval/info.csv", "b.jpg", f"b.{ending}")
    assert f"eval/info.csv row 2: ImageID 'b.{ending}' is a camera's raw file" in told(read_data_set, root)
    touch(*(tmp_path / "folder" / name for name in ("a.jpg", f"a.{ending}", f"b.{ending}")))
    data = read_folder(tmp_path / "folder")
    assert list(data.eval["photo"]) == ["a.jpg", f"b.{ending}"], "what is meant is told by predict, photo by photo"
    assert data.left_out.files == {f"a.{ending}": "cameras' raw files beside a photo of the same name"}


def test_system_files_are_counted_and_not_listed(tmp_path):
    names = ["Thumbs.db", ".DS_Store", "._a.jpg", "__MACOSX/._a.jpg", "desktop.ini", "sub/.DS_Store", "@eaDir/a.jpg"]
    touch(tmp_path / "folder/a.jpg", tmp_path / "folder/notes.txt", *(tmp_path / "folder" / name for name in names))
    data = read_folder(tmp_path / "folder")
    assert list(data.eval["photo"]) == ["a.jpg"]
    assert data.notes[1] == "system files (.DS_Store, Thumbs.db, ._* and the like), not used: 7"
    assert data.left_out.files == {"notes.txt": "not photos"}
    root = contest(tmp_path / "contest")
    touch(root / "train/images/__MACOSX/._x", root / "train/images/Thumbs.db", root / "eval/images/desktop.ini")
    touch(root / "train/images/000001_female_Asian_25/._normal.jpg")
    assert read_data_set(root).notes == ("system files (.DS_Store, Thumbs.db, ._* and the like), not used: 4",)


# --- Boxes ---


@pytest.mark.parametrize(
    "box",
    [
        (0.25, 0.2, 0.5, 0.45),
        (0, 0, 1, 1),
        (0.5, 0.5, 0.001, 0.002),
        (-0.01, 0.9, 1.02, 0.3),
        ("0.1", "1e-1", "1.0", ".5"),
    ],
)
@pytest.mark.parametrize("make", [contest, general])
def test_boxes_as_shares_are_refused_once_with_both_ways_to_read_them(tmp_path, make, box):
    root = make(tmp_path)
    photos = list(read_data_set(root).eval["photo"])
    write_csv(root / "boxes.csv", [("photo", "box_x", "box_y", "box_w", "box_h"), *((photo, *box) for photo in photos)])
    message = told(read_data_set, root)
    assert "boxes.csv row 2: the box is" in message
    assert "shares of the photo from 0 to 1; boxes are in pixels of the upright, full-size photo" in message
    assert "where x and y are the centre, as YOLO writes them" in message
    assert message.endswith("(and so in 1 more row).")


def test_boxes_as_shares_in_photos_csv(tmp_path):
    root = general(tmp_path)
    table = pd.read_csv(root / "photos.csv", dtype=str)
    table.assign(box_x="0.1", box_y="0.2", box_w="0.3", box_h="0.4").to_csv(root / "photos.csv", index=False)
    message = told(read_data_set, root)
    assert "photos.csv row 2: the box is 0.3 wide" in message
    assert message.endswith("(and so in 5 more rows).")


# --- Codes beside the names of folders ---


def people_of(root, rows):
    """A contest's train part: (gender in the table, gender in the name, age in the table, age in the name)."""
    names = [f"{i:06}_{said}_Asian_{years}" for i, (_, said, _, years) in enumerate(rows)]
    table = [(name[:6], told, "Asian", age, name) for name, (told, _, age, _) in zip(names, rows, strict=True)]
    write_csv(root / "train/train.csv", [("id", "gender", "race", "age", "path"), *table])
    touch(*(root / "train/images" / name / f"{stem}.jpg" for name in names for stem in STEMS))
    return root


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1, "male", 20, 20), (0, "female", 20, 20)], "the gender of '000000_male_Asian_20' is female, but"),
        ([("1.0", "Male", 20, 20), ("0.0", "FEMALE", 20, 20)], "with 2 of 2 people: gender is male or female, or 0"),
        ([("female", "male", 20, 20)] * 3 + [("male", "male", 20, 20)], "with 3 of 4 people"),
        (
            [("male", "male", 0, 20), ("male", "male", 1, 45), ("male", "male", 2, 60)],
            "age is in years, not the number",
        ),
        ([("male", "male", 45, 20)] * 2 + [("male", "male", 20, 20)], "with 2 of 3 people: age is in years"),
    ],
)
def test_codes_the_wrong_way_round_are_refused(tmp_path, rows, says):
    message = told(read_data_set, people_of(tmp_path, rows))
    assert says in message
    assert "train/train.csv row 2: the" in message
    assert "\n" not in message


@pytest.mark.parametrize("differing", [1, 2])
def test_few_people_that_differ_are_counted_and_named(tmp_path, differing):
    rows = [("female", "male", 20, 20)] * differing + [("male", "male", 20, 20)] * (4 - differing)
    (note,) = read_data_set(people_of(tmp_path, rows)).notes
    what = "people whose gender in train/train.csv is not that in their folder's name, read as in the table"
    assert note.startswith(f"{what} ({differing}): '000000_male_Asian_20' is female in row 2")


@pytest.mark.parametrize(
    "names", [("kim", "lee"), ("000001", "000002"), ("a_woman_30x", "b_man_x40"), ("x-male-20", "y")]
)
def test_names_that_say_nothing_are_not_compared(tmp_path, names):
    write_csv(tmp_path / "train/train.csv", [("gender", "age", "path"), *(("male", 33, name) for name in names)])
    touch(*(tmp_path / "train/images" / name / f"{stem}.jpg" for name in names for stem in STEMS))
    assert read_data_set(tmp_path).notes == ()


@pytest.mark.parametrize("codes", [("1.0", "0.0"), ("1", "0"), ("1e0", "0."), ("+1", "0")])
def test_codes_with_decimals_are_the_codes(tmp_path, codes):
    root = people_of(tmp_path, [(codes[0], "female", 20, 20), (codes[1], "male", 20, 20)])
    assert read_data_set(root).train.groupby("person")["gender"].first().tolist() == [1, 0]


# --- A person at many ages ---


def test_a_persons_photos_may_be_years_apart(tmp_path):
    rows = [(f"{p}_{age}.jpg", f"p{p}", "none", "male", age, "train") for p in range(6) for age in (20, 34, 61)]
    write_csv(tmp_path / "photos.csv", [GENERAL, *rows])
    touch(*(tmp_path / row[0] for row in rows))
    write_csv(tmp_path / "fixes.csv", [("key", "column", "value"), ("0_34.jpg", "age", 35)])
    data = read_data_set(tmp_path, str(tmp_path / "fixes.csv"))
    assert sorted(data.train["age"].unique()) == [20, 34, 35, 61]
    folds = fold_table(data.train)
    assert folds["person"].tolist() == [f"p{p}" for p in range(6)]
    assert "two ages" in told(lambda root: read_data_set(root, str(tmp_path / "one.csv")), fixed_contest(tmp_path))


def fixed_contest(folder):
    write_csv(folder / "one.csv", [("key", "column", "value"), ("000001/normal", "age", 40)])
    return contest(folder / "contest")


def test_folds_go_by_the_median_age():
    def table(ages):
        rows = [(f"{p}/{i}", f"p{p:02}", 0, age) for p in range(20) for i, age in enumerate(ages(p))]
        columns = pd.DataFrame(rows, columns=["photo", "person", "gender", "age"])
        return columns.astype({"gender": "Int64", "age": "float64", "person": "string"})

    median = table(lambda p: [20.0] if p < 10 else [45.0])
    apart = table(lambda p: [45.0, 20.0, 1.0] if p < 10 else [20.0, 45.0, 70.0])
    pd.testing.assert_frame_equal(fold_table(apart), fold_table(median))
