"""Predictions pooled over a person, against sums by hand and a made-up world whose variances are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.errors import UserError
from models.labels import band, encode
from pipeline.combiner import combiners
from pipeline.combiner.person_combiner import PersonCombiner
from pipeline.combiner.persons import persons_of
from pipeline.combiner.pooling import Pooling, deal_alike, shapes_of, states_of
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.dataset.photo_names import folder_in_shard, folder_of
from pipeline.scoring.metrics import macro_f1

REAL = Path(__file__).parents[4] / "shared/predictions/portraits-lite0.csv"
MASK = np.full((3, 3), 0.02) + 0.94 * np.eye(3)
EVEN = (0.33, 0.33, 0.34)
"""An age mix that is given, for an estimate would take longer than all else."""
SEVEN = [0, 0, 0, 0, 0, 1, 2]
"""The mask states of a person's photos in the contest."""


def table(states, years, female, person=None, **more):
    """Predictions about photos of predicted mask states."""
    states = np.asarray(states)
    found = pd.DataFrame({"photo": [f"{n}.jpg" for n in range(len(states))], **more})
    found[["mask_worn", "mask_wrong", "mask_none"]] = MASK[states]
    found = found.assign(gender_female=np.asarray(female, float), age_years=np.asarray(years, float))
    return found if person is None else found.assign(person=person)


def world(people, seed=0, states=SEVEN, spread=(3.0, 6.0, 1.5)):
    """Validation rows of people whose predicted ages spread by mask state about an age that is off by person."""
    rng = np.random.default_rng(seed)
    n, state = people * len(states), np.tile(states, people)
    person = np.repeat(np.arange(people), len(states))
    age = rng.choice([22.0, 25.0, 40.0, 50.0, 60.0, 66.0], people)
    gender = rng.integers(0, 2, people)
    off = rng.normal(0, 7, people)
    years = (age + off)[person] + rng.normal(0, 1, n) * np.array(spread)[state]
    female = expit(rng.normal(np.where(gender[person] == 1, 1.2, -1.2), 1.5))
    rows = table(
        state, years, female, [f"P{p}" for p in person], fold=np.repeat(rng.integers(0, 5, people), len(states))
    )
    return rows.assign(mask=state, gender=gender[person], age=age[person])


def test_a_persons_gender_and_age_are_those_of_all_photos():
    pooling = Pooling(np.array([1.0, 4.0, 2.0]), 0.25)
    rows = table([0, 1, 2, 0], [20, 40, 30, 70], [0.9, 0.6, 0.2, 0.3])
    person, state = np.array([5, 5, 5, 9]), np.array([0, 1, 2, 0])
    found = pooling.pooled(rows, person, state)
    assert found["age_years"].tolist() == pytest.approx([(20 + 40 / 4 + 30 / 2) / (1 + 1 / 4 + 1 / 2)] * 3 + [70])
    odds = sum(logit(p) for p in (0.9, 0.6, 0.2)) / (1 + 2 * 0.25)
    assert found["gender_female"].tolist() == pytest.approx([expit(odds)] * 3 + [0.3])
    assert found[["photo", "mask_worn", "mask_wrong", "mask_none"]].equals(
        rows[["photo", "mask_worn", "mask_wrong", "mask_none"]]
    )


def test_folds_are_pooled_each_for_itself_and_blanks_count_for_nothing():
    pooling = Pooling(np.ones(3), 0.0)
    rows = table(
        [0] * 6, [20, 30, np.nan, 50, 60, np.nan], [0.9, np.nan, 0.6, np.nan, np.nan, np.nan], fold=[0, 0, 0, 1, 1, 1]
    )
    found = pooling.pooled(rows, np.zeros(6, int), np.zeros(6, int))
    assert found["age_years"].tolist() == pytest.approx([25, 25, 25, 55, 55, 55])
    odds = logit(0.9) + logit(0.6)
    assert found["gender_female"][:3].tolist() == pytest.approx([expit(odds)] * 3)
    assert found["gender_female"][3:].isna().all()


