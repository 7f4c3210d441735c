"""The combiner as an estimator: what it learns, what it refuses, and what it writes."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from models.errors import UserError
from pipeline.combiner import combiners, prior_estimate
from pipeline.combiner.report import expected_line, report
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.tables import COLUMNS, average_folds, by_network
from pipeline.scoring.metrics import macro_f1

AGES = ((18, 30), (30, 60), (60, 61))


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """Fewer sets of one's own people: what is tried here is what is made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_estimate, "SETS", 30)
        yield


def people(rng, counts, prefix="v", folds=1):
    """A validation table (or, with several folds, eval answers beside the truth, a row per fold)."""
    age = np.concatenate([rng.integers(*span, n) for span, n in zip(AGES, counts, strict=True)]).astype(float)
    person = np.repeat(np.arange(len(age)), 7)
    n = len(person)
    gender = rng.integers(0, 2, len(age))[person]
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], len(age))
    predicted = 6 + 0.85 * age[person] + rng.normal(0, 4, len(age))[person]
    tables = []
    for fold in range(folds):
        masks = rng.dirichlet(np.ones(3), n) * 0.3
        masks[np.arange(n), mask] += 0.7
        female = np.clip(np.where(gender == 1, 0.8, 0.2) + rng.normal(0, 0.15, n), 0, 1)
        tables.append(
            pd.DataFrame(
                {
                    "photo": [f"{prefix}{i}.jpg" for i in range(n)],
                    "person": [f"{prefix}{p}" for p in person],
                    "fold": fold if folds > 1 else person % 5,
                    "mask": mask,
                    "gender": gender,
                    "age": age[person],
                    **dict(zip(COLUMNS[:3], masks.T, strict=True)),
                    "gender_female": female,
                    "age_years": predicted + rng.normal(0, 3, n),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    return people(rng, (150, 150, 60)), people(rng, (40, 30, 50), "e", folds=2)


@pytest.fixture(scope="module")
def fitted(tables):
    return ThresholdCombiner(draws=40).fit(*tables)


def truth_of(table):
    once = table.drop_duplicates("photo")
    return once["mask"] * 6 + once["gender"] * 3 + (once["age"] >= 30) + (once["age"] >= 60)


def test_predict_fuses_the_mean_of_the_folds_in_order_of_appearance(fitted, tables):
    predictions = fitted.predict(tables[1])
    assert list(predictions["photo"]) == list(dict.fromkeys(tables[1]["photo"]))
    means = tables[1].groupby("photo", sort=False)[list(COLUMNS)].mean().reset_index()
    mask = means[list(COLUMNS[:3])].to_numpy().argmax(1)
    band = np.digitize(means["age_years"], fitted.thresholds_)
    assert np.array_equal(predictions["label"], mask * 6 + (means["gender_female"] > 0.5) * 3 + band)
    assert np.array_equal(predictions["band"], band)
    assert set(COLUMNS) <= set(predictions.columns)


def test_the_estimated_mix_scores_above_the_train_mix_and_30_60(fitted, tables):
    truth = truth_of(tables[1])
    scores = {"estimate": macro_f1(truth, fitted.predict(tables[1])["label"])}
    plain = fitted.predict(tables[1])
    scores["30/60"] = macro_f1(truth, plain["label"] // 3 * 3 + np.digitize(plain["age_years"], [30, 60]))
    train = ThresholdCombiner(prior="train", draws=40).fit(*tables)
    scores["train"] = macro_f1(truth, train.predict(tables[1])["label"])
    assert scores["estimate"] > scores["train"] - 0.005
    assert scores["estimate"] > scores["30/60"] + 0.02
    assert fitted.prior_ == pytest.approx(np.array([40, 30, 50]) / 120, abs=0.1)
    low, high = fitted.report_["expected"]["interval"]
    assert low - 0.02 < scores["estimate"] < high + 0.02


def test_clone_params_and_json_round_trip(fitted, tables, tmp_path):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "thresholds_")
    fitted.save(tmp_path / "combiner.json")
    loaded = combiners.load(tmp_path / "combiner.json")
    pd.testing.assert_frame_equal(loaded.predict(tables[1]), fitted.predict(tables[1]))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.to_dict() == fitted.to_dict()
    assert [p.name for p in tmp_path.iterdir()] == ["combiner.json"]
    assert again.fit(*tables).to_dict() == fitted.to_dict(), "a seed is all the luck there is"
    given = ThresholdCombiner(prior=(0.2, 0.3, 0.5), bandwidth=0.0, draws=5).fit(tables[0])
    assert ThresholdCombiner.from_dict(given.to_dict()).get_params() == given.get_params()


def test_the_report_tells_what_it_was_fitted_on(fitted, tables):
    told = fitted.report_
    assert told["people"] == 360
    assert told["photos"] == len(tables[0])
    assert told["people_by_band"] == [150, 150, 60]
    assert told["folds"] == 5
    assert told["age_mix"]["kind"] == "estimate"
    text = report(told)
    assert expected_line(told) in text
    assert "used: estimated" in text
    for weighting in ("train", "eval"):
        for name in ("plain", "in_sample", "cross_fitted"):
            metric = told["scores"][weighting][name]
            assert metric["interval"][0] < metric["macro_f1"] < metric["interval"][1]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_marks_and_notes_that_are_handed_in_stand_in_the_report(tables):
    notes, marks = ("the validation scores are optimistic: so it goes",), ("optimistic", "leaky")
    plain, told = (
        ThresholdCombiner(prior="train", draws=20).fit(*tables, **given).report_
        for given in ({}, {"notes": notes, "caveats": marks})
    )
    assert told["notes"] == [*notes, *plain["notes"]]
    assert (plain["caveats"], told["caveats"], told["expected"]["caveats"]) == ([], list(marks), list(marks))
    assert "caveats" not in plain["expected"]
    assert expected_line(told) == f"{expected_line(plain)} (optimistic, leaky)"
    assert f"note: {notes[0]}" in report(told)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_a_given_mix_is_used_and_the_expected_score_follows(tables):
    combiner = ThresholdCombiner(prior=(1 / 3, 0.25, 1 - 1 / 3 - 0.25), draws=40).fit(*tables)
    assert combiner.prior_ == pytest.approx([1 / 3, 0.25, 5 / 12])
    score = macro_f1(truth_of(tables[1]), combiner.predict(tables[1])["label"])
    low, high = combiner.report_["expected"]["interval"]
    assert low - 0.02 < score < high + 0.02


def test_people_who_lie_in_several_folds(tables):
    """As of a run split by photo: people are resampled whole, and eval photos count by the train figure."""
    validation, eval = tables
    torn = validation.assign(fold=np.arange(len(validation)) % 5)
    told = ThresholdCombiner(draws=40).fit(torn, eval).report_
    whole = ThresholdCombiner(draws=40).fit(validation, eval).report_
    assert told == whole
    some = torn[torn["fold"] == 0]
    few = ThresholdCombiner(draws=40, prior="train").fit(some, eval, photos_per_person=7.0)
    assert few.report_["people"] == some["person"].nunique()
    assert few.report_["photos_per_person"] == 7.0
    assert few.report_["folds"] == 1
    spread = []
    for count in (None, 7.0):
        low, high = (
            ThresholdCombiner(draws=40, prior="train")
            .fit(some, eval, photos_per_person=count)
            .report_["expected"]["interval"]
        )
        spread.append(high - low)
    assert spread[1] > spread[0]  # 120 eval people, not as many as there are photos


def test_few_people_in_a_band_fall_back_and_say_so(tables):
    few = people(np.random.default_rng(1), (60, 60, 5))
    combiner = ThresholdCombiner(draws=20).fit(few, tables[1])
    told = combiner.report_
    assert told["age_mix"]["kind"] == "train"
    assert any("with only 5 validation people 60 and over" in note and "FOLDS=all" in note for note in told["notes"])
    assert any("where not all are trained" in note for note in told["notes"])  # they may be
    assert told["age_mix"]["tried"] is None
    assert told["shrinkage"] == pytest.approx([5 / 65, 0.5])
    assert any("upper threshold is drawn 50%" in note for note in told["notes"])
    assert not any("lower threshold" in note for note in told["notes"])
    estimated = ThresholdCombiner(prior="estimate", draws=20).fit(few, tables[1])
    assert estimated.report_["age_mix"]["kind"] == "estimate"


@pytest.mark.parametrize(("step", "gain"), [(0.0, -0.004), (0.5, 0.02), (1.0, 0.03)])
def test_an_estimate_is_used_as_far_as_it_gained_on_ones_own_people(tables, monkeypatch, step, gain):
    monkeypatch.setattr("pipeline.combiner.self_test.SelfTest.step", step)
    monkeypatch.setattr("pipeline.combiner.self_test.SelfTest.gains", np.full((9, 3), gain))
    told = ThresholdCombiner(draws=20, bandwidth=2.0).fit(*tables).report_
    prior = {name: np.array(told["age_mix"][name]) for name in ("train", "used", "estimate")}
    np.testing.assert_allclose(prior["used"], prior["train"] + step * (prior["estimate"] - prior["train"]))
    assert told["age_mix"]["kind"] == ("estimate" if step else "train")
    (note,) = [note for note in told["notes"] if "on your own people" in note]
    told_as = (
        f"{'gained' if gain > 0 else 'lost'} {abs(gain):.3f} macro-F1 (give or take 0.000) against the train age mix"
    )
    assert told_as in note
    assert told["age_mix"]["tried"]["gains"] == pytest.approx([gain, gain])
    assert any("not used" in note for note in told["notes"]) == (step == 0)
    lines = report(told).splitlines()
    assert sum("95 % interval of it" in line for line in lines) == 1  # masks are as in train
    assert any(line.startswith("  estimated ") for line in lines) == (step < 1)
    assert any("used: toward the estimate" in line for line in lines) == (step == 0.5)
    assert any("used: estimated" in line for line in lines) == (step == 1)
    assert any("over all age mixes that the eval photos leave possible" in line for line in lines)
    insists = ThresholdCombiner("estimate", draws=20, bandwidth=2.0).fit(*tables).report_["age_mix"]
    np.testing.assert_allclose(insists["used"], insists["estimate"])


def test_few_eval_photos_tell_no_mix(tables):
    validation, eval = tables
    for people, kind in ((1 / 7, "train"), (29, "train"), (30, "tried")):
        photos = eval["photo"].unique()[: round(7 * people)]
        told = ThresholdCombiner(draws=20, bandwidth=2.0).fit(validation, eval[eval["photo"].isin(photos)]).report_
        assert told["age_mix"]["kind"] == "train" or people >= 30
        notes = [note for note in told["notes"] if "the eval photos count as only" in note]
        assert len(notes) == (kind == "train")
        assert not any("FOLDS" in note for note in notes), "more folds are of no help"
    one = eval[eval["photo"] == photos[0]]
    assert (
        ThresholdCombiner("estimate", draws=20, bandwidth=2.0).fit(validation, one).report_["age_mix"]["kind"]
        == "estimate"
    )


@pytest.mark.parametrize("old", [1, 2, 3])
def test_a_band_of_one_or_two_people_gives_no_interval(tables, tmp_path, old):
    validation = people(np.random.default_rng(3), (40, 30, old))
    combiner = ThresholdCombiner(draws=20, bandwidth=2.0).fit(validation, tables[1])
    told = combiner.report_
    assert (told["expected"]["interval"] is None) == (old < 3)
    assert any("the expected score has no interval" in note for note in told["notes"]) == (old < 3)
    assert ("(no interval)" in expected_line(told)) == (old < 3)
    assert expected_line(told) in report(told)
    combiner.save(tmp_path / "combiner.json")
    assert combiners.load(tmp_path / "combiner.json").report() == combiner.report()
    young = ThresholdCombiner((0.6, 0.4, 0.0), draws=20, bandwidth=2.0).fit(validation, tables[1]).report_
    assert young["expected"]["interval"] is not None, "a band that does not count needs nobody"


def test_answers_unlike_any_mix_are_calibrated_for_the_train_mix_by_default(tables):
    rng = np.random.default_rng(2)
    elsewhere = people(rng, (40, 90, 50), "e")
    middle = elsewhere["age"].between(30, 59)
    elsewhere.loc[middle, "age_years"] = 38.0  # narrower than people of any ages are seen
    told = {
        prior: ThresholdCombiner(prior=prior, draws=30).fit(tables[0], elsewhere).report_
        for prior in ("auto", "estimate")
    }
    assert told["auto"]["age_mix"]["unlike"]
    assert told["auto"]["age_mix"]["kind"] == "train"
    assert told["auto"]["age_mix"]["used"] == pytest.approx(told["auto"]["age_mix"]["train"])
    for one in told.values():
        assert any("unlike your validation people in any age mix" in note for note in one["notes"])
    assert any("not used" in note for note in told["auto"]["notes"])
    (line,) = [line for line in report(told["auto"]).splitlines() if line.startswith("  estimated ")]
    assert not any("on your own people" in note for note in told["auto"]["notes"]), "it would contradict"
    assert f"{told['auto']['age_mix']['estimate'][1]:.1%}" in line
    assert told["estimate"]["age_mix"]["kind"] == "estimate"


def test_mask_states_of_a_street_are_estimated_told_and_calibrated_for(tables):
    rng = np.random.default_rng(6)
    validation, eval = tables[0], people(rng, (60, 60, 40), "e")
    stays = np.where(eval["mask"] == 0, 0.2, np.where(eval["mask"] == 1, 0.1, 1.0))
    street = eval[rng.random(len(eval)) < stays]
    truth = np.bincount(street["mask"], minlength=3) / len(street)
    photos = len(street) / 160
    for prior in ("auto", (0.4, 0.3, 0.3)):
        combiner = ThresholdCombiner(prior, draws=30).fit(validation, street, photos_per_person=photos)
        mix = combiner.report_["mask_states"]
        assert mix["kind"] == "estimate"
        np.testing.assert_allclose(mix["used"], truth, atol=0.02)
        np.testing.assert_allclose(mix["train"], [5 / 7, 1 / 7, 1 / 7])
        assert all(low <= share <= high for (low, high), share in zip(mix["interval"], truth, strict=True))
        lines = report(combiner.report_).splitlines()
        assert any(line.startswith("mask states") for line in lines)
        second = combiner.report_["expected"]["second"]
        assert any("by how often each label was predicted" in line for line in lines)
        assert second["interval"][0] < second["macro_f1"] < second["interval"][1]
    train = ThresholdCombiner("train", draws=30).fit(validation, street, photos_per_person=photos).report_
    assert train["mask_states"] is None
    as_given = ThresholdCombiner((0.4, 0.3, 0.3), draws=30).fit(validation, eval).report_
    assert as_given["mask_states"]["kind"] == "train"
    assert as_given["mask_states"]["used"] == as_given["mask_states"]["train"]
    assert any("as in train" in line for line in report(as_given).splitlines())


def test_the_expected_score_is_that_of_the_mask_states_there(tables, monkeypatch):
    rng = np.random.default_rng(7)
    validation = tables[0].copy()  # of this network masks worn wrong are seen as worn right, half the time
    eval, expected = people(rng, (90, 90, 60), "e"), {}
    for table in (validation, eval):
        taken = table.index[(table["mask"] == 1) & (rng.random(len(table)) < 0.5)]
        table.loc[taken, list(COLUMNS[:3])] = [0.8, 0.1, 0.1]
    wrong = eval[(eval["mask"] == 1) | (rng.random(len(eval)) < 0.2)]
    for name in ("estimated", "as in train"):
        combiner = ThresholdCombiner((0.375, 0.375, 0.25), draws=30).fit(
            validation, wrong, photos_per_person=len(wrong) / 240
        )
        reached = macro_f1(truth_of(wrong), combiner.predict(wrong)["label"])
        expected[name] = [one["macro_f1"] - reached for one in both_of(combiner)]
        monkeypatch.setattr("pipeline.combiner.threshold_combiner.masks_of", lambda *given: None)
    assert abs(expected["estimated"][0]) < 0.03 < abs(expected["as in train"][0])
    assert abs(expected["estimated"][1]) < 0.03


def both_of(combiner):
    expected = combiner.report_["expected"]
    return expected, expected["second"]


@pytest.mark.parametrize("state", [0, 2])
def test_a_street_of_one_mask_state_is_expected_to_score_as_it_does(tables, state):
    rng = np.random.default_rng(8)
    eval = people(rng, (150, 150, 100), "e")
    alike = eval[eval["mask"] == state]
    combiner = ThresholdCombiner((0.375, 0.375, 0.25), draws=30).fit(
        tables[0], alike, photos_per_person=len(alike) / 400
    )
    reached = macro_f1(truth_of(alike), combiner.predict(alike)["label"])
    for told in both_of(combiner):
        assert told["macro_f1"] == pytest.approx(reached, abs=0.04)
        assert told["interval"][0] <= reached <= told["interval"][1]
    mix = np.array(combiner.report_["mask_states"]["used"])
    np.testing.assert_array_equal(mix, np.eye(3)[state])
    held_out = combiner.held_out_.merge(tables[0][["photo", "mask"]], on="photo")
    assert (held_out["weight"][held_out["mask"] != state] == 0).all()


def test_two_opinions_far_apart_are_told(tables, monkeypatch):
    second = {"macro_f1": 0.123, "interval": [0.1, 0.15]}
    monkeypatch.setattr("pipeline.combiner.summary.second_opinion", lambda *given: second)
    told = ThresholdCombiner("train", draws=20).fit(*tables).report_
    assert any("0.123 (0.100 to 0.150) is to be expected" in note for note in told["notes"])


def test_without_eval_answers_the_train_mix_is_used_and_said(tables):
    combiner = ThresholdCombiner(draws=10).fit(tables[0])
    assert combiner.report_["age_mix"]["kind"] == "train"
    assert combiner.report_["expected"] is None
    assert "no eval predictions" in combiner.report_["notes"][0]
    with pytest.raises(UserError, match="run predict"):
        ThresholdCombiner(prior="estimate").fit(tables[0])


def test_incomplete_rows_are_dropped_and_counted(tables):
    validation = tables[0].copy()
    validation["age"] = validation["age"].where(validation.index % 100 != 0)
    validation.loc[validation.index % 100 == 1, "gender_female"] = np.nan
    combiner = ThresholdCombiner(prior="train", draws=5).fit(validation)
    gone = validation.index.isin(range(0, len(validation), 100)) | (validation.index % 100 == 1)
    assert combiner.report_["dropped"] == gone.sum()
    assert combiner.report_["photos"] == len(validation) - gone.sum()


def test_the_labels_of_people_held_out_are_those_that_were_scored(fitted, tables):
    held_out, scores = fitted.held_out_, fitted.report_["scores"]["train"]
    assert held_out["photo"].tolist() == tables[0]["photo"].tolist()
    assert np.array_equal(held_out["label"], truth_of(tables[0]))
    for name in ("plain", "cross_fitted"):
        assert macro_f1(held_out["label"], held_out[name]) == scores[name]["macro_f1"]
    assert np.array_equal(held_out["plain"] // 3, held_out["cross_fitted"] // 3)  # thresholds move bands alone


def test_folds_average_over_what_each_specialist_gave(tables):
    table = tables[1].copy()
    table.loc[table["fold"] == 1, "gender_female"] = np.nan
    means = average_folds(table).set_index("photo")
    first = table[table["fold"] == 0].set_index("photo")
    assert np.allclose(means["gender_female"], first["gender_female"].loc[means.index])
    assert np.allclose(means["age_years"], table.groupby("photo")["age_years"].mean().loc[means.index])
    predicted, gender, _ = by_network(table)
    assert predicted.shape == gender.shape == (len(means), 2)
    assert np.array_equal(gender[:, 1], gender[:, 0]), "a fold without a gender answer takes the photo's mean"
    table["gender_female"] = np.nan
    with pytest.raises(UserError, match="no prediction of gender_female in any fold"):
        average_folds(table)


def change(column, value, row=3):
    def apply(table):
        table = table.copy()
        table.loc[table.index[row], column] = value
        return table

    return apply


BAD = {
    "a missing column": (lambda t: t.drop(columns="age_years"), "lack the column age_years"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "a photo twice": (lambda t: pd.concat([t, t.iloc[:1]]), "more than once"),
    "an infinite age": (change("age_years", np.inf), "infinite"),
    "a probability above one": (change("gender_female", 1.2), "outside 0 to 1, first at"),
    "masks that do not sum to one": (change("mask_worn", 0.0), "do not sum to one, first at"),
    "words": (lambda t: t.assign(age_years="old"), "not a number"),
    "two engines": (lambda t: t.assign(engine=["torch", "openvino"] * (len(t) // 2)), "different engines"),
    "no complete row": (lambda t: t.assign(age_years=np.nan), "no prediction of age_years|train the same fold"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_sentence(name, tables):
    spoil, message = BAD[name]
    for table in ("validation", "eval"):
        broken = [spoil(t) if which == table else t for which, t in zip(("validation", "eval"), tables, strict=True)]
        with pytest.raises(UserError, match=message) as error:
            ThresholdCombiner(draws=5).fit(*broken)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ((0.5, 0.6, -0.1), "negative"),
        ((0.5, 0.3, 0.3), "sum to 1.1, not to one"),
        ((0.5, 0.5), "three shares"),
        ((0.5, 0.5, float("nan")), "not a number"),
        ("eval", "not 'eval'"),
    ],
)
def test_bad_priors_are_refused(prior, message, tables):
    with pytest.raises(UserError, match=message):
        ThresholdCombiner(prior=prior).fit(*tables)


def test_what_cannot_be_used_is_named(tables):
    table = tables[0]
    with pytest.raises(UserError, match="a mask other than"):
        ThresholdCombiner(prior="train").fit(table.assign(mask=3))
    with pytest.raises(UserError, match="bandwidth"):
        ThresholdCombiner(bandwidth=-1).fit(table)


def test_other_files_are_refused(fitted, tmp_path):
    content = fitted.to_dict()
    for key, value, message in (("version", 99, "of version 99"), ("task", "cats", "another task")):
        with pytest.raises(UserError, match=message):
            ThresholdCombiner.from_dict(content | {key: value})
    path = tmp_path / "combiner.json"
    fitted.save(path)
    path.write_text(path.read_text().replace('"thresholds"', '"threshold"'))
    with pytest.raises(UserError, match=r"combiner\.json is damaged"):
        combiners.load(path)
