"""Corrected chances, held to brute force, to a mix that is known, and to answers that need no correction."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from models.errors import UserError
from models.labels import LABELS, band, by_gender_first, class_of_label, encode
from pipeline.combiner import combiners, prior_estimate
from pipeline.combiner.class_prior import bands_of, factors, with_bands
from pipeline.combiner.expected_score import centre_of, expected_interval, expected_scores
from pipeline.combiner.label_combiner import LabelCombiner
from pipeline.combiner.offsets import OFFSETS, best_offsets, with_offsets
from pipeline.combiner.threshold_choice import prior_of_eval
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction import label_tables
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.scoring.bootstrap import person_weights
from pipeline.scoring.metrics import macro_f1

PHOTOS = (0, 0, 0, 0, 0, 1, 2)


def people_of(count, shares, seed):
    """Labels of people with 7 photos each: a table with mask, gender, age."""
    rng = np.random.default_rng(seed)
    bands = rng.choice(3, count, p=shares)
    ages = np.array([rng.integers(18, 30, count), rng.integers(30, 60, count), rng.integers(60, 80, count)])
    person = np.repeat(np.arange(count), len(PHOTOS))
    return pd.DataFrame({
        "photo": [f"{p:04d}/{k}.jpg" for p in range(count) for k in range(len(PHOTOS))],
        "person": [f"p{p}" for p in person],
        "fold": 0,
        "mask": np.tile(PHOTOS, count),
        "gender": rng.integers(0, 2, count)[person],
        "age": ages[bands, np.arange(count)][person].astype(float),
    })  # fmt: skip


def shares_of(table):
    """(2, 3) the shares of gender x band."""
    kind = table["gender"] * 3 + band(table["age"])
    return np.bincount(kind, minlength=6).reshape(2, 3) / len(table)


def answered(table, learned, seed, sharp=1.0):
    """The Bayes-optimal chances of labels where gender x band has the shares learned (2, 3), raised to `sharp`.

    What is seen of a photo is its cell, right in 95 of 100, and a number around its band.
    """
    rng = np.random.default_rng(seed)
    b = band(table["age"])
    feature = b + rng.normal(0, 0.6, len(b))
    density = np.exp(-0.5 * ((feature[:, None] - np.arange(3)) / 0.6) ** 2)
    true = table["mask"] * 2 + table["gender"]
    predicted = np.where(
        rng.random(len(b)) < 0.95, true, (true + rng.integers(1, 6, len(b))) % 6
    )  # as sure as it is right
    mask = np.bincount(table["mask"], minlength=3) / len(b)
    cells = np.full((len(b), 6), 0.01)
    cells[np.arange(len(b)), predicted] = 0.95
    seen = cells.reshape(-1, 3, 2, 1) * density[:, None, None]
    probabilities = (seen * mask[:, None, None] * learned).reshape(-1, LABELS)
    probabilities = (probabilities / probabilities.sum(1, keepdims=True)) ** sharp
    probabilities /= probabilities.sum(1, keepdims=True)
    return table.assign(**{name: probabilities[:, k] for k, name in enumerate(label_tables.LABEL_COLUMNS)})


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """Fewer sets of one's own people: what is tried here is what is made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_estimate, "SETS", 30)
        yield


TRAIN, EVAL = (0.47, 0.45, 0.08), (0.42, 0.28, 0.30)


@pytest.fixture(scope="module")
def tables():
    validation = people_of(500, TRAIN, 0)
    learned = shares_of(validation)  # folds are stratified
    return answered(validation, learned, 1), answered(people_of(400, EVAL, 2), learned, 3)


@pytest.fixture(scope="module")
def fitted(tables):
    """Fitted to them for the train mix; tests must not change it."""
    return LabelCombiner("train").fit(*tables)


def truth_of(table):
    return encode(table["mask"], table["gender"], band(table["age"]))


def test_the_mix_is_recovered_and_correcting_for_it_gains(tables, fitted):
    validation, evaluation = tables
    estimated = LabelCombiner("estimate").fit(validation, evaluation)
    found = np.array(estimated.report_["age_mix"]["used"])
    actual = np.bincount(band(evaluation["age"]), minlength=3) / len(evaluation)
    np.testing.assert_allclose(found, actual, atol=0.04)
    scores = {
        name: f1_score(truth_of(evaluation), one.predict(evaluation)["label"], average="macro")
        for name, one in (("estimated", estimated), ("train", fitted))
    }
    plain = f1_score(truth_of(evaluation), label_tables.probabilities_of(evaluation).argmax(1), average="macro")
    assert scores["estimated"] > plain + 0.03
    assert scores["estimated"] > scores["train"] + 0.01
    low, high = estimated.report_["expected"]["interval"]
    assert low < scores["estimated"] < high


