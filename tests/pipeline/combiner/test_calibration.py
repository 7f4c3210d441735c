"""Honest chances, held to brute force."""

import numpy as np
import pytest
from scipy.special import log_softmax

from models.labels import LABELS, decode
from pipeline.combiner.calibration import SPREAD, Calibration, fit_calibration
from pipeline.combiner.class_prior import shares_of


def drawn(count=3000, seed=0):
    """Chances (count, 18) that are honest, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(LABELS, 0.3), count) + 1e-6
    probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities, (probabilities.cumsum(1) > rng.random((count, 1))).argmax(1)


def biases_of(mask, gender, band, both=(0,) * 6):
    mask_of, gender_of, band_of = decode(np.arange(LABELS))
    parts = zip((mask, gender, band, both), (mask_of, gender_of, band_of, gender_of * 3 + band_of), strict=True)
    return sum(np.asarray(biases, float)[of] for biases, of in parts)


def test_honest_chances_stay():
    probabilities, label = drawn()
    found = fit_calibration(probabilities, label, 3000)
    assert found.temperature == pytest.approx(1, abs=0.06)
    assert np.abs(found.biases).max() < 0.35
    np.testing.assert_allclose(np.exp(found.log(probabilities)).sum(1), 1)


def test_what_was_done_to_chances_is_undone():
    probabilities, label = drawn(20_000)
    biases = biases_of([0.3, -0.2, -0.1], [0.4, -0.4], [0.5, -1.5, 1.0], [0.2, 0, 0, -0.2, 0.3, 0])
    done = np.exp(log_softmax(2.0 * (np.log(probabilities) - biases), 1))
    found = fit_calibration(done, label, 20_000)
    assert found.temperature == pytest.approx(2.0, rel=0.05)
    off = found.biases - biases
    assert np.abs(off - off.mean()).max() < 0.15  # a constant changes no chance


@pytest.mark.parametrize("people", [5, 500])
def test_no_other_temperature_or_bias_is_likelier(people):
    probabilities, label = drawn(500, 3)
    probabilities = probabilities**1.5 / (probabilities**1.5).sum(1, keepdims=True)
    found = fit_calibration(probabilities, label, people)

    def loss(given):
        log_temperature, biases = given[0], given[1:]
        log = Calibration(np.exp(log_temperature), biases_of(*np.split(biases, [3, 5, 8]))).log(probabilities)
        return -log[np.arange(500), label].mean() * people + (biases @ biases) / 2 / SPREAD**2

    every = np.stack([biases_of(*np.split(row, [3, 5, 8])) for row in np.eye(14)], 1)
    least = np.linalg.lstsq(every, found.biases, rcond=None)[0]  # the smallest that sum to them, as the penalty wants
    best = np.concatenate([[np.log(found.temperature)], least])
    for change in np.random.default_rng(0).normal(0, 0.05, (200, 15)):
        assert loss(best + change) > loss(best) - 1e-4 * people


def test_few_people_move_biases_little():
    probabilities, label = drawn(4000)
    biases = biases_of([0, 0, 0], [0, 0], [2.0, 0, 0])
    done = np.exp(log_softmax(np.log(probabilities) - biases, 1))
    spans = [np.ptp(fit_calibration(done, label, people).biases) for people in (1, 10, 4000)]
    assert spans[0] < 0.4 < spans[1] < spans[2]
    assert spans[2] == pytest.approx(2.0, abs=0.3)


def test_no_share_is_nil():
    shares = shares_of(np.array([0, 10, 20, 5, 0, 3]))
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0
    np.testing.assert_allclose(shares_of(np.full(6, 1000)), 1 / 6)
