"""The mix of eval photos: planted mixes found, in made-up worlds and on real predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_predictions import draw, eval_of

from pipeline.combiner import prior_estimate
from pipeline.combiner.class_prior import bands_of
from pipeline.combiner.self_test import in_prior, of_people
from pipeline.combiner.threshold_choice import prior_of_eval
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import labelled_predictions

REAL = Path(__file__).parents[4] / "shared/predictions/portraits-lite0.csv"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(prior_estimate, "SETS", 25)


@pytest.mark.parametrize("counts", [(200, 200, 400), (420, 300, 80)])
@pytest.mark.parametrize("skew", [False, True])
def test_a_planted_mix_is_found_and_its_interval_holds_it(counts, skew):
    rng = np.random.default_rng(3)
    rows, _ = draw(rng, (400, 400, 100), skew=skew)
    found = prior_of_eval(rows, eval_of(*draw(rng, counts, skew=skew)))
    truth = np.array(counts) / sum(counts)
    assert np.abs(found.prior - truth).max() < 0.07
    low, high = np.quantile(bands_of(found.draws), [0.005, 0.995], axis=0)
    assert ((low < truth) & (truth < high)).all()
    assert found.draws.sum(1) == pytest.approx(np.ones(len(found.draws)))
    assert bands_of(found.shares) == pytest.approx(found.prior)
    assert not found.unlike


def test_the_same_mix_stays_near_the_train_mix():
    rng, away = np.random.default_rng(4), []
    for _ in range(6):
        rows, _ = draw(rng, (200, 200, 60))
        found = prior_of_eval(rows, eval_of(*draw(rng, (200, 200, 60))))
        truth = np.array([200, 200, 60]) / 460
        away.append([np.abs(found.raw - truth).max(), np.abs(found.prior - truth).max()])
        assert found.draws.std(0).min() > 0, "but never for sure"
    raw, drawn = np.mean(away, axis=0)
    assert drawn < 0.7 * raw


def test_ages_that_shift_inside_a_band_are_warned_about_and_left(monkeypatch):
    widths = []
    whole = prior_estimate.posterior
    monkeypatch.setattr(prior_estimate, "posterior", lambda *given: widths.append(given[2]) or whole(*given))
    rng, warned = np.random.default_rng(5), {(50, 60): [], (30, 45): []}
    for _ in range(4):
        rows, _ = draw(rng, (150, 150, 50), middle=(50, 60))
        for middle, told in warned.items():
            found = prior_of_eval(rows, eval_of(*draw(rng, (70, 100, 50), middle=middle)))
            told.append(found.unlike)
            # what no mix explains leaves more mixes possible
            assert widths[-1] == pytest.approx(found.tried.widen * max(1, found.misfit / found.limit))
            assert found.unlike == (found.misfit > found.limit)
            assert found.beyond == (found.misfit > max(found.limit, found.tried.misfit.max()))
            if found.beyond:
                assert found.step == 0
    assert sum(warned[50, 60]) <= 1
    assert all(warned[30, 45])


def test_a_missing_network_is_left_out():
    rng = np.random.default_rng(9)
    rows, _ = draw(rng, (100, 100, 60))
    seen, predicted = draw(rng, (60, 60, 60), networks=3, own=0.5)
    eval = eval_of(seen, predicted)
    alone = prior_of_eval(rows, EvalPredictions(predicted[:, :1], eval.gender[:, :1], 7.0))
    gone = predicted.copy()
    gone[:, 1:] = np.nan
    padded = prior_of_eval(rows, EvalPredictions(gone, eval.gender, 7.0))
    np.testing.assert_allclose(padded.prior, alone.prior)
    assert EvalPredictions(gone, eval.gender, 7.0).removed == 0


def test_intervals_hold_the_mix_that_several_networks_tell(monkeypatch):
    """Single-fold predictions look like validation's; their mean over folds is not surer than it is said to be."""
    monkeypatch.setattr(prior_estimate, "self_test", lambda *given: None)
    monkeypatch.setattr(prior_estimate, "UNTRIED", 1.0)
    rng, held = np.random.default_rng(10), []
    for _ in range(40):
        rows, _ = draw(rng, (200, 200, 100), own=0.5, spread=9.0)
        counts = rng.multinomial(147, rng.dirichlet((3, 3, 3))) + 1
        found = prior_of_eval(rows, eval_of(*draw(rng, counts, networks=5, own=0.5, spread=9.0)))
        low, high = np.quantile(bands_of(found.draws), [0.025, 0.975], axis=0)
        held.append((low <= counts / 150) & (counts / 150 <= high))
    assert np.mean(held) > 0.9