def test_the_labels_of_people_held_out_are_those_that_were_scored(tables, fitted):
    held_out, scores = fitted.held_out_, fitted.report_["scores"]["train"]
    assert held_out["photo"].tolist() == tables[0]["photo"].tolist()
    assert np.array_equal(held_out["label"], truth_of(tables[0]))
    for name in ("plain", "cross_fitted"):
        assert macro_f1(held_out["label"], held_out[name]) == scores[name]["macro_f1"]
    assert np.array_equal(held_out["plain"], label_tables.probabilities_of(tables[0]).argmax(1))


def test_a_network_that_learned_from_another_mix_is_corrected_too(tables):
    """As with --sampling balanced: every gender x band was as common."""
    found = {}
    for name, learned in (("natural", shares_of(tables[0])), ("balanced", np.full((2, 3), 1 / 6))):
        validation, evaluation = (answered(table, learned, seed) for seed, table in enumerate(tables, 7))
        made = LabelCombiner("estimate").fit(validation, evaluation)
        actual = np.bincount(band(evaluation["age"]), minlength=3) / len(evaluation)
        np.testing.assert_allclose(made.report_["age_mix"]["used"], actual, atol=0.06)
        found[name] = f1_score(truth_of(evaluation), made.predict(evaluation)["label"], average="macro")
    assert found["balanced"] > found["natural"] - 0.02


def test_a_class_without_validation_people_is_still_answered(tables):
    """A fold of few people may hold no old man."""
    people = people_of(100, TRAIN, 2)
    old_men = (people["gender"] == 0) & (band(people["age"]) == 2)
    assert 1 <= people["person"][old_men].nunique() <= 4
    validation = answered(people, shares_of(people), 3)[~old_men]
    truth = truth_of(tables[1])
    there = truth % 6 == 2
    found = LabelCombiner("train").fit(validation, tables[1]).predict(tables[1])["label"].to_numpy()
    assert (found[there] == truth[there]).mean() > 0.2


def test_offsets_of_few_people_are_drawn_to_none(tables):
    people = people_of(71, (0.07, 0.5, 0.43), 4)
    few = answered(people, shares_of(people), 5)
    made = LabelCombiner("train").fit(few, tables[1])
    counts = made.report_["people_by_band"]
    shrinkages = [5 / (n + 5) for n in (min(counts[:2]), min(counts[1:]))]
    assert made.report_["shrinkage"] == pytest.approx(shrinkages)
    scores, label = made._scores(label_tables.probabilities_of(few)), truth_of(few)
    whole = best_offsets(scores, label, np.ones(len(label)))
    assert made.offsets_ == pytest.approx([(1 - p) * o for p, o in zip(shrinkages, whole, strict=True)])
    assert f"offset of the young is drawn {shrinkages[0]:.0%} of the way to 0" in made.report()


def test_offsets_are_the_best_of_all_pairs():
    rng = np.random.default_rng(1)
    scores, label = np.log(rng.dirichlet(np.full(LABELS, 0.4), 400)), rng.integers(0, LABELS, 400)
    scores[np.arange(400), label] += 2.0
    scores.reshape(400, 6, 3)[:, :, 0] += 1.2  # the young are answered too often
    weights = rng.uniform(0.5, 2.0, 400)

    def score(offsets):
        return f1_score(label, with_offsets(scores, offsets), sample_weight=weights, average="macro")

    young, old = best_offsets(scores, label, weights)
    assert -2.0 < young < -0.5
    every = max(score((a, b)) for a in OFFSETS[::2] for b in OFFSETS[::2])
    assert score((young, old)) > every - 0.02
    assert score((young, old)) > score((0.0, 0.0)) + 0.03


def test_offsets_move_bands_alone():
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(LABELS), 50))
    assert (with_offsets(scores, (0.0, 0.0)) == scores.argmax(1)).all()
    assert (with_offsets(scores, (100.0, 0.0)) % 3 == 0).all()
    assert (with_offsets(scores, (0.0, 100.0)) % 3 == 2).all()


def test_a_given_mix_is_used_as_it_is(tables):
    validation, evaluation = tables
    made = LabelCombiner((0.2, 0.3, 0.5), draws=20).fit(validation, evaluation)
    np.testing.assert_allclose(made.report_["age_mix"]["used"], (0.2, 0.3, 0.5))
    # all that a mix may do is multiply
    rows = label_tables.probabilities_of(validation)
    times = factors(made.shares_, made.train_)[class_of_label(np.arange(LABELS))]
    np.testing.assert_allclose(np.exp(made._scores(rows)), np.exp(made.calibration_.log(rows)) * times)