def test_the_variances_within_people_are_found():
    pooling = Pooling.fit(world(4000, spread=(3.0, 6.0, 1.5)))
    assert np.sqrt(pooling.variances) == pytest.approx([3.0, 6.0, 1.5], rel=0.15)


def test_few_photos_give_no_photo_a_weight_without_bounds():
    for seed in range(20):
        pooling = Pooling.fit(world(5, seed, spread=(3.0, 3.0, 3.0)))
        assert pooling.variances.max() / pooling.variances.min() < 40
    once = Pooling.fit(world(30, states=[0]))
    assert once.variances.tolist() == [1, 1, 1]
    assert once.correlation == 1


def test_log_odds_count_by_how_much_they_tell():
    """Independent photos add up; photos that say the same are one."""
    rng = np.random.default_rng(0)
    gender = rng.integers(0, 2, 3000)
    person = np.repeat(np.arange(3000), 4)
    own = rng.normal(np.where(gender == 1, 0.5, -0.5), 1)  # whose log-odds are itself
    apart = rng.normal(np.where(gender[person] == 1, 0.5, -0.5), 1)
    names = [str(p) for p in person]
    years = np.full(len(person), 30.0)

    def fitted(female):
        return Pooling.fit(
            table([0] * len(person), years, expit(female), names, gender=gender[person], age=30.0)
        ).correlation

    assert fitted(apart) < 0.05
    assert fitted(own[person]) > 0.9


def test_people_held_out_keep_as_many_photos_as_eval_people():
    rows = world(300)
    person, state = np.repeat(np.arange(300), 7), rows["mask"].to_numpy()
    for shape in ([1, 0, 0], [2, 0, 1], [5, 1, 1], [0, 0, 1]):
        kept = deal_alike(person, state, np.array([shape]))
        assert (shapes_of(person[kept], state[kept]) == shape).all()
    several = np.array([[1, 0, 0]] * 3 + [[5, 1, 1]])
    kept = deal_alike(person, state, several)
    sizes = np.bincount(person[kept])
    assert set(sizes) == {1, 7}
    assert (sizes == 1).mean() == pytest.approx(0.75, abs=0.08)


def test_a_person_who_lacks_a_mask_state_keeps_other_photos():
    assert deal_alike(np.zeros(4, int), np.zeros(4, int), np.array([[1, 1, 1]])).sum() == 3
    assert deal_alike(np.zeros(2, int), np.zeros(2, int), np.array([[5, 1, 1]])).tolist() == [True, True]


def test_photos_years_apart_have_an_age_each():
    """A person's gender stays; their ages do not, and pooled they would be wrong for all."""
    rows = world(100)
    rng = np.random.default_rng(5)
    rows["age"] = rng.choice([20.0, 35.0, 50.0, 68.0], len(rows))
    rows["age_years"] = rows["age"] + rng.normal(0, 3, len(rows))
    pooling = Pooling.fit(rows)
    assert not pooling.one_age
    assert Pooling.fit(world(100)).one_age
    once = world(2000, states=[0]).assign(person=lambda one: "once " + one["person"])
    assert not Pooling.fit(pd.concat([rows, once], ignore_index=True)).one_age  # people of one photo do not tell
    assert Pooling.fit(once).one_age
    person = pd.factorize(rows["person"])[0]
    found = pooling.pooled(rows, person, states_of(rows))
    assert found["age_years"].equals(rows["age_years"])
    assert found.groupby(["person", "fold"])["gender_female"].nunique().max() == 1
    eval, truth = evaluated(rows)
    made = PersonCombiner(prior=EVEN, draws=10).fit(rows, eval)
    scores = [macro_f1(truth, one.predict(eval)["label"].to_numpy()) for one in (made.alone_, made)]
    assert scores[1] > scores[0]
    assert "gender is decided for each of 100 eval people" in made.report()
    assert "ages are each photo's own, for people held out have photos at several ages" in made.report()


