"""The score by group against pandas and scikit-learn, and its intervals against people drawn again by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from models.labels import BANDS, GENDERS, MASKS, decode
from pipeline.scoring.bootstrap import resample_means
from pipeline.scoring.groups import COLUMNS, MOST, further_columns, group_table
from pipeline.scoring.reliability import wilson


def rows_of(people=60, photos=7, seed=0, named=True):
    """Labels of people with seven photos each, a third of them predicted at random."""
    rng = np.random.default_rng(seed)
    gender, band = rng.integers(0, 2, people), rng.integers(0, 3, people)
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], people)[: people * photos]
    label = mask * 6 + np.repeat(gender * 3 + band, photos)
    predicted = np.where(rng.random(len(label)) < 0.7, label, rng.integers(0, 18, len(label)))
    age = np.repeat(np.array([20.0, 40.0, 70.0])[band], photos)
    names = np.repeat([f"person {i}" for i in range(people)], photos)
    rows = pd.DataFrame({"photo": [f"{i}.jpg" for i in range(len(label))], "label": label, "predicted": predicted})
    rows = rows.assign(age=age, age_years=age + rng.normal(0, 5, len(age)))
    return rows.assign(person=names if named else pd.NA)


def test_each_group_is_what_scikit_learn_makes_of_its_photos():
    rows = rows_of()
    table = group_table(rows)
    assert table["by"].tolist() == ["all", *["mask"] * 3, *["gender"] * 2, *["age band"] * 3]
    assert table["group"].tolist() == ["all photos", *MASKS, *GENDERS, *BANDS]
    true = dict(zip(("mask", "gender", "age band"), decode(rows["label"]), strict=True))
    words = {"mask": MASKS, "gender": GENDERS, "age band": BANDS}
    for row in table.to_dict("records"):
        by = row["by"]
        inside = rows if by == "all" else rows[true[by] == words[by].index(row["group"])]
        assert row["photos"] == len(inside)
        assert row["people"] == inside["person"].nunique()
        assert row["right"] == pytest.approx(accuracy_score(inside["label"], inside["predicted"]))
        pieces = zip(("mask", "gender", "band"), decode(inside["label"]), decode(inside["predicted"]), strict=True)
        for name, a, b in pieces:
            assert row[f"right_{name}"] == pytest.approx(accuracy_score(a, b))
            assert row[f"right_{name}_low"] <= row[f"right_{name}"] <= row[f"right_{name}_high"]
        assert row["age_error"] == pytest.approx((inside["age_years"] - inside["age"]).abs().mean())
        labels = np.unique(inside["label"])
        expected = f1_score(inside["label"], inside["predicted"], labels=labels, average="macro", zero_division=0)
        assert row["macro_f1"] == pytest.approx(expected)
        assert row["labels"] == len(labels)


def test_people_are_drawn_again_and_not_photos():
    rows = rows_of(people=40, seed=1)
    rows["predicted"] = np.where(rows["person"].str.endswith(("1", "3")), (rows["label"] + 1) % 18, rows["label"])
    right = (rows["label"] == rows["predicted"]).to_numpy(float)
    drawn = resample_means(rows["label"], right[None], rows["person"], draws=4000, seed=1)[:, 0]
    rng = np.random.default_rng(5)
    people = rows.assign(right=right, kind=rows["label"] % 6).groupby("person")[["right", "kind"]].mean()
    by_hand = []
    for _ in range(4000):
        some = [
            group["right"].to_numpy()[rng.integers(0, len(group), len(group))] for _, group in people.groupby("kind")
        ]
        by_hand.append(np.concatenate(some).mean())
    assert drawn.mean() == pytest.approx(np.mean(by_hand), abs=0.005)
    assert drawn.std() == pytest.approx(np.std(by_hand), rel=0.05)
    photos = resample_means(rows["label"], right[None], None, 1.0, draws=4000, seed=1)[:, 0]
    assert photos.std() < 0.6 * drawn.std()
    as_people = resample_means(rows["label"], right[None], None, 7.0, draws=4000, seed=1)[:, 0]
    assert as_people.std() == pytest.approx(drawn.std(), rel=0.15)


def test_a_mean_of_nothing_is_nothing():
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    drawn = resample_means([0, 0, 0], values, ["a", "b", "c"], draws=200)
    assert np.isnan(drawn[:, 1]).all()
    finite = drawn[:, 0][np.isfinite(drawn[:, 0])]
    assert set(np.unique(finite)) <= {1.0, 1.5, 5 / 3, 2.0, 7 / 3, 2.5, 3.0}


def test_where_all_are_right_there_is_room_for_one_who_is_not():
    rows = rows_of(people=12)
    table = group_table(rows.assign(predicted=rows["label"]))
    assert (table["right"] == 1).all()
    assert (table["right_high"] == 1).all()
    low = dict(zip(table["group"], table["right_low"], strict=True))
    assert low["all photos"] == pytest.approx(wilson(1.0, 12)[0])
    assert low["male"] < low["all photos"]


def test_a_further_column_that_is_called_like_ours_stays_apart():
    rows = rows_of(people=20)
    further = {photo: {"gender": "xy"[i % 2]} for i, photo in enumerate(rows["photo"])}
    table = group_table(rows, further)
    assert table["group"][table["by"] == "gender"].tolist() == list(GENDERS)
    assert table["group"][table["by"] == "gender (column)"].tolist() == ["x", "y"]


def test_further_columns_make_groups_where_they_have_a_few_values():
    rows = rows_of(people=20)
    further = {
        photo: {"camera": "ab"[i % 2] if i else "", "day": str(i), "one": "x", "=\u202e<b>": "<i>" if i % 3 else "c"}
        for i, photo in enumerate(rows["photo"])
    }
    assert further_columns(rows["photo"], further) == ["camera", "=\u202e<b>"]
    table = group_table(rows, further)
    camera = table[table["by"] == "camera"].set_index("group")
    assert camera.index.tolist() == ["a", "b"]  # a blank is no group
    assert camera["photos"].tolist() == [69, 70]
    b = rows.iloc[1::2]
    assert camera["right"]["b"] == pytest.approx((b["label"] == b["predicted"]).mean())
    assert MOST == 12


def test_without_persons_and_ages_there_are_photos_alone():
    rows = rows_of(named=False).drop(columns=["age", "age_years"])
    table = group_table(rows, photos_per_person=7.0)
    assert list(table.columns) == list(COLUMNS)
    assert table["people"].isna().all()
    assert table["age_error"].isna().all()
    right, width = table["right"][0], table["right_high"][0] - table["right_low"][0]
    assert width == pytest.approx(2 * 1.96 * (right * (1 - right) / 60) ** 0.5, rel=0.25)  # 420 photos, as 60 people
