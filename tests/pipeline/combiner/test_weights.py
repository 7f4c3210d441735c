"""Photos that weigh more count as if they were there so often."""

from dataclasses import replace

import numpy as np
import pytest

from models.labels import fused
from pipeline.combiner.class_prior import factors, people_of
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.densities import Densities, Smoothing
from pipeline.combiner.expected_score import centre_of, expected_interval, expected_scores
from pipeline.combiner.pooled_residuals import PooledResiduals
from pipeline.combiner.self_test import of_people
from pipeline.combiner.threshold_choice import choose_thresholds
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.thresholds import choose
from tests.pipeline.made_predictions import draw

FIELDS = ("person", "age", "predicted_age", "label", "band", "gender", "cell")


@pytest.fixture
def both():
    """Rows whose photos weigh 1 to 3, more where they are seen as older than they are, and the same so many times."""
    rows, _ = draw(np.random.default_rng(0), (40, 40, 20))
    times = np.where(rows.predicted_age > 6 + 0.85 * rows.age, 3, 1)
    again = np.repeat(np.arange(len(times)), times)
    return replace(rows, weight=times.astype(float)), replace(
        rows, **{name: getattr(rows, name)[again] for name in FIELDS}
    )


def test_densities_and_residuals_of_weighted_photos_are_those_of_repeated_ones(both):
    weighted, repeated = both
    np.testing.assert_allclose(
        PooledResiduals(weighted).density(), PooledResiduals(repeated).density(), rtol=0, atol=1e-12
    )
    one, other = (Densities(rows, Smoothing()) for rows in both)
    np.testing.assert_allclose(one.edges, other.edges)
    np.testing.assert_allclose(one.shares, other.shares)
    np.testing.assert_allclose(one.density, other.density, atol=1e-12)
    assert not np.allclose(one.density, Densities(replace(weighted, weight=None), Smoothing()).density, atol=1e-3)


def test_thresholds_and_the_expected_score_are_those_of_repeated_photos(both):
    weighted, _ = both
    prior = np.array([0.4, 0.3, 0.3])
    one = choose_thresholds(weighted, prior, draws=20)
    times = factors(one.shares, people_of(weighted))[None]
    best = [
        choose(rows.predicted_age, rows.label, rows.cell, times, 2.0, (30.0, 60.0), rows.weight)
        for rows in (*both, replace(weighted, weight=None))
    ]
    assert best[0] == pytest.approx(best[1], abs=1e-9)
    assert np.abs(np.subtract(best[0], best[2])).max() > 0.5
    labels = [fused(rows.cell, rows.predicted_age, one.thresholds) for rows in both]
    centres = [centre_of(rows, found, one.shares[None]) for rows, found in zip(both, labels, strict=True)]
    assert centres[0] == pytest.approx(centres[1], abs=1e-12)
    alike = replace(weighted, weight=None)
    assert abs(centre_of(alike, labels[0], one.shares[None]) - centres[0]) > 0.01
    assert macro_f1(weighted.label, labels[0], one.photo_weights) == pytest.approx(centres[0], abs=1e-12)


def test_people_who_weigh_more_are_drawn_more_often_and_widen_the_interval():
    rows, _ = draw(np.random.default_rng(1), (60, 60, 40))
    labels = fused(rows.cell, rows.predicted_age)
    wrong = np.bincount(rows.person, labels != rows.label) > 1
    factor = np.where(wrong, 3.0, 1.0)
    factor /= (np.bincount(rows.kind, factor) / np.bincount(rows.kind))[rows.kind]
    heavy = replace(rows, weight=factor[rows.person])
    priors, times = people_of(rows)[None], rows.drawn_again(100, np.random.default_rng(0))
    plain, weighted = (expected_scores(one, labels, priors, times, 160) for one in (rows, heavy))
    moved = expected_scores(heavy, labels, priors, times, 160, ages=(1 / factor)[None])
    centres = [centre_of(one, labels, priors) for one in (rows, heavy)]
    assert centres[1] < centres[0] - 0.03
    assert weighted.mean() - plain.mean() == pytest.approx(centres[1] - centres[0], abs=0.03)
    assert moved.mean() == pytest.approx(plain.mean(), abs=0.02)
    one, other = (expected_interval(0.5, plain, made, priors.mean(0)) for made in (rows, heavy))
    assert np.ptp(other) > np.ptp(one), "fewer people tell as much"


def test_a_class_of_whom_no_photo_counts_is_not_drawn():
    rows, _ = draw(np.random.default_rng(3), (20, 20, 10))
    labels = fused(rows.cell, rows.predicted_age)
    gone = replace(rows, weight=np.where(rows.label % 6 == 1, 0.0, 1.0))
    found = expected_scores(gone, labels, people_of(rows)[None], rows.drawn_again(20, np.random.default_rng(0)), 50)
    assert len(found) == 20
    assert np.isfinite(found).all()


def test_some_of_the_people_keep_their_weights():
    rows, _ = draw(np.random.default_rng(2), (10, 10, 10))
    rows = replace(rows, weight=np.arange(len(rows.person)) / 7)
    some = of_people(rows, np.array([4, 2]))
    np.testing.assert_allclose(some.weight, np.concatenate([np.arange(28, 35), np.arange(14, 21)]) / 7)
    assert of_people(replace(rows, weight=None), np.array([4, 2])).weight is None
    assert len(np.unique(inner_folds_of(rows))) == 5
