"""Folds by person: everyone once, strata and sizes even, and nothing but data and split_seed decides."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from models.errors import UserError
from models.labels import band
from pipeline.dataset.folds import FOLDS, fold_table, folds_of, photo_fold_table, with_folds
from pipeline.dataset.photos import read_data_set
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage

FACES = Path(__file__).parents[3] / "../shared/faces"
CONTEST = {(0, 25): 549, (0, 45): 410, (0, 60): 83, (1, 25): 732, (1, 45): 817, (1, 60): 109}
"""People of the contest by gender and band (an age in it)."""


def people(counts: dict, photos: int = 1) -> pd.DataFrame:
    """A photo table with so many people of each (gender, age), None where unknown."""
    each = [label for label, count in counts.items() for _ in range(count)]
    rows = [(f"p{i:05}/{j}.jpg", f"p{i:05}", g, a) for i, (g, a) in enumerate(each) for j in range(photos)]
    table = pd.DataFrame(rows, columns=["photo", "person", "gender", "age"])
    return table.astype({"photo": "string", "person": "string", "gender": "Int64", "age": "float64"})


def strata(photos: pd.DataFrame) -> pd.Series:
    """gender x band of each person in words, "unknown" where either is missing."""
    first = photos.groupby("person")[["gender", "age"]].first()
    return first.apply(
        lambda p: "unknown" if p.isna().any() else f"{int(p['gender'])} {int(band(float(p['age'])))}", axis=1
    )


def check(photos: pd.DataFrame, table: pd.DataFrame, folds: int = FOLDS) -> None:
    assert list(table) == ["person", "fold"]
    assert table["person"].tolist() == sorted(set(photos["person"]))
    sizes = np.bincount(table["fold"], minlength=folds)
    assert len(sizes) == folds
    assert np.ptp(sizes) <= 1
    counts = pd.crosstab(table["person"].map(strata(photos)), table["fold"]).reindex(columns=range(folds), fill_value=0)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


def test_the_contest():
    photos = people(CONTEST)
    table = fold_table(photos)
    check(photos, table)
    assert np.bincount(table["fold"]).tolist() == [540] * 5
    assert table.dtypes.astype(str).tolist() == ["string", "int64"]
    # The reference: scikit-learn, stratifying the same table of people.
    label = strata(photos)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(len(label)), label)
    reference = sorted(tuple(label.iloc[rows].value_counts().sort_index()) for _, rows in split)
    ours = table.groupby("fold")["person"].agg(lambda names: tuple(label[names].value_counts().sort_index()))
    assert sorted(map(sum, ours)) == sorted(map(sum, reference))
    assert np.abs(np.array(sorted(ours)) - np.array(reference)).max() <= 1


def test_only_data_and_split_seed_decide():
    photos = people({(0, 25): 40, (1, 61): 30, (None, 20): 5}, photos=3)
    table = fold_table(photos, split_seed=3)
    for state in range(3):
        shuffled = photos.sample(frac=1, random_state=state)
        pd.testing.assert_frame_equal(fold_table(shuffled, split_seed=3), table)
    np.random.seed(1)
    pd.testing.assert_frame_equal(fold_table(photos.assign(mask=1, race="x"), split_seed=3), table)
    others = [fold_table(photos, split_seed=seed)["fold"] for seed in (0, 1, 2)]
    assert all((other != table["fold"]).mean() > 0.5 for other in others)
    assert (others[0] != others[1]).mean() > 0.5


def test_the_split_of_today_is_the_split_of_tomorrow():
    """Runs are resumed with the fold table of their first day: a change here breaks them."""
    assert fold_table(people({(0, 25): 6, (1, 45): 6}))["fold"].tolist() == PINNED


PINNED = [1, 4, 3, 2, 0, 0, 3, 1, 0, 2, 1, 4]


def test_folds_do_not_follow_the_names():
    table = fold_table(people({(0, 25): 500}))
    chance = np.corrcoef(table.index, table["fold"])[0, 1]
    assert abs(chance) < 0.15
    pairs = (table["fold"].to_numpy()[1:] == table["fold"].to_numpy()[:-1]).mean()
    assert 0.12 < pairs < 0.28  # neighbours share a fold one time in five


@given(
    counts=st.dictionaries(
        st.tuples(st.sampled_from([0, 1, None]), st.sampled_from([18.0, 30.0, 59.9, 60.0, None])),
        st.integers(0, 9),
        min_size=1,
    ),
    seed=st.integers(-3, 10**12),
    folds=st.integers(2, 6),
)
@settings(max_examples=40, deadline=None)
def test_small_strata_neither_warn_nor_fail(counts, seed, folds):
    photos = people(counts)
    if sum(counts.values()) < folds:
        with pytest.raises(UserError, match="train people or more"):
            fold_table(photos, seed, folds)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fold_table(photos, seed, folds)
    check(photos, table, folds)


def test_a_person_with_some_blank_rows_keeps_the_known_labels():
    photos = people({(0, 25): 20, (1, 60): 20}, photos=2)
    table = fold_table(photos)
    holes = photos.copy()
    holes.loc[::2, ["gender", "age"]] = pd.NA
    pd.testing.assert_frame_equal(fold_table(holes), table)


def test_too_few_people():
    with pytest.raises(UserError, match=r"^5 folds need 5 train people or more, but there are 4\.$"):
        fold_table(people({(0, 25): 4}))
    with pytest.raises(UserError, match="needs at least 2"):
        fold_table(people({(0, 25): 4}), folds=1)


@pytest.mark.skipif(not FACES.is_dir(), reason="needs ../shared/faces")
def test_faces():
    train = read_data_set(FACES).train
    table = fold_table(train)
    check(train, table)
    assert len(table) == 357
    fold_of = train["photo"].map(
        dict(zip(train["photo"], train["person"].map(table.set_index("person")["fold"]), strict=True))
    )
    assert fold_of.groupby(train["person"]).nunique().eq(1).all()


# ---------------------------------------------------------------------------------------- split by photo


def shots(counts: dict) -> pd.DataFrame:
    """The photo table of people who each show the contest's seven: five masks worn right, one wrong, one none."""
    table = people(counts, photos=7)
    return table.assign(mask=pd.array([0, 0, 0, 0, 0, 1, 2] * (len(table) // 7), "Int64"))


def photo_strata(photos: pd.DataFrame) -> pd.Series:
    """mask, gender and band of each photo in words."""
    mask = photos["mask"].astype("object").where(photos["mask"].notna(), "unknown").astype(str)
    return mask + " " + photos["person"].map(strata(photos))


def check_photos(photos: pd.DataFrame, table: pd.DataFrame, folds: int) -> None:
    assert list(table) == ["photo", "fold"]
    assert table["photo"].tolist() == sorted(photos["photo"])
    sizes = np.bincount(table["fold"], minlength=folds)
    assert len(sizes) == folds
    assert np.ptp(sizes) <= 1
    fold = photos["photo"].map(table.set_index("photo")["fold"])
    counts = pd.crosstab(photo_strata(photos), fold).reindex(columns=range(folds), fill_value=0)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


@pytest.mark.parametrize("folds", [5, 10, 20])
def test_photos_are_dealt_out_evenly_by_mask_gender_and_band(folds):
    photos = shots({(0, 25): 31, (0, 60): 4, (1, 45): 27, (None, 30): 3})
    photos.loc[photos.index % 11 == 0, "mask"] = pd.NA
    table = photo_fold_table(photos, 2, folds)
    assert table.dtypes.astype(str).tolist() == ["string", "int64"]
    check_photos(photos, table, folds)


def test_a_split_by_photo_tears_people_apart():
    photos = shots(CONTEST)
    table = photo_fold_table(photos)
    check_photos(photos, table, FOLDS)
    assert np.bincount(table["fold"]).tolist() == [540 * 7] * 5
    label = photo_strata(photos)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(len(label)), label)
    reference = sorted(tuple(label.iloc[rows].value_counts().sort_index()) for _, rows in split)
    placed = photos.assign(kind=label).merge(table, on="photo")
    ours = placed.groupby("fold")["kind"].agg(lambda kinds: tuple(kinds.value_counts().sort_index()))
    assert np.abs(np.array(sorted(ours)) - np.array(reference)).max() <= 1
    # Dealt out at random, a person's seven photos lie in 5 x (1 - 0.8^7) folds on average.
    assert placed.groupby("person")["fold"].nunique().mean() == pytest.approx(5 * (1 - 0.8**7), abs=0.1)


def test_only_photos_their_labels_and_split_seed_decide_a_split_by_photo():
    photos = shots({(0, 25): 12, (1, 61): 9})
    table = photo_fold_table(photos, split_seed=3)
    for state in range(3):
        pd.testing.assert_frame_equal(photo_fold_table(photos.sample(frac=1, random_state=state), 3), table)
    assert (photo_fold_table(photos, 4)["fold"] != table["fold"]).mean() > 0.5
    assert photo_fold_table(shots({(0, 25): 1, (1, 61): 1}))["fold"].tolist() == PINNED_PHOTOS


PINNED_PHOTOS = [3, 2, 1, 0, 4, 0, 1, 1, 0, 3, 2, 4, 2, 3]


def test_fewer_photos_than_folds():
    with pytest.raises(UserError, match=r"^10 folds need 10 train photos or more, but there are 7\.$"):
        photo_fold_table(shots({(0, 25): 1}), folds=10)


@pytest.mark.parametrize(("split", "made"), [("person", fold_table), ("photo", photo_fold_table)])
@pytest.mark.parametrize(("share", "folds"), [(0.2, 5), (0.1, 10), (0.05, 20)])
def test_the_rows_of_a_run_get_their_folds_as_it_is_split(tmp_path, split, made, share, folds):
    photos = shots({(0, 25): 20, (1, 45): 15})
    run = open_run(RunStage.of(run=tmp_path, split=split, held_out=share, split_seed=7))
    table = folds_of(run, photos)
    pd.testing.assert_frame_equal(table, made(photos, 7, folds))
    some = photos.iloc[::3]
    rows = with_folds(some, table)
    assert rows["photo"].tolist() == some["photo"].tolist()
    assert rows["fold"].tolist() == some[split].map(table.set_index(split)["fold"]).tolist()
    assert set(table["fold"]) == set(range(folds))
