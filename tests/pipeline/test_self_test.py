"""The estimate tried on one's own people: who stands for whom, and what is made of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_predictions import draw

from pipeline import self_test as trial
from pipeline.answers import known
from pipeline.calibration import parts_of
from pipeline.densities import Smoothing, choose_smoothing
from pipeline.self_test import LEAST, STEPS, SelfTest, in_mix, of_people, self_test

REAL = Path(__file__).parents[3] / "shared/predictions/portraits-lite0.csv"


@pytest.fixture(scope="module")
def rows():
    return draw(np.random.default_rng(0), (120, 110, 40), skew=True)[0]


def test_whole_people_of_the_other_half_stand_as_eval_people(rows, monkeypatch):
    """Who calibrates is never judged, everybody does either now and then, and halves have each gender and band."""
    named, seen = replace(rows, age=rows.person.astype(float)), []
    monkeypatch.setattr(trial, "_one", lambda others, eval, *rest: seen.append((others, eval)) or (0, 0, 0, 0, 0, [0]))
    self_test(named, Smoothing(), sets=40)
    assert len(seen) == 40
    for others, eval in seen:
        assert not set(others.age) & set(eval.age)
        assert abs(others.people - 135) <= 1
        kinds = [
            np.bincount(some.band[some.first] * 2 + some.gender[some.first], minlength=6) for some in (rows, others)
        ]
        assert np.abs(kinds[0] / 2 - kinds[1]).max() <= 0.5
        assert np.bincount(eval.person).tolist() == [7] * eval.people
    for which in range(2):
        assert len({person for pair in seen for person in pair[which].age}) == 270
    olds = [pair[1].counts[2] / pair[1].people for pair in seen]
    assert min(olds) < 0.1 < 0.3 < max(olds), "mixes beyond what train has"


def test_as_many_people_as_can_be_had_in_a_mix():
    band = np.repeat([0, 1, 2], (50, 40, 10))
    rng = np.random.default_rng(1)
    chosen = in_mix(band, np.arange(100), np.array([0.25, 0.25, 0.5]), rng)
    assert np.bincount(band[chosen]).tolist() == [5, 5, 10]
    assert len(set(chosen)) == len(chosen)
    assert len(in_mix(band, np.arange(0, 100, 2), np.array([0.5, 0.4, 0.1]), rng)) == 50
    none = in_mix(band, np.arange(90), np.array([0.5, 0.4, 0.1]), rng)
    assert len(none) == 0


def test_some_people_are_the_same_people(rows):
    people = np.array([200, 3, 77])
    some = of_people(rows, people)
    assert some.people == 3
    for place, person in enumerate(people):
        for name in ("age", "answer", "label", "band", "gender", "cell"):
            there = getattr(rows, name)[rows.person == person]
            assert np.array_equal(getattr(some, name)[some.person == place], there)


def test_a_seed_is_all_the_luck_there_is(rows):
    one, same, other = (self_test(rows, Smoothing(), 8, seed) for seed in (0, 0, 1))
    for name in ("truth", "estimate", "statistic", "misfit", "score"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.estimate, other.estimate)


def test_too_few_people_are_not_tried(rows):
    few = of_people(rows, np.flatnonzero(rows.band[rows.first] < 2)[:50])
    with_old = of_people(rows, np.concatenate([np.arange(60), np.arange(150, 200), np.arange(230, 230 + LEAST)]))
    assert self_test(few, Smoothing(), 2) is None
    assert self_test(with_old, Smoothing(), 2) is not None
    assert self_test(of_people(with_old, np.arange(with_old.people - 1)), Smoothing(), 2) is None


def tried(estimates, gains):
    """A test whose sets came out as told: estimates of the old share, and what each step gained there."""
    old = np.asarray(estimates, float)
    mixes = np.stack([0.9 - old, np.full(len(old), 0.1), old], 1)
    score = np.concatenate([np.zeros((len(old), 1)), np.asarray(gains, float)], 1) + 0.5
    return SelfTest(mixes, mixes, np.ones(len(old)), np.ones(len(old)), np.full(len(old), 50), score)


def test_sets_whose_estimate_was_alike_decide():
    olds = np.concatenate([np.full(20, 0.05), np.full(20, 0.3), np.full(20, 0.6)])
    gains = np.concatenate(
        [np.tile([-0.01, -0.02], (20, 1)), np.tile([0.02, 0.01], (20, 1)), np.tile([0.02, 0.05], (20, 1))]
    )
    told = tried(olds, gains + np.random.default_rng(0).normal(0, 1e-4, (60, 2)))
    for old, step, gain in ((0.06, 0.0, 0.0), (0.31, STEPS[0], 0.02), (0.55, STEPS[1], 0.05)):
        found = told.best_step(np.array([0.9 - old, 0.1, old]))
        assert found[0] == step
        assert found[1] == pytest.approx(gain, abs=1e-3)


def test_of_steps_that_cannot_be_told_apart_the_farthest_is_taken():
    noise = np.random.default_rng(1).normal(0, 0.1, (60, 2))
    noise -= noise[:20].mean(0)  # the third that is nearest: of equals the first
    told = tried(np.full(60, 0.3), noise + [0.021, 0.02])
    assert told.best_step(np.array([0.6, 0.1, 0.3]))[0] == STEPS[1]
    apart = tried(np.full(60, 0.3), noise / 1000 + [0.021, 0.02])
    assert apart.best_step(np.array([0.6, 0.1, 0.3]))[0] == STEPS[0]
    worse = tried(np.full(60, 0.3), noise + [0.021, -0.001])
    assert worse.best_step(np.array([0.6, 0.1, 0.3]))[0] == STEPS[0], "what loses is never taken"


def test_width_error_bias_and_limit_are_those_of_the_sets():
    rng = np.random.default_rng(2)
    truth, off = rng.dirichlet((3, 3, 3), 400), np.array([0.02, -0.05, 0.03])
    told = SelfTest(
        truth, truth + off, 3 * rng.chisquare(2, 400), rng.chisquare(7, 400), np.full(400, 9), np.zeros((400, 3))
    )
    assert told.widen == pytest.approx(3, rel=0.2)
    assert replace(told, statistic=told.statistic / 30).widen == 1
    assert told.error == pytest.approx(0.05)
    np.testing.assert_allclose(told.bias, off)
    assert np.mean(told.misfit > told.limit) == pytest.approx(0.05, abs=0.01)


@pytest.mark.skipif(not REAL.is_file(), reason="needs the shared predictions")
def test_real_people_know_how_far_an_estimate_may_be_trusted():
    rows = known(pd.read_csv(REAL))
    told = self_test(rows, choose_smoothing(rows, parts_of(rows)), 60)
    assert 0.03 < told.error < 0.09
    assert 1 <= told.widen < 1.6
    assert told.best_step(np.array([0.35, 0.15, 0.5]))[0] > 0, "far from train an estimate gains"
