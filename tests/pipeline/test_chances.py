"""Honest chances and the mix behind them, held to brute force."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from models.labels import LABELS, decode
from pipeline.answers import assemble
from pipeline.calibration import bands_of, with_bands
from pipeline.chances import DRAWS, SPREAD, Honest, estimate, fit, mix_of, shares_of
from pipeline.thresholds import class_of


def drawn(count=3000, seed=0):
    """Chances (count, 18) that are honest, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.full(LABELS, 0.3), count) + 1e-6
    chances /= chances.sum(1, keepdims=True)
    return chances, (chances.cumsum(1) > rng.random((count, 1))).argmax(1)


def biases_of(mask, gender, band, both=(0,) * 6):
    mask_of, gender_of, band_of = decode(np.arange(LABELS))
    parts = zip((mask, gender, band, both), (mask_of, gender_of, band_of, gender_of * 3 + band_of), strict=True)
    return sum(np.asarray(biases, float)[of] for biases, of in parts)


def test_honest_chances_stay():
    chances, label = drawn()
    found = fit(chances, label, 3000)
    assert found.temperature == pytest.approx(1, abs=0.06)
    assert np.abs(found.biases).max() < 0.35
    np.testing.assert_allclose(np.exp(found.log(chances)).sum(1), 1)


def test_what_was_done_to_chances_is_undone():
    chances, label = drawn(20_000)
    biases = biases_of([0.3, -0.2, -0.1], [0.4, -0.4], [0.5, -1.5, 1.0], [0.2, 0, 0, -0.2, 0.3, 0])
    done = np.exp(log_softmax(2.0 * (np.log(chances) - biases), 1))
    found = fit(done, label, 20_000)
    assert found.temperature == pytest.approx(2.0, rel=0.05)
    off = found.biases - biases
    assert np.abs(off - off.mean()).max() < 0.15  # a constant changes no chance


@pytest.mark.parametrize("people", [5, 500])
def test_no_other_temperature_or_bias_is_likelier(people):
    chances, label = drawn(500, 3)
    chances = chances**1.5 / (chances**1.5).sum(1, keepdims=True)
    found = fit(chances, label, people)

    def loss(given):
        log_temperature, biases = given[0], given[1:]
        log = Honest(np.exp(log_temperature), biases_of(*np.split(biases, [3, 5, 8]))).log(chances)
        return -log[np.arange(500), label].mean() * people + (biases @ biases) / 2 / SPREAD**2

    every = np.stack([biases_of(*np.split(row, [3, 5, 8])) for row in np.eye(14)], 1)
    least = np.linalg.lstsq(every, found.biases, rcond=None)[0]  # the smallest that sum to them, as the penalty wants
    best = np.concatenate([[np.log(found.temperature)], least])
    for change in np.random.default_rng(0).normal(0, 0.05, (200, 15)):
        assert loss(best + change) > loss(best) - 1e-4 * people


def test_few_people_move_biases_little():
    chances, label = drawn(4000)
    biases = biases_of([0, 0, 0], [0, 0], [2.0, 0, 0])
    done = np.exp(log_softmax(np.log(chances) - biases, 1))
    spans = [np.ptp(fit(done, label, people).biases) for people in (1, 10, 4000)]
    assert spans[0] < 0.4 < spans[1] < spans[2]
    assert spans[2] == pytest.approx(2.0, abs=0.3)


def test_no_share_is_nil():
    shares = shares_of(np.array([0, 10, 20, 5, 0, 3]))
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0
    np.testing.assert_allclose(shares_of(np.full(6, 1000)), 1 / 6)


def test_chances_that_tell_nothing_leave_the_train_mix():
    train = np.array([0.2, 0.25, 0.2, 0.2, 0.1, 0.05])
    chances = np.tile(train.reshape(3, 2).T.ravel() / 3, (60, 3))  # of mask, gender, band
    np.testing.assert_allclose(mix_of(chances, train), train, atol=1e-6)


