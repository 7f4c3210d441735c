"""Reliability curves against scikit-learn's."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pipeline.scoring.reliability import BINS, calibration_error, reliability_table


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    said = rng.random(4000)
    found = rng.random(4000) < said**2
    return said, found, rng.integers(0, 18, 4000), np.repeat(np.arange(1000), 4)


def test_bins_are_those_of_scikit_learn(made):
    said, found, label, person = made
    table = reliability_table(said, found, label, person)
    true, predicted = calibration_curve(found, said, n_bins=BINS, strategy="quantile")
    assert table["said"].to_numpy() == pytest.approx(predicted, abs=2e-3)
    assert table["found"].to_numpy() == pytest.approx(true, abs=5e-3)
    assert table["photos"].sum() == 4000
    assert (table["found_low"] < table["found"]).all()
    assert (table["found_high"] > table["found"]).all()


def test_the_error_is_that_of_its_bins(made):
    said, found, label, person = made
    off = calibration_error(reliability_table(said, found, label, person))
    assert off == pytest.approx(1 / 2 - 1 / 3, abs=0.02)
    rng = np.random.default_rng(1)
    assert calibration_error(reliability_table(said, rng.random(4000) < said, label, person)) < 0.03


def test_equal_predictions_stay_together():
    said = np.array([0.2] * 50 + [0.9] * 50)
    table = reliability_table(said, said > 0.5, np.zeros(100, int), np.arange(100))
    assert table["said"].tolist() == pytest.approx([0.2, 0.9])
    assert table["photos"].tolist() == [50, 50]
