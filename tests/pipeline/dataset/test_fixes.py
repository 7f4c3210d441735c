"""Label fixes: what they reach, what they refuse, and what they say."""

import pandas as pd
import pytest
from small_data import contest, touch, write_csv

from models.errors import UserError
from pipeline.dataset.fixes import CONTEST, apply_fixes, id_token
from pipeline.dataset.photos import read_data_set

STEMS = {"mask1": 0, "incorrect_mask": 1, "normal": 2}
PEOPLE = ("000064_male_X_55", "000064_female_X_56", "001498_male_X_30", "001498-1_male_X_23", "solo")


def table(people=PEOPLE, stems=STEMS) -> pd.DataFrame:
    rows = [(f"train/images/{p}/{s}.jpg", p, m, int("female" in p), 40.0) for p in people for s, m in stems.items()]
    train = pd.DataFrame(rows, columns=["photo", "person", "mask", "gender", "age"])
    types = {"photo": "string", "person": "string", "mask": "Int64", "gender": "Int64"}
    return train.astype(types).sort_values("photo", ignore_index=True)


def fix(tmp_path, *rows, train=None):
    """Applies the fixes in a file of these rows; also checks that the table given stays as it was."""
    write_csv(tmp_path / "fixes.csv", [("key", "column", "value"), *rows])
    train = table() if train is None else train
    before = train.copy()
    try:
        return apply_fixes(train, str(tmp_path / "fixes.csv"))
    finally:
        pd.testing.assert_frame_equal(train, before)


def changed(fixed: pd.DataFrame, column: str) -> dict:
    """The labels of a column that differ from the table's, by photo without its first folders."""
    rows = fixed[column].ne(table()[column]).fillna(True)
    return dict(zip(fixed["photo"][rows].str.removeprefix("train/images/"), fixed[column][rows], strict=True))


def photos(person: str) -> list[str]:
    return [f"{person}/{stem}.jpg" for stem in sorted(STEMS)]


@pytest.mark.parametrize("key", ["001498-1", "001498-1_male_X_23"])
@pytest.mark.parametrize("value", ["female", " Female", "1"])
def test_an_id_or_a_person_is_fixed_whole_and_exactly(tmp_path, key, value):
    fixed, lines = fix(tmp_path, (key, "gender", value))
    assert changed(fixed, "gender") == dict.fromkeys(photos("001498-1_male_X_23"), 1)
    assert changed(fixed, "age") == changed(fixed, "mask") == {}
    assert lines == [f"fixed gender of '{key}' (3 photos): male -> female"]
    assert fixed.dtypes.equals(table().dtypes)


def test_a_base_id_does_not_reach_its_suffixed_one(tmp_path):
    fixed, lines = fix(tmp_path, ("001498", "age", "62.5"))
    assert changed(fixed, "age") == dict.fromkeys(photos("001498_male_X_30"), 62.5)
    assert lines == ["fixed age of '001498' (3 photos): 40 -> 62.5"]


@pytest.mark.parametrize(
    "key",
    [
        "001498/normal",
        "001498/normal.jpg",
        "001498_male_X_30/normal",
        "001498_male_X_30/normal.jpg",
        "train/images/001498_male_X_30/normal.jpg",
    ],
)
def test_one_photo(tmp_path, key):
    fixed, lines = fix(tmp_path, (key, "mask", "wrong"))
    assert changed(fixed, "mask") == {"001498_male_X_30/normal.jpg": 1}
    assert lines == [f"fixed mask of '{key}' (1 photo): none -> wrong"]


def test_a_swap_is_two_fixes(tmp_path):
    fixed, lines = fix(tmp_path, ("solo/normal", "mask", "1"), ("solo/incorrect_mask", "mask", "2"))
    assert changed(fixed, "mask") == {"solo/normal.jpg": 1, "solo/incorrect_mask.jpg": 2}
    assert len(lines) == 2


def test_missing_labels_can_be_given(tmp_path):
    train = table().assign(gender=pd.array([pd.NA] * 15, "Int64"), age=float("nan"))
    fixed, lines = fix(tmp_path, ("solo", "gender", "female"), ("solo", "age", "110"), train=train)
    assert fixed["gender"].dropna().tolist() == [1, 1, 1]
    assert fixed["age"].dropna().tolist() == [100, 100, 100]
    assert lines[0].endswith("unknown -> female")
    assert lines[1].endswith("unknown -> 100")


def test_a_whole_name_wins_over_an_id(tmp_path):
    train = table(("ann", "ann_2"))
    fixed, _ = fix(tmp_path, ("ann", "gender", "female"), train=train)
    assert set(fixed["person"][fixed["gender"] == 1]) == {"ann"}