def test_who_is_whose():
    photos = pd.DataFrame({"photo": ["a/1", "a/2", "b/1", "c"], "person": ["x", None, "x", None]})
    assert persons_of(photos, "auto").tolist() == [0, 1, 0, 2]
    assert persons_of(photos, "folders").tolist() == [0, 0, 1, 2]
    assert persons_of(photos, "off") is None
    assert persons_of(photos[["photo"]], "auto") is None
    assert persons_of(photos.assign(person=["x", "y", None, "z"]), "auto") is None
    for nobody in (pd.NA, None, "", float("nan")):
        assert persons_of(photos.assign(person=nobody), "auto") is None
    named = pd.DataFrame({"photo": ["x", "b"], "person": [None, "x"]})
    assert persons_of(named, "auto") is None  # a photo's name is nobody's


@pytest.mark.parametrize(
    ("photos", "where"),
    [(["a.jpg", "b.jpg"], "lie in no folder"), (["eval/images/a.jpg", "eval/images/b.jpg"], "lie in eval/images")],
)
def test_no_folder_is_no_person(photos, where):
    with pytest.raises(
        UserError, match=f"^PEOPLE=folders .* all 2 eval photos {where}; bring a folder for each person"
    ):
        persons_of(pd.DataFrame({"photo": photos}), "folders")


def test_a_tar_is_nobodys_and_a_folder_called_like_one_is_somebodys():
    photos = ["x.tar/1.jpg", "x.tar/2.jpg", "x.tar/a/1.jpg", "y.tar/a/1.jpg", "y.tar/a/2.jpg"]
    table = pd.DataFrame({"photo": photos})
    assert persons_of(table, "folders in tars").tolist() == [0, 1, 2, 3, 3]
    assert persons_of(table, "folders").tolist() == [0, 0, 1, 2, 2]


def test_a_folder_is_one_however_its_name_is_written():
    photos = ["./anna/1.jpg", "anna/2.jpg", "x/../anna/3.jpg", "../anna/4.jpg", "../b/../anna/5.jpg", "./6.jpg"]
    assert persons_of(pd.DataFrame({"photo": photos}), "folders").tolist() == [0, 0, 0, 1, 1, 2]
    assert [folder_of(photo) for photo in photos] == ["anna", "anna", "anna", "../anna", "../anna", "."]
    tars = ["x.tar/anna/1.jpg", "in/y.TAR/anna/2.jpg", "in/y.TAR/3.jpg"]
    assert [folder_in_shard(photo) for photo in tars] == ["anna", "anna", "in/y.TAR"]


def test_one_folder_is_one_person():
    assert persons_of(pd.DataFrame({"photo": ["anna/1.jpg", "anna/2.jpg"]}), "folders").tolist() == [0, 0]


def evaluated(rows):
    """The predictions about photos, without their truth, and the truth."""
    truth = encode(rows["mask"], rows["gender"], band(rows["age"]))
    return rows.drop(columns=["mask", "gender", "age"]).assign(fold=0), truth


@pytest.fixture(scope="module")
def fitted():
    """A combiner of people, fitted once: it, what it was fitted on, and the truth of its eval photos."""
    validation, (eval, truth) = world(120), evaluated(world(120, seed=1))
    made = combiners.combiner_for(validation, EVEN, eval, "auto")
    made.draws = 20
    return made.fit(validation, eval, caveats=("leaky",)), validation, eval, truth