@pytest.mark.parametrize("old", [1, 3, 5])
def test_few_people_of_a_band_leave_its_share_open(old):
    """Where nothing can be tried: no warning, and intervals that hold."""
    rng, held = np.random.default_rng(11), []
    for _ in range(30):
        rows, _ = draw(rng, (75, 75, old), skew=True)
        found = prior_of_eval(rows, eval_of(*draw(rng, (60, 45, 45), skew=True)))
        assert found.tried is None
        assert not found.unlike
        low, high = np.quantile(bands_of(found.draws), [0.025, 0.975], axis=0)
        held.append((low <= [0.4, 0.3, 0.3]) & (high >= [0.4, 0.3, 0.3]))
    assert np.mean(held) > 0.8


@pytest.mark.parametrize("gender", ["constant", "random"])
def test_a_gender_that_is_not_seen_is_not_shifted(gender):
    rng = np.random.default_rng(12)
    made = [draw(rng, (150, 150, 80)), draw(rng, (60, 50, 40))]
    rows, eval_rows = (
        replace(one, cell=one.cell // 2 * 2 + (0 if gender == "constant" else rng.integers(0, 2, len(one.cell))))
        for one, _ in made
    )
    found = prior_of_eval(rows, eval_of(eval_rows, made[1][1]))
    women = found.shares.reshape(3, 2)[:, 1] / found.prior
    np.testing.assert_allclose(women, np.bincount(rows.band, rows.gender) / np.bincount(rows.band), atol=0.06)


@pytest.mark.parametrize("ages", ["constant", "by band", "whole years"])
def test_predictions_that_hardly_vary_are_no_error(ages):
    rng = np.random.default_rng(13)
    (rows, _), (eval_rows, _) = draw(rng, (40, 40, 20)), draw(rng, (20, 15, 15))
    rows, eval_rows = (
        replace(
            one,
            predicted_age={"constant": np.full(len(one.age), 40.0), "by band": 20.0 + 20 * one.band}.get(
                ages, np.rint(one.predicted_age)
            ),
        )
        for one in (rows, eval_rows)
    )
    found = prior_of_eval(rows, eval_of(eval_rows, eval_rows.predicted_age[:, None]))
    assert np.isfinite(found.draws).all()
    assert not found.unlike
    if ages == "by band":
        np.testing.assert_allclose(found.prior, [0.4, 0.3, 0.3], atol=0.02)


@pytest.mark.skipif(not REAL.is_file(), reason="needs the shared predictions")
def test_real_predictions_tell_their_mix():
    """Where a line and pooled residuals read 45 / 0 / 55 % of 42 / 28 / 30 %, and were sure of it."""
    rows = labelled_predictions(pd.read_csv(REAL))
    off, held = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        half = rng.permutation(rows.people) % 2 == 0
        chosen = in_prior(rows.band[rows.first], np.flatnonzero(half), np.array([0.42, 0.28, 0.30]), rng)
        eval = of_people(rows, chosen)
        found = prior_of_eval(of_people(rows, np.flatnonzero(~half)), eval_of(eval, eval.predicted_age[:, None]))
        truth = eval.counts / eval.people
        low, high = np.quantile(bands_of(found.draws), [0.025, 0.975], axis=0)
        off.append(np.abs(found.prior - truth).max())
        held.append((low <= truth) & (truth <= high))
    assert np.mean(off) < 0.13
    assert np.mean(held) > 0.8