def test_few_people_in_a_band_mean_the_train_mix(tables):
    _, evaluation = tables
    people = stratified((30, 30, 5), 8)
    few = answered(people, shares_of(people), 9)
    made = LabelCombiner(draws=20).fit(few, evaluation)
    assert made.report_["age_mix"]["kind"] == "train"
    assert "with only 5 validation people 60 and over" in made.report_["notes"][0]
    assert LabelCombiner("estimate", draws=20).fit(few, evaluation).report_["age_mix"]["kind"] == "estimate"
    assert "no eval predictions" in LabelCombiner(draws=20).fit(few).report_["notes"][0]
    with pytest.raises(UserError, match="there are none: run predict"):
        LabelCombiner("estimate").fit(few)


def test_few_eval_photos_mean_the_train_mix(tables):
    validation, evaluation = tables
    made = LabelCombiner(draws=20).fit(validation, evaluation[:21])
    assert made.report_["age_mix"]["kind"] == "train"
    assert any("the eval photos count as only 3 people" in note for note in made.report_["notes"])
    asked = LabelCombiner("estimate", draws=20).fit(validation, evaluation[:21])
    assert asked.report_["age_mix"]["kind"] == "estimate"


def test_the_genders_inside_a_band_are_the_train_peoples(tables):
    made = LabelCombiner().fit(*tables)
    shares, train = (prior.reshape(3, 2) for prior in (made.shares_, made.train_))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), train / train.sum(1, keepdims=True))
    prior = made.report_["age_mix"]
    assert prior["kind"] == "estimate"
    low, high = np.array(prior["interval"]).T
    actual = np.bincount(band(tables[1]["age"]), minlength=3) / len(tables[1])
    assert ((low < actual) & (actual < high)).all()
    assert any("on your own people" in note and "gained" in note for note in made.report_["notes"])