def test_a_combiner_of_people_gains_and_knows_it(fitted):
    people, validation, eval, truth = fitted
    assert isinstance(people, PersonCombiner)
    labels = people.predict(eval)
    assert labels.groupby(eval["person"])["gender"].nunique().max() == 1
    assert labels.groupby(eval["person"])["band"].nunique().max() == 1
    scores = [macro_f1(truth, one.predict(eval)["label"].to_numpy()) for one in (people.alone_, people)]
    assert scores[1] > scores[0] + 0.03
    expected = [one.report_["expected"]["macro_f1"] for one in (people.alone_, people)]
    assert expected[1] > expected[0] + 0.03
    assert people.report_["pooled"]["people"] == 120
    assert people.report_["photos_per_person"] == 7
    told = f"each of 120 eval people with several photos, 7 in the middle; photo by photo {expected[0]:.3f} is expected"
    assert f"gender and age are decided for {told}" in people.report()
    labelled = people.held_out_.merge(validation[["photo", "person"]], on="photo")
    assert labelled.groupby("person")["age_years"].nunique().max() == 1


def test_photos_alone_go_by_thresholds_of_photos(fitted):
    people, validation, eval, _ = fitted
    photos = ThresholdCombiner(prior=EVEN, draws=20).fit(validation, eval, caveats=("leaky",))
    assert people.alone_.report_ == photos.report_
    assert people.alone_.thresholds_ != people.thresholds_


def test_each_photo_somebody_elses_is_not_pooled():
    validation, (eval, _) = world(50), evaluated(world(20, seed=1))
    eval = eval.assign(person=[f"{n}" for n in range(len(eval))])
    assert isinstance(combiners.combiner_for(validation, "train", eval, "auto"), ThresholdCombiner)


def test_people_of_unequal_numbers_of_photos_count_as_fewer():
    """Where one of many people has most of the photos, the score is mostly theirs."""
    validation, (eval, _) = world(30), evaluated(world(30, seed=1))
    many = eval.assign(person=eval["person"].where(eval.index % 60 > 30, "P0"))
    made = PersonCombiner(prior=EVEN, draws=5).fit(validation, many)
    photos = many.groupby("person").size()
    assert made.report_["photos_per_person"] == pytest.approx((photos**2).sum() / photos.sum())


def test_it_is_written_and_read(fitted, tmp_path):
    made, _, eval, _ = fitted
    made.save(tmp_path / "combiner.json")
    again = combiners.load(tmp_path / "combiner.json")
    assert isinstance(again, PersonCombiner)
    assert again.report() == made.report()
    pd.testing.assert_frame_equal(again.predict(eval), made.predict(eval))
    alone = combiners.load_for_photos(tmp_path / "combiner.json")
    pd.testing.assert_frame_equal(alone.predict(eval), made.alone_.predict(eval))


def test_label_probabilities_are_not_pooled():
    joint = pd.DataFrame({"photo": ["a", "b"], "label_00": [0.5, 0.5]})
    assert not isinstance(combiners.combiner_for(joint, "train", joint.assign(person="x"), "auto"), PersonCombiner)
    with pytest.raises(UserError, match="this system predicts none; leave it out"):
        combiners.combiner_for(joint, "train", joint, "folders")


@pytest.mark.skipif(not REAL.is_file(), reason="no shared/predictions")
def test_real_predictions_gain():
    """Of 810 real people, a third of them labelled by what the others tell."""
    rows = pd.read_csv(REAL)
    people = np.random.default_rng(0).permutation(rows["person"].unique())
    ours = rows["person"].isin(people[:540])
    validation = rows[ours].reset_index(drop=True)
    eval, truth = evaluated(rows[~ours].reset_index(drop=True))
    made = PersonCombiner(prior=(0.474, 0.454, 0.072), draws=20).fit(validation, eval)
    scores = [macro_f1(truth, one.predict(eval)["label"].to_numpy()) for one in (made.alone_, made)]
    assert scores[1] > scores[0] + 0.01
    expected = [one.report_["expected"]["macro_f1"] for one in (made.alone_, made)]
    assert expected[1] > expected[0] + 0.01
    assert (states_of(rows) == rows["mask"]).mean() > 0.99