def weak(rng, counts, train, noise):
    """Chances (n, 18), honest where bands are as train has them, of people with 7 photos each; gender is not seen."""
    bands = np.repeat(np.repeat(np.arange(3), counts), 7)
    seen = bands + rng.normal(0, noise, len(bands))
    band = np.exp(-0.5 * ((seen[:, None] - np.arange(3)) / noise) ** 2) * train
    band /= band.sum(1, keepdims=True)
    mask = np.tile(np.eye(3)[[0, 0, 0, 0, 0, 1, 2]], (sum(counts), 1)) * 0.8 + 0.2 / 3
    return (mask[:, :, None, None] * np.full(2, 0.5)[:, None] * band[:, None, None]).reshape(-1, LABELS), bands


def estimated(noise, counts, seed=0, times=1):
    """The estimate of a mix from eval people (counts) by band, and the train mix (6,)."""
    rng, train = np.random.default_rng(seed), np.array([0.45, 0.40, 0.15])
    own, bands = weak(rng, (180, 160, 60), train, noise)
    gender = np.repeat(np.arange(400) % 2, 7)
    table = pd.DataFrame({"person": np.repeat(np.arange(400), 7), "mask": 0, "gender": gender,
                          "age": np.array([20.0, 40.0, 70.0])[bands]})  # fmt: skip
    rows = assemble(table, table["age"].to_numpy(), table["gender"].to_numpy())
    chances, _ = weak(rng, counts, train, noise)
    photo = np.arange(len(chances))
    mix = np.repeat(train / 2, 2)
    return estimate(np.tile(chances, (times, 1)), np.tile(photo, times), 150, own, rows, mix), mix


def test_the_mix_that_a_weak_network_tells_is_drawn_in():
    away = []
    for seed in range(4):
        (raw, used, draws, trust), train = estimated(2.0, (68, 60, 22), seed)
        away.append([np.abs(mix - bands_of(train)).max() for mix in (raw, bands_of(used))])
        assert draws.shape == (DRAWS, 6)
        assert 0 <= trust <= 1
    raw, drawn = np.mean(away, axis=0)
    assert drawn < 0.7 * raw


def test_a_good_network_tells_a_mix_that_is_used():
    (_, used, draws, trust), train = estimated(0.4, (60, 37, 53))
    actual = np.array([60, 37, 53]) / 150
    np.testing.assert_allclose(bands_of(used), actual, atol=0.06)
    assert trust > 0.8
    low, high = np.quantile(bands_of(draws), [0.005, 0.995], axis=0)
    assert ((low < actual) & (actual < high)).all()
    np.testing.assert_allclose(used, with_bands(bands_of(used), train), err_msg="genders stay the train people's")


def test_photos_that_several_networks_answered_tell_no_more():
    once, thrice = (estimated(1.0, (60, 37, 53), times=times)[0] for times in (1, 3))
    np.testing.assert_allclose(thrice[1], once[1], atol=1e-5)
    np.testing.assert_allclose(thrice[2].std(0), once[2].std(0), rtol=0.01)


def test_em_finds_the_mix_of_greatest_likelihood():
    rng = np.random.default_rng(0)
    train = np.array([0.2, 0.25, 0.2, 0.2, 0.1, 0.05])
    true = rng.choice(LABELS, 300, p=np.repeat([0.1, 0.05, 0.03], 6) / np.repeat([0.1, 0.05, 0.03], 6).sum())
    chances = rng.dirichlet(np.full(LABELS, 0.3), 300)
    chances[np.arange(300), true] += 0.8
    chances /= chances.sum(1, keepdims=True)
    found = mix_of(chances, train)
    assert found.sum() == pytest.approx(1)
    by_class = np.stack([chances[:, class_of(np.arange(LABELS)) == c].sum(1) for c in range(6)], 1)

    def likelihood(shares):
        return np.log(by_class @ (shares / train)).mean()

    best = likelihood(found)
    for up, down in itertools.permutations(range(6), 2):
        moved = found.copy()
        step = min(1e-3, moved[down])
        moved[up] += step
        moved[down] -= step
        assert likelihood(moved) <= best + 1e-6
