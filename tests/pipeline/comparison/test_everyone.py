"""All people judged together, against sums by hand and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from models.labels import decode
from pipeline.comparison.everyone import everyone
from pipeline.comparison.outcomes import Outcome
from pipeline.comparison.report import EVERYONE, comparison_table, comparison_text

PEOPLE, PHOTOS, FOLDS = 40, 3, 2


@pytest.fixture
def people() -> pd.DataFrame:
    """Photo, person and label of all people; the first half are train people."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(PEOPLE), PHOTOS)
    label = rng.integers(0, 6, PEOPLE)[person] + 6 * np.tile(np.arange(PHOTOS), PEOPLE)
    return pd.DataFrame(
        {"photo": [f"{i}.jpg" for i in range(len(person))], "person": [f"p{i}" for i in person], "label": label}
    )


@pytest.fixture
def train(people) -> pd.DataFrame:
    return people.iloc[: PEOPLE * PHOTOS // 2]


@pytest.fixture
def truth(people, train) -> pd.DataFrame:
    return people.iloc[len(train) :].reset_index(drop=True).assign(age=40.0)


@pytest.fixture
def outcomes(train, truth) -> list[Outcome]:
    rng, made = np.random.default_rng(1), []
    for system, right in (("specialists", 0.8), ("joint", 0.5)):
        for fold in range(FOLDS):
            labels = np.where(rng.random(len(truth)) < right, truth["label"], rng.integers(0, 18, len(truth)))
            own = train.iloc[fold::FOLDS].sample(frac=1, random_state=fold)  # in whatever order
            held_out = np.where(rng.random(len(own)) < right, own["label"], rng.integers(0, 18, len(own)))
            answers = pd.Series(held_out, index=own["photo"])
            made.append(Outcome(system, fold, 0.5, labels, None, answers, flops=1e12, seconds=1.0))
    return made


def by_hand(outcomes, train, truth, system) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted labels and weights."""
    some = [one for one in outcomes if one.system == system]
    at = train.set_index("photo")["label"]
    y = np.concatenate([*(at[one.held_out.index] for one in some), *[truth["label"]] * len(some)])
    p = np.concatenate([*(one.held_out for one in some), *(one.labels for one in some)])
    weight = np.concatenate([np.ones(len(train)), np.full(len(truth) * len(some), 1 / len(some))])
    return y, p, weight


def test_train_people_count_once_and_eval_people_as_much_over_all_replicates(outcomes, train, truth):
    found = everyone(outcomes, train, truth)
    assert found.people == PEOPLE
    assert found.weight.sum() == pytest.approx(PEOPLE * PHOTOS)
    for system in ("specialists", "joint"):
        y, p, weight = by_hand(outcomes, train, truth, system)
        wanted = f1_score(y, p, labels=np.unique(y), average="macro", sample_weight=weight, zero_division=0)
        assert found.macro_f1(system) == pytest.approx(wanted)


def test_people_are_drawn_again_whole_and_alike_for_all_systems(outcomes, train, truth):
    twin = [Outcome("twin", one.replicate, 0.5, one.labels, None, one.held_out) for one in outcomes[:FOLDS]]
    drawn = everyone([*outcomes, *twin], train, truth).resampled(200)
    assert np.array_equal(drawn["specialists"], drawn["twin"])


def test_people_vary_more_than_their_photos_would_one_by_one(train, truth):
    def labels(rows: pd.DataFrame) -> pd.Series:  # every third person wrong in all their photos
        wrong = rows["person"].str[1:].astype(int) % 3 == 0
        return (rows["label"] + 3 * wrong).mod(18).set_axis(rows["photo"])

    one = [Outcome("specialists", 0, 0.5, labels(truth).to_numpy(), None, labels(train))]
    together, apart = everyone(one, train, truth), everyone(one, train.assign(person=train["photo"]), truth)
    assert together.resampled(500)["specialists"].std() > 1.1 * apart.resampled(500)["specialists"].std()


def test_a_row_for_everyone_stands_beside_those_of_the_eval_photos(outcomes, train, truth):
    whole = everyone(outcomes, train, truth)
    found = comparison_table(outcomes, truth, 3.0, 300, whole).set_index(["system", "replicate"])
    row, base = found.loc["joint", EVERYONE], found.loc["specialists", EVERYONE]
    drawn = whole.resampled(300)
    assert row["macro_f1"] == pytest.approx(whole.macro_f1("joint"))
    assert row["difference"] == pytest.approx(whole.macro_f1("joint") - whole.macro_f1("specialists"))
    ends = np.quantile(drawn["joint"] - drawn["specialists"], [0.025, 0.975])
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(ends)
    assert np.isnan(base["difference"])
    y, p, weight = by_hand(outcomes, train, truth, "joint")
    for attribute, a, b in zip(("mask", "gender", "band"), decode(y), decode(p), strict=True):
        assert row[f"accuracy_{attribute}"] == pytest.approx(((a == b) * weight).sum() / weight.sum())
    assert row["correct"] == pytest.approx(((y == p) * weight).sum())
    assert row["people"] == PEOPLE
    told = comparison_text(found.reset_index(), "about")
    assert f"macro-F1, {PEOPLE} people" in told
    assert "train people, among them, chose sizes" in told
    assert "nan" not in told


def test_without_a_truth_or_names_of_eval_people_train_people_alone_are_judged(outcomes, train, truth):
    for told in (None, truth.assign(person=pd.NA)):
        found = everyone(outcomes, train, told)
        assert found.people == PEOPLE // 2
        assert found.weight.sum() == len(train)


def test_a_photo_that_one_system_could_not_answer_is_left_out_for_all(outcomes, train, truth):
    lost = outcomes[0].held_out.index[0]
    outcomes[0] = Outcome("specialists", 0, 0.5, outcomes[0].labels, None, outcomes[0].held_out.drop(lost))
    found = everyone(outcomes, train, truth)
    assert found.weight.sum() == pytest.approx(PEOPLE * PHOTOS - 1)


def test_replicates_of_one_fold_and_labels_without_calibration_make_no_whole(outcomes, train, truth):
    again = Outcome("specialists", 1, 0.5, outcomes[0].labels, None, outcomes[0].held_out)
    assert everyone([outcomes[0], again], train, truth) is None
    assert everyone([Outcome("joint-by-photo", 0, 0.5, outcomes[0].labels)], train, truth) is None
