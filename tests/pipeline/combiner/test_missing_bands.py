"""Bands without people: what can be fitted is, the rest falls back, and it is said what that rests on."""

import numpy as np
import pytest
from test_label_combiner import answered, people_of, shares_of
from test_threshold_combiner import people

from models.labels import BANDS, band
from pipeline.combiner import combiners, prior_estimate
from pipeline.combiner.class_prior import with_bands
from pipeline.combiner.label_combiner import LabelCombiner
from pipeline.combiner.report import expected_line
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.scoring.thresholds import crossings, fallback_of

MISSING = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
COUNTS = (40, 40, 20)


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_estimate, "SETS", 10)
        yield


@pytest.fixture(scope="module")
def eval_photos():
    return people(np.random.default_rng(2), (20, 15, 15), "e", folds=2)


def without(missing):
    return people(np.random.default_rng(1), [0 if b in missing else n for b, n in enumerate(COUNTS)])


@pytest.mark.parametrize("missing", MISSING, ids=str)
def test_a_threshold_with_nobody_on_one_side_is_the_bands_own_age(missing, eval_photos, tmp_path):
    made = ThresholdCombiner(draws=20).fit(without(missing), eval_photos)
    beside = ((0, 1), (1, 2))
    for threshold, plain, bands in zip(made.thresholds_, (30.0, 60.0), beside, strict=True):
        assert (threshold == plain) is bool(set(bands) & set(missing))
    said = f"no validation person is {' or '.join(BANDS[b] for b in missing)}"
    assert said in made.report_["caveats"]
    (note,) = [note for note in made.report_["notes"] if note.startswith(f"{said}: ")]
    for threshold, plain, bands in zip(("lower", "upper"), (30, 60), beside, strict=True):
        assert (f"the {threshold} threshold is {plain}" in note) is bool(set(bands) & set(missing))
    assert "FOLDS=all" in note
    assert said in expected_line(made.report_)
    assert made.report().splitlines()[-1].startswith("note: ")
    made.save(tmp_path / "combiner.json")
    labels = combiners.load(tmp_path / "combiner.json").predict(eval_photos)["label"]
    assert len(labels) == eval_photos["photo"].nunique()
    assert labels.between(0, 17).all()


@pytest.mark.parametrize("missing", MISSING, ids=str)
def test_an_offset_with_nobody_on_one_side_is_none(missing, tmp_path):
    shares = np.array([0.0 if b in missing else 1.0 for b in range(3)])
    table, evaluation = people_of(60, shares / shares.sum(), 3), people_of(40, [0.4, 0.3, 0.3], 4)
    learned = np.maximum(shares_of(evaluation), 1e-3)
    validation, predictions = answered(table, learned, 5), answered(evaluation, learned, 6)
    made = LabelCombiner(draws=20).fit(validation, predictions)
    for offset, bands in zip(made.offsets_, ((0, 1), (1, 2)), strict=True):
        if set(bands) & set(missing):
            assert offset == 0
    said = f"no validation person is {' or '.join(BANDS[b] for b in missing)}"
    assert said in made.report_["caveats"]
    assert said in expected_line(made.report_)
    assert any(note.startswith(f"{said}: ") for note in made.report_["notes"])
    made.save(tmp_path / "combiner.json")
    assert len(combiners.load(tmp_path / "combiner.json").predict(predictions)) == len(evaluation)


@pytest.mark.parametrize("prior", ["auto", "estimate", "train", (0.42, 0.28, 0.30)])
def test_any_prior_may_be_asked_for(prior, eval_photos):
    made = ThresholdCombiner(prior=prior, draws=20).fit(without((2,)), eval_photos)
    assert made.report_["age_mix"]["kind"] == ("train" if isinstance(prior, str) else "given")
    told = [note for note in made.report_["notes"] if "is not estimated, as no validation person is" in note]
    assert len(told) == (prior in ("auto", "estimate"))
    assert np.isfinite(made.report_["expected"]["macro_f1"])


def test_what_has_people_on_both_sides_is_fitted_as_ever(eval_photos):
    """The lower threshold goes by the young and the middle band alone, whoever else is there."""
    made = ThresholdCombiner(prior="train", draws=20).fit(without((2,)), eval_photos)
    assert made.report_["shrinkage"][0] == pytest.approx(5 / 45)
    assert made.report_["shrinkage"][1] == 1
    assert made.report_["fallback"][1] == 60
    assert abs(made.thresholds_[0] - 31) < 4  # 6 + 0.85 * 29.5
    assert made.thresholds_[0] != 30


def test_with_everybody_there_nothing_is_said(eval_photos):
    made = ThresholdCombiner(prior="train", draws=20).fit(without(()), eval_photos)
    assert made.report_["caveats"] == []
    assert not [note for note in made.report_["notes"] if "no validation person" in note]


def test_the_fallback_is_the_line_where_it_was_fitted():
    age = np.array([18.0, 40.0, 59.0])
    predicted = 10 + 0.7 * age
    line = crossings(age, predicted)
    for counts, expected in {(1, 2, 0): (line[0], 60), (0, 1, 1): (30, line[1]), (1, 0, 1): (30, 60)}.items():
        assert fallback_of(age, predicted, np.array(counts)) == pytest.approx(expected)
    assert fallback_of(age, predicted, np.array([1, 1, 1])) == line


@pytest.mark.parametrize(
    ("shift", "counts", "expected"),
    [(60, (2, 1, 0), ("low", "low")), (-40, (0, 1, 1), ("high", "high")), (60, (0, 1, 0), (30, 60))],
)
def test_a_threshold_that_rests_on_nobody_gives_way(shift, counts, expected):
    """Predictions so far off that the other threshold lies beyond 30 or 60."""
    age = np.array([18.0, 40.0, 59.0])
    fitted = dict(zip(("low", "high"), crossings(age, age + shift), strict=True))
    assert fitted["low"] > 60 or fitted["high"] < 30
    found = fallback_of(age, age + shift, np.array(counts))
    assert found == tuple(fitted.get(one, one) for one in expected)
    assert found[0] <= found[1]


def test_a_band_without_people_may_have_a_share():
    train = np.array([0.3, 0.2, 0.1, 0.4, 0, 0])
    shares = with_bands(np.array([0.5, 0.2, 0.3]), train)
    np.testing.assert_allclose(shares, [0.3, 0.2, 0.04, 0.16, 0.15, 0.15])


def test_bands_are_of_the_ages_of_validation():
    assert sorted(set(band(without((1,))["age"]))) == [0, 2]
