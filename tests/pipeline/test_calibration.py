"""Thresholds for a mix of ages, chosen on some people and judged on others."""

from dataclasses import replace

import numpy as np
import pytest
from made_predictions import draw, eval_of

from pipeline.calibration import (
    BANDWIDTH,
    best_bandwidth,
    calibrate,
    cross_fitted,
    fuse,
    parts_of,
    person_weights,
)
from pipeline.expected_score import expected_scores
from pipeline.scoring import macro_f1


def expected_of(found, people, seed=0):
    labels = fuse(found.rows, found.thresholds)
    return expected_scores(found.rows, labels, found.possible, found.weights, people, seed)


def test_people_are_resampled_inside_gender_and_band():
    rows, _ = draw(np.random.default_rng(7), (30, 20, 5))
    weights = person_weights(rows, 50, np.random.default_rng(0))
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    for s in np.unique(stratum):
        assert (weights[:, stratum == s].sum(1) == (stratum == s).sum()).all()


def test_answers_are_drawn_in_as_averaging_five_networks_narrows_them():
    rng = np.random.default_rng(8)
    rows, _ = draw(rng, (300, 300, 150), own=0.5)
    seen, answer = draw(rng, (200, 200, 200), networks=5, own=0.5)
    eval = eval_of(seen, answer)
    found = calibrate(rows, np.full(3, 1 / 3), eval, draws=10)
    assert found.keep**2 == pytest.approx(0.5 + 0.5 / 5, abs=0.05)
    averaged = answer.mean(1)
    one = calibrate(rows, np.full(3, 1 / 3), None, draws=10)
    fused = {
        name: macro_f1(seen.label, seen.cell * 3 + np.digitize(averaged, c.thresholds))
        for name, c in (("narrowed", found), ("as it is", one))
    }
    assert fused["narrowed"] > fused["as it is"] - 0.003
    gap = {name: abs(expected_of(c, 600).mean() - fused[name]) for name, c in (("narrowed", found), ("as it is", one))}
    assert gap["narrowed"] < 0.025 < gap["as it is"]


def test_cross_fitting_answers_every_photo_by_people_of_other_parts():
    rows, _ = draw(np.random.default_rng(12), (60, 60, 30))
    part = parts_of(rows)
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    table = np.array([np.bincount(part[stratum == s], minlength=5) for s in range(6)])
    assert (np.ptp(table, axis=1) <= 1).all(), "parts are stratified"
    labels = cross_fitted(rows, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert np.array_equal(labels // 3, rows.cell)
    # the answers of one part may not change what that part is answered by
    mine = part[rows.person] == 2
    other = replace(rows, answer=np.where(mine, 100.0, rows.answer))
    changed = cross_fitted(other, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert (changed[mine] % 3 == 2).all()


def test_another_bandwidth_needs_a_clear_gain():
    rows, _ = draw(np.random.default_rng(13), (200, 200, 100))
    assert best_bandwidth(rows, np.full(6, 1 / 6)) == BANDWIDTH