def test_all_photos_of_a_person_one_by_one(tmp_path):
    fixed, lines = fix(tmp_path, *((f"solo/{stem}", "gender", "female") for stem in STEMS))
    assert changed(fixed, "gender") == dict.fromkeys(photos("solo"), 1)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("000065", "gender", "male")], "fixes.csv row 2: '000065' matches no train photo, person or id"),
        ([("00149", "gender", "male")], "'00149' matches no train photo"),
        ([("", "gender", "male")], "'' matches no train photo"),
        ([("/normal", "mask", "none")], "'/normal' matches no train photo"),
        ([("solo/", "mask", "none")], "'solo/' matches no train photo"),
        ([("solo/mask9", "mask", "none")], "'solo/mask9' matches no train photo"),
        (
            [("000064", "age", "5")],
            "'000064' matches 2 people ('000064_female_X_56', '000064_male_X_55'); write the",
        ),
        ([("000064/normal", "mask", "none")], "'000064/normal' matches 2 people"),
        ([("solo", "mask", "none")], "row 2: a mask fix needs one photo; write 'solo/<photo>'"),
        ([("001498", "mask", "none")], "row 2: a mask fix needs one photo; write '001498/<photo>'"),
        ([("solo", "race", "x")], "row 2: column 'race' is none of mask, gender, age"),
        ([("solo", "gender", "mail")], "row 2: gender 'mail' is none of male, female"),
        ([("solo", "age", "121")], "row 2: age 121 is impossible"),
        ([("solo", "age", " ")], "row 2: the new age of 'solo' is blank"),
        (
            [("solo", "age", 5), ("solo", "age", 6)],
            "row 3: the age of 'solo' is already fixed by fixes.csv row 2",
        ),
        (
            [("solo/normal", "gender", "female")],
            "'solo' would have two genders; make the person the key of the fix",
        ),
        ([("solo/normal", "age", "9")], "'solo' would have two ages"),
        ([("solo", "age")], "fixes.csv row 2 has 2 cells, but the header has 3"),
        ([], "fixes.csv holds no fix"),
    ],
)
def test_refused(tmp_path, rows, says):
    with pytest.raises(UserError) as error:
        fix(tmp_path, *rows)
    message = str(error.value)
    assert says in message
    assert message.startswith(f"The fixes '{tmp_path}/fixes.csv' cannot be used: ")
    assert "\n" not in message


def test_a_stem_of_two_photos_is_refused(tmp_path):
    train = table(("solo",)).assign(photo=pd.array(["a/x.jpg", "b/x.png", "b/y.png"], "string"))
    with pytest.raises(UserError, match="'solo/x' matches 2 photos; write the whole path"):
        fix(tmp_path, ("solo/x", "mask", "none"), train=train)
    fixed, _ = fix(tmp_path, ("solo/x.png", "mask", "none"), train=train)
    assert fixed["mask"].tolist() == [1, 2, 2]


def test_all_refusals_are_listed(tmp_path):
    with pytest.raises(UserError) as error:
        fix(tmp_path, *((f"x{i}", "age", 1) for i in range(12)))
    assert "12 problems" in str(error.value)
    assert str(error.value).count("matches no") == 10
    assert str(error.value).endswith("  and 2 more")


def test_a_missing_file_or_column(tmp_path):
    with pytest.raises(UserError, match=r"away\.csv is missing"):
        apply_fixes(table(), str(tmp_path / "away.csv"))
    write_csv(tmp_path / "f.csv", [("id", "column", "value")])
    with pytest.raises(UserError, match=r"f\.csv lacks the column key"):
        apply_fixes(table(), str(tmp_path / "f.csv"))


def test_the_contest_fixes():
    men = ["006359", "006360", "006361", "006362", "006363", "006364", "001720"]
    women, swapped = ["001498-1", "004432", "005223"], ["000020", "004418", "005227"]
    people = [f"{t}_female_A_20" for t in men] + [f"{t}_male_A_20" for t in women] + [f"{t}_male_A_20" for t in swapped]
    train = table((*people, "001498_male_A_20", "0063591_female_A_20"))
    fixed, lines = apply_fixes(train, "contest")
    assert len(lines) == len(CONTEST) == 16
    now = fixed.assign(token=fixed["person"].map(id_token), stem=fixed["photo"].str.extract(r"(\w+)\.jpg$")[0])
    gender = now.groupby("token")["gender"].agg(["min", "max"])
    assert (gender["min"] == gender["max"]).all()
    assert gender["min"].to_dict() == dict.fromkeys(men, 0) | dict.fromkeys(women, 1) | dict.fromkeys(swapped, 0) | {
        "001498": 0,
        "0063591": 1,
    }
    mask = now.set_index(["token", "stem"])["mask"]
    for token in now["token"].unique():
        wrong, none = (2, 1) if token in swapped else (1, 2)
        assert mask[token].to_dict() == {"mask1": 0, "incorrect_mask": wrong, "normal": none}


def test_the_contest_fixes_are_refused_elsewhere():
    with pytest.raises(UserError, match=r"^Fixes contest, for the contest's own photos, cannot be used"):
        apply_fixes(table(), "contest")


def test_fixes_are_applied_and_told_at_reading(tmp_path):
    root = contest(tmp_path / "data")
    write_csv(tmp_path / "fixes.csv", [("key", "column", "value"), ("000001", "gender", "male")])
    assert read_data_set(root).train["gender"].sum() == 7
    data = read_data_set(root, fixes=str(tmp_path / "fixes.csv"))
    assert data.train["gender"].sum() == 0
    assert data.notes == ("fixed gender of '000001' (7 photos): female -> male",)
    touch(tmp_path / "empty.csv")
    with pytest.raises(UserError, match=r"empty\.csv is empty; it needs the columns key, column, value"):
        read_data_set(root, fixes=tmp_path / "empty.csv")
