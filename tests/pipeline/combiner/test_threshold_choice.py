"""Thresholds for a mix of ages, chosen on some people and judged on others."""

from dataclasses import replace

import numpy as np
import pytest
from made_predictions import draw, eval_of

from models.labels import by_gender_first, fused
from pipeline.combiner.cross_fitting import BANDWIDTH, best_bandwidth, cross_fitted, inner_folds_of
from pipeline.combiner.expected_score import expected_scores
from pipeline.combiner.threshold_choice import choose_thresholds
from pipeline.scoring.bootstrap import person_weights
from pipeline.scoring.metrics import macro_f1


def expected_of(found, people, seed=0):
    labels = fused(found.rows.cell, found.rows.predicted_age, found.thresholds)
    return expected_scores(found.rows, labels, found.possible, found.weights, people, seed)


def test_people_are_resampled_inside_gender_and_band():
    rows, _ = draw(np.random.default_rng(7), (30, 20, 5))
    weights = person_weights(by_gender_first(rows.kind), 50, np.random.default_rng(0))
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    for s in np.unique(stratum):
        assert (weights[:, stratum == s].sum(1) == (stratum == s).sum()).all()


def test_answers_are_drawn_in_as_averaging_five_networks_narrows_them():
    """The mean of five networks scores better than one: thresholds and what is expected must be for the mean."""
    reached, gap = [], []
    for seed in range(8, 13):
        rng = np.random.default_rng(seed)
        rows, _ = draw(rng, (300, 300, 150), own=0.5)
        seen, predicted = draw(rng, (200, 200, 200), networks=5, own=0.5)
        made = [choose_thresholds(rows, np.full(3, 1 / 3), eval, draws=10) for eval in (eval_of(seen, predicted), None)]
        assert made[0].keep ** 2 == pytest.approx(0.5 + 0.5 / 5, abs=0.05)
        scores = [macro_f1(seen.label, seen.cell * 3 + np.digitize(predicted.mean(1), c.thresholds)) for c in made]
        reached.append(scores)
        gap.append([expected_of(c, 600).mean() - score for c, score in zip(made, scores, strict=True)])
    narrowed, as_it_is = np.mean(reached, 0)
    assert narrowed > as_it_is - 0.003
    narrowed, as_it_is = np.abs(np.mean(gap, 0))
    assert narrowed < 0.02 < as_it_is


def test_cross_fitting_answers_every_photo_by_people_of_other_parts():
    rows, _ = draw(np.random.default_rng(12), (60, 60, 30))
    part = inner_folds_of(rows)
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    table = np.array([np.bincount(part[stratum == s], minlength=5) for s in range(6)])
    assert (np.ptp(table, axis=1) <= 1).all(), "parts are stratified"
    labels = cross_fitted(rows, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert np.array_equal(labels // 3, rows.cell)
    # the answers of one part may not change what that part is answered by
    mine = part[rows.person] == 2
    other = replace(rows, predicted_age=np.where(mine, 100.0, rows.predicted_age))
    changed = cross_fitted(other, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert (changed[mine] % 3 == 2).all()


def test_another_bandwidth_needs_a_clear_gain():
    rows, _ = draw(np.random.default_rng(13), (200, 200, 100))
    assert best_bandwidth(rows, np.full(6, 1 / 6)) == BANDWIDTH
