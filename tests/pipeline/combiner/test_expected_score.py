"""The score to expect: of people drawn from the same world, over all mixes that are possible."""

import numpy as np
import pytest
from made_predictions import draw, eval_of

from models.labels import class_of_label, fused
from pipeline.combiner import prior_estimate
from pipeline.combiner.class_prior import bands_of, factors, people_of
from pipeline.combiner.expected_score import centre_of, choice_interval, expected_scores
from pipeline.combiner.threshold_choice import choose_thresholds, prior_of_eval
from pipeline.scoring.metrics import macro_f1


def scores(found, people, seed=0):
    labels = fused(found.rows.cell, found.rows.predicted_age, found.thresholds)
    return expected_scores(found.rows, labels, found.possible, found.weights, people, seed)


def test_the_centre_is_the_mean_score_over_mixes():
    rng = np.random.default_rng(0)
    rows, _ = draw(rng, (60, 50, 20))
    labels = fused(rows.cell, rows.predicted_age, (33.0, 55.0))
    priors = rng.dirichlet(np.ones(6), 7)
    each = [
        macro_f1(rows.label, labels, factors(prior, people_of(rows))[class_of_label(rows.label)]) for prior in priors
    ]
    assert centre_of(rows, labels, priors) == pytest.approx(np.mean(each), abs=1e-12)


def test_expected_scores_are_those_of_eval_people_drawn_from_the_same_world():
    rng = np.random.default_rng(10)
    rows, _ = draw(rng, (300, 300, 200))
    prior = np.array([0.3, 0.3, 0.4])
    found = choose_thresholds(rows, prior, draws=200)
    drawn = scores(found, 200)
    seen = []
    for _ in range(40):
        fresh, _ = draw(rng, (60, 60, 80))
        seen.append(macro_f1(fresh.label, fused(fresh.cell, fresh.predicted_age, found.thresholds)))
    assert drawn.mean() == pytest.approx(np.mean(seen), abs=0.02)
    assert drawn.std() == pytest.approx(np.std(seen), rel=0.4)


def test_the_interval_is_centred_on_the_cross_fitted_score_and_wider_for_few_people():
    rng = np.random.default_rng(11)
    widths = []
    for counts in ((300, 300, 300), (300, 300, 12)):
        rows, _ = draw(rng, counts)
        found = choose_thresholds(rows, np.full(3, 1 / 3), draws=100)
        low, high = choice_interval(found, 300, 0.6, seed=1)
        drawn = np.ptp(np.quantile(scores(found, 300, seed=1), [0.05, 0.95]))
        assert low < 0.6 < high
        assert abs((low + high) / 2 - 0.6) < 0.02
        widths.append((high - low) / drawn)
    assert 1 < widths[0] < 1.03
    assert widths[1] > 1.15


def test_a_mix_that_is_not_known_is_part_of_the_interval(monkeypatch):
    """Thresholds for the train mix; what is expected goes over the mixes that the photos leave possible."""
    monkeypatch.setattr(prior_estimate, "SETS", 30)
    off, held = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, _ = draw(rng, (400, 400, 60), spread=9.0)
        seen, predicted = draw(rng, (120, 30, 200), spread=9.0)
        eval, train = eval_of(seen, predicted), rows.counts / rows.people
        guess = prior_of_eval(rows, eval)
        sure, unsure = choose_thresholds(rows, train, eval), choose_thresholds(rows, train, eval, guess=guess)
        assert unsure.thresholds == sure.thresholds
        labels = fused(rows.cell, rows.predicted_age, sure.thresholds)
        centres = [centre_of(rows, labels, found.possible) for found in (sure, unsure)]
        reached = macro_f1(seen.label, fused(seen.cell, seen.predicted_age, sure.thresholds))
        off.append(np.abs(np.array(centres) - reached))
        low, high = choice_interval(unsure, eval.people, centres[1])
        held.append(low < reached < high)
        assert np.ptp(bands_of(unsure.possible)[:, 2]) > 0.1
    sure, unsure = np.mean(off, 0)
    assert unsure < 0.6 * sure
    assert all(held)
