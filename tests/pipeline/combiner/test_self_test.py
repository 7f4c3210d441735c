"""The estimate tried on one's own people: who stands for whom, and what is made of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_predictions import draw

from pipeline.combiner import self_test as trial
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.densities import Smoothing, choose_smoothing
from pipeline.combiner.self_test import LEAST, PRIORS, SMALLEST, SelfTest, in_prior, of_people, self_test
from pipeline.prediction.labelled import labelled_predictions

REAL = Path(__file__).parents[4] / "shared/predictions/portraits-lite0.csv"


@pytest.fixture(scope="module")
def rows():
    return draw(np.random.default_rng(0), (120, 110, 40), skew=True)[0]


def test_whole_people_of_the_other_half_stand_as_eval_people(rows, monkeypatch):
    """Who calibrates is never judged, everybody does either now and then, and halves have each gender and band."""
    named, seen = replace(rows, age=rows.person.astype(float)), []
    monkeypatch.setattr(trial, "_one", lambda *given: seen.append(given[1:3]) or (0, 0, 0, 0, 0, [0]))
    self_test(named, Smoothing(), sets=40)
    assert len(seen) == 40
    seen = [(of_people(named, others), of_people(named, eval)) for others, eval in seen]
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
    chosen = in_prior(band, np.arange(100), np.array([0.25, 0.25, 0.5]), rng)
    assert np.bincount(band[chosen]).tolist() == [5, 5, 10]
    assert len(set(chosen)) == len(chosen)
    assert len(in_prior(band, np.arange(0, 100, 2), np.array([0.5, 0.4, 0.1]), rng)) == 50
    none = in_prior(band, np.arange(90), np.array([0.5, 0.4, 0.1]), rng)
    assert len(none) == 0


def test_some_people_are_the_same_people(rows):
    people = np.array([200, 3, 77])
    some = of_people(rows, people)
    assert some.people == 3
    for place, person in enumerate(people):
        for name in ("age", "predicted_age", "label", "band", "gender", "cell"):
            there = getattr(rows, name)[rows.person == person]
            assert np.array_equal(getattr(some, name)[some.person == place], there)


def test_a_seed_is_all_the_luck_there_is(rows):
    one, same, other = (self_test(rows, Smoothing(), 8, seed) for seed in (0, 0, 1))
    for name in ("truth", "estimate", "held", "statistic", "misfit", "score"):
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
    priors = np.stack([0.9 - old, np.full(len(old), 0.1), old], 1)
    score = np.concatenate([np.zeros((len(old), 1)), np.asarray(gains, float)], 1) + 0.5
    one = np.ones(len(old))
    return SelfTest(priors, priors, np.ones((len(old), 3), bool), one, one, score)


def test_of_steps_that_cannot_be_told_apart_the_farthest_is_taken():
    noise = np.random.default_rng(1).normal(0, 0.1, (60, 2))
    noise -= noise.mean(0)
    for scale, gains, step in ((1, [0.021, 0.02], 1.0), (1e-3, [0.021, 0.02], 0.5), (1, [-0.002, -0.001], 1.0),
                               (1e-3, [-0.002, -0.001], 0.0), (1e-3, [0.02, 0.03], 1.0)):  # fmt: skip
        told = tried(np.full(60, 0.3), noise * scale + gains)
        assert told.step == step
        np.testing.assert_allclose(told.gains.mean(0), [0, *gains], atol=1e-12)


def test_width_and_limit_are_those_of_the_sets():
    rng = np.random.default_rng(2)
    truth = rng.dirichlet((3, 3, 3), 400)
    held, statistic, misfit = np.ones((400, 3), bool), 3 * rng.chisquare(2, 400), rng.chisquare(7, 400)
    told = SelfTest(truth, truth, held, statistic, misfit, np.zeros((400, 3)))
    assert told.widen == pytest.approx(3, rel=0.2)
    assert replace(told, statistic=statistic / 30).widen == 1
    assert np.mean(misfit > told.limit) == pytest.approx(0.05, abs=0.01)
    assert replace(told, misfit=misfit * 1e-30).limit == 1


def test_error_and_bias_are_those_of_sets_whose_estimate_was_alike():
    told = tried(np.repeat([0.1, 0.4, 0.7], 20), np.zeros((60, 2)))
    off = np.repeat([[0.01, 0.0, -0.01], [0.02, -0.05, 0.03], [0.0, 0.2, -0.2]], 20, axis=0)
    told = replace(told, truth=told.estimate - off)
    for old, error, bias in ((0.1, 0.01, off[0]), (0.4, 0.05, off[20]), (0.7, 0.2, off[40])):
        prior = np.array([0.9 - old, 0.1, old])
        assert told.error(prior) == pytest.approx(error)
        np.testing.assert_allclose(told.bias(prior), bias)


def test_intervals_hold_the_truth_of_most_sets(rows):
    told = self_test(rows, Smoothing(12), 150)
    assert told.held.shape == (150, 3)
    assert (told.held.mean(0) > 0.85).all()


def test_another_way_to_label_is_judged_by_its_own_score(rows):
    """As the rivals' offsets are: who calibrates, who is judged and the mixes are handed on."""
    given = []

    def score(others, chosen, priors):
        assert not set(others) & set(chosen)
        given.append([some.shape for some in priors])
        return [0.5, 0.4, 0.3]

    told = self_test(rows, Smoothing(), 8, score=score)
    assert given == [[(1, 3), (PRIORS, 3), (PRIORS, 3)]] * 8
    assert told.step == 0


@pytest.mark.parametrize("counts", [(6, 6, 6), (7, 6, 6), (12, 12, 15), (14, 14, 12), (30, 30, 6)])
def test_a_test_on_few_people_ends(counts):
    few, _ = draw(np.random.default_rng(3), counts)
    told = self_test(few, Smoothing(8), 10)
    assert (told is None) == (sum(counts) < 4 * SMALLEST)


def test_of_many_people_some_are_tried(rows, monkeypatch):
    monkeypatch.setattr(trial, "LARGEST", 100)
    sizes = []
    self_test(rows, Smoothing(), 8, score=lambda others, chosen, priors: sizes.append(len(others)) or [0.0, 0.0, 0.0])
    assert all(35 <= size <= 65 for size in sizes)


@pytest.mark.skipif(not REAL.is_file(), reason="needs the shared predictions")
def test_real_people_know_how_far_an_estimate_may_be_trusted():
    rows = labelled_predictions(pd.read_csv(REAL))
    told = self_test(rows, choose_smoothing(rows, inner_folds_of(rows)), 60)
    assert told.error(np.array([0.47, 0.45, 0.08])) < 0.05 < told.error(np.array([0.3, 0.3, 0.4])) < 0.15
    assert 1 <= told.widen < 1.6
    assert told.step > 0
    assert told.gains.mean(0)[-1] > 0.003