def test_the_expected_age_grows_with_older_bands():
    probabilities = np.full((3, LABELS), 1e-9)
    for row in range(3):
        probabilities[row, row::3] = 1 / 6
    np.testing.assert_allclose(label_tables.expected_age(probabilities), label_tables.YEARS, atol=1e-5)
    one, other = (answered(people_of(5, TRAIN, 0), np.full((2, 3), 1 / 6), seed) for seed in (1, 2))
    age, gender = label_tables.by_network(pd.concat([one, other[7:].assign(fold=3)]))
    assert age.shape == gender.shape == (35, 2)
    probabilities = label_tables.probabilities_of(one)
    np.testing.assert_allclose(age[:, 0], label_tables.expected_age(probabilities))
    assert np.array_equal(gender[:, 0], probabilities.argmax(1) // 3 % 2)
    assert np.isnan(age[:7, 1]).all()
    np.testing.assert_allclose(age[7:, 1], label_tables.expected_age(label_tables.probabilities_of(other))[7:])


def stratified(counts, seed):
    """People with so many in each band, as a fold has them."""
    people = people_of(20 * sum(counts), (0.34, 0.33, 0.33), seed)
    bands = band(people["age"][::7].to_numpy())
    some = np.concatenate([np.flatnonzero(bands == b)[:n] for b, n in enumerate(counts)])
    return people.iloc[(some[:, None] * 7 + np.arange(7)).ravel()].reset_index(drop=True)


def test_the_score_to_expect_runs_over_the_mixes_that_are_possible(tables):
    few = answered(stratified((30, 30, 8), 11), np.full((2, 3), 1 / 6), 12)
    made = LabelCombiner("train").fit(few, tables[1])
    rows, probabilities = label_tables.labelled_probabilities(few)
    held = made._cross_fitted(rows, probabilities, np.ones(len(rows.label)), np.array(made.report_["shrinkage"]))
    guess = prior_of_eval(rows, EvalPredictions(*label_tables.by_network(tables[1]), 7.0))
    possible = with_bands(bands_of(guess.draws), made.train_)
    expected = made.report_["expected"]
    assert expected["macro_f1"] == pytest.approx(centre_of(rows, held, possible))
    assert expected["macro_f1"] != pytest.approx(centre_of(rows, held, made.shares_[None]), abs=1e-3)
    again = expected_scores(
        rows, held, possible, person_weights(by_gender_first(rows.kind), 200, np.random.default_rng(0)), 400
    )
    interval = expected_interval(expected["macro_f1"], again, rows, possible.mean(0))
    assert expected["interval"] == pytest.approx(interval)
    reached = f1_score(truth_of(tables[1]), made.predict(tables[1])["label"], average="macro")
    assert interval[0] < reached < interval[1]


@pytest.mark.parametrize(("counts", "told"), [((30, 30, 1), "1 validation person is"), ((30, 30, 2), "2 validation")])
def test_a_band_of_one_or_two_people_gives_no_interval(tables, tmp_path, counts, told):
    few = stratified(counts, 13)
    made = LabelCombiner("train").fit(answered(few, shares_of(few) + 0.01, 14), tables[1])
    assert made.report_["expected"]["interval"] is None
    assert any("no interval" in note and told in note and "60 and over" in note for note in made.report_["notes"])
    assert "(no interval)" in made.report()
    made.save(tmp_path / "combiner.json")
    assert combiners.load(tmp_path / "combiner.json").report() == made.report()


def test_what_is_saved_answers_the_same(tables, tmp_path):
    validation, evaluation = tables
    made = combiners.combiner_for(validation, "auto").fit(
        validation, evaluation, caveats=("leaky",), notes=("take care",)
    )
    assert isinstance(made, LabelCombiner)
    made.save(tmp_path / "combiner.json")
    again = combiners.load(tmp_path / "combiner.json")
    pd.testing.assert_frame_equal(again.predict(evaluation), made.predict(evaluation))
    assert again.report() == made.report()
    assert made.report().count("(leaky)") == 2
    assert "note: take care" in made.report()
    with pytest.raises(UserError, match="version 9"):
        LabelCombiner.from_dict({"task": "face18: mask x gender x age band", "version": 9})
    assert isinstance(combiners.combiner_for(pd.DataFrame(columns=["photo", "age_years"]), "auto"), ThresholdCombiner)


def test_folds_are_averaged_and_order_kept(tables, fitted):
    _, evaluation = tables
    other = evaluation.assign(fold=1, **{c: evaluation[c].to_numpy()[::-1] for c in label_tables.LABEL_COLUMNS})
    both = fitted.predict(pd.concat([evaluation, other]))
    assert both["photo"].tolist() == evaluation["photo"].tolist()
    mean = evaluation.copy()
    for column in label_tables.LABEL_COLUMNS:
        mean[column] = (evaluation[column].to_numpy() + other[column].to_numpy()) / 2
    assert both["label"].tolist() == fitted.predict(mean)["label"].tolist()


def test_heads_by_attribute_are_multiplied():
    table = pd.DataFrame({
        "photo": ["a"], "mask_worn": [0.7], "mask_wrong": [0.2], "mask_none": [0.1], "gender_female": [0.4],
        "band_0": [0.5], "band_1": [0.3], "band_2": [0.2],
    })  # fmt: skip
    assert label_tables.holds_probabilities(table)
    probabilities = label_tables.probabilities_of(table)[0]
    for mask, gender, b in itertools.product(range(3), range(2), range(3)):
        expected = (0.7, 0.2, 0.1)[mask] * (0.6, 0.4)[gender] * (0.5, 0.3, 0.2)[b]
        assert probabilities[encode(mask, gender, b)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label_03": 1.5}, "no probabilities"),
        ({"label_03": -0.1}, "no probabilities"),
        ({"label_03": "x"}, "not a number"),
    ],
)
def test_chances_that_are_none(tables, change, told):
    with pytest.raises(UserError, match=told):
        label_tables.probabilities_of(tables[0].assign(**change))
    with pytest.raises(UserError, match="lack the column label_07"):
        label_tables.probabilities_of(tables[0].drop(columns="label_07"))


def test_the_likeliest_label_of_one_head_or_of_three():
    rng = np.random.default_rng(2)
    one = pd.DataFrame(rng.random((50, LABELS)), columns=list(label_tables.LABEL_COLUMNS))
    assert np.array_equal(label_tables.probabilities_of(one).argmax(1), one.to_numpy().argmax(1))
    names = ["mask_worn", "mask_wrong", "mask_none", "gender_female", *label_tables.BAND_COLUMNS]
    three = pd.DataFrame(rng.random((50, 7)), columns=names)
    for label, (_, row) in zip(label_tables.probabilities_of(three).argmax(1), three.iterrows(), strict=True):
        assert label // 6 == row[names[:3]].to_numpy().argmax()
        assert (label // 3 % 2 == 1) == (row["gender_female"] > 0.5)
        assert label % 3 == row[names[4:]].to_numpy().argmax()
