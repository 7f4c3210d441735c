"""Reliability curves against scikit-learn's, and their intervals against scipy's and people drawn again by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from pipeline.scoring.reliability import BINS, calibration_error, reliability_table, wilson


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    said = rng.random(4000)
    found = rng.random(4000) < said**2
    return said, found, np.repeat(np.arange(1000), 4)


def test_bins_are_those_of_scikit_learn(made):
    said, found, person = made
    table = reliability_table(said, found, person)
    true, predicted = calibration_curve(found, said, n_bins=BINS, strategy="quantile")
    assert table["said"].to_numpy() == pytest.approx(predicted, abs=2e-3)
    assert table["found"].to_numpy() == pytest.approx(true, abs=5e-3)
    assert table["photos"].sum() == 4000
    assert (table["found_low"] < table["found"]).all()
    assert (table["found_high"] > table["found"]).all()


def test_the_error_is_that_of_its_bins(made):
    said, found, person = made
    off = calibration_error(reliability_table(said, found, person))
    assert off == pytest.approx(1 / 2 - 1 / 3, abs=0.02)
    rng = np.random.default_rng(1)
    assert calibration_error(reliability_table(said, rng.random(4000) < said, person)) < 0.03


@pytest.mark.parametrize(("right", "trials"), [(0, 8), (8, 8), (3, 7), (50, 200)])
def test_wilson_is_scipys(right, trials):
    theirs = binomtest(right, trials).proportion_ci(0.95, "wilson")
    assert wilson(right / trials, trials) == pytest.approx((theirs.low, theirs.high))


def test_a_person_with_seven_photos_is_one_trial():
    """Everybody is of one gender, so that within a person nothing varies: photos are no trials."""
    rng = np.random.default_rng(2)
    found = np.repeat(rng.random(400) < 0.5, 7)
    said = np.repeat(rng.random(400), 7)
    table = reliability_table(said, found, np.repeat(np.arange(400), 7))
    width = (table["found_high"] - table["found_low"]).mean()
    assert width == pytest.approx(2 * 1.96 * (0.25 / 40) ** 0.5, rel=0.1)


def test_years_go_by_people_drawn_again():
    rng = np.random.default_rng(3)
    age = np.repeat(rng.uniform(20, 80, 300), 7)
    said = age + np.repeat(rng.normal(0, 6, 300), 7)
    table = reliability_table(said, age, np.repeat(np.arange(300), 7))
    half = (table["found_high"] - table["found_low"]).to_numpy() / 2
    within = [age[(said >= low) & (said <= high)] for low, high in zip(*edges_of(said), strict=True)]
    expected = [1.96 * one[::7].std() / len(one[::7]) ** 0.5 for one in within]
    assert half.mean() == pytest.approx(np.mean(expected), rel=0.2)


def edges_of(said):
    edges = np.quantile(said, np.linspace(0, 1, BINS + 1))
    return edges[:-1], edges[1:]


def test_equal_predictions_stay_together_and_rare_ones_apart():
    said = np.array([0.2] * 50 + [0.9] * 50)
    table = reliability_table(said, said > 0.5, np.arange(100))
    assert table["said"].tolist() == pytest.approx([0.2, 0.9])
    assert table["photos"].tolist() == [50, 50]
    said = np.array([0.5] * 5 + [0.999] * 95)
    table = reliability_table(said, said > 0.6, np.arange(100))
    assert table["said"].tolist() == pytest.approx([0.5, 0.999])
