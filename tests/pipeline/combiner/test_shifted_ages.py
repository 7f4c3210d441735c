"""Ages that shift inside a band: bins of ages, what predictions show of them, and a combiner that goes by them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from models.labels import band
from pipeline.combiner import prior_estimate
from pipeline.combiner.age_bins import AgeBins
from pipeline.combiner.deconvolution import BENDS, _likeliest, _penalty, deconvolve
from pipeline.combiner.prior_choice import prior_kind
from pipeline.combiner.threshold_choice import choose_thresholds, prior_of_eval
from tests.pipeline.made_predictions import draw, eval_of


def world(rng, ages, saturates=False):
    """People of these ages as `draw` makes them, their predictions on a line, or saturating at 60."""
    counts = np.bincount(band(ages), minlength=3)
    rows, _ = draw(rng, counts)
    age = np.sort(ages).astype(float)[rows.person]
    predicted = 6 + 0.85 * age + rng.normal(0, 4, len(ages))[rows.person] + rng.normal(0, 3, len(age))
    if saturates:
        predicted = 18 + 42 / (1 + np.exp(-(predicted - 36) / 6))
    label = rows.label // 3 * 3 + band(age)
    return replace(rows, age=age, predicted_age=predicted, band=band(age), label=label), predicted[:, None]


def people(rng, young, middle, old, flat=False):
    few = 2 * middle // 3 if flat else middle // 6
    middle = np.concatenate([rng.integers(30, 50, few), rng.integers(50, 60, middle - few)])
    return np.concatenate([rng.integers(18, 30, young), middle, np.full(old, 60)])


def test_bins_lie_in_one_band_each_and_have_all_people():
    rng = np.random.default_rng(0)
    rows, _ = world(rng, np.concatenate([people(rng, 60, 60, 20), rng.integers(61, 90, 30)]))
    bins = AgeBins(rows)
    assert (band(bins.start) == bins.band).all()
    assert (band(np.minimum(bins.end - 1, 200)) == bins.band).all()
    age = rows.age[rows.first]
    assert ((bins.start[bins.place] <= age) & (age < bins.end[bins.place])).all()
    np.testing.assert_allclose(bins.share.sum(), 1)


@pytest.mark.parametrize(("saturates", "most"), [(False, 0.12), (True, 0.17)])
def test_densities_are_those_of_the_world(saturates, most):
    rng = np.random.default_rng(1)
    rows, _ = world(rng, people(rng, 300, 300, 80), saturates)
    bins, edges = AgeBins(rows), np.quantile(rows.predicted_age, np.arange(1, 16) / 16)
    found = bins.densities(edges, rng.integers(0, 5, rows.people))
    np.testing.assert_allclose(found.sum(1), 1)
    line = edges if not saturates else 36 + 6 * np.log((edges - 18) / (60 - edges))
    for k in range(len(bins.start)):
        ages = bins.age[bins.place == k]
        if len(ages):
            true = np.diff(norm.cdf((line[:, None] - 6 - 0.85 * ages) / 5).mean(1), prepend=0, append=1)
            assert np.abs(found[k] - true).sum() / 2 < most, bins.start[k]


def test_ages_are_deconvolved_to_those_that_the_photos_have():
    rng = np.random.default_rng(2)
    start = np.array([18, 23, 28, 30, 35, 40, 45, 50, 55, 60])
    bands, edges = band(start), np.arange(20, 66, 3.0)
    density = np.diff(norm.cdf((edges - 6 - 0.85 * (start[:, None] + 2)) / 5), prepend=0, append=1, axis=1)
    share = np.array([12, 12, 6, 2, 2, 3, 4, 12, 18, 6.0])
    share /= share.sum()
    true = share * np.exp([0, 0, 0, 1.5, 1.2, 0.9, 0.4, -0.5, -1, 0.8])
    true /= true.sum()
    prior = np.bincount(bands, true)
    found = deconvolve(bands, share, density, true @ density, 3000, 200)
    np.testing.assert_allclose(found.prior, prior, atol=0.03)
    np.testing.assert_allclose(found.fitted, true @ density, atol=0.005)
    middle = bands == 1
    assert np.corrcoef(np.log(found.factor[middle]), np.log((true / share)[middle]))[0, 1] > 0.97
    np.testing.assert_allclose(found.priors.sum(1), 1)
    held = []
    for _ in range(40):
        seen = rng.multinomial(400, true @ density) / 400
        low, high = np.quantile(deconvolve(bands, share, density, seen, 400, 200).priors, [0.025, 0.975], axis=0)
        held.append((low <= prior) & (prior <= high))
    assert np.mean(held) > 0.88
    same = deconvolve(bands, share, density, share @ density, 3000, 10)
    np.testing.assert_allclose(same.factor / same.factor[0], 1, atol=0.05)


def test_the_likeliest_ages_have_no_slope_and_the_curvature_told():
    rng = np.random.default_rng(3)
    bands, density = np.array([0, 0, 1, 1, 1, 2]), rng.dirichlet(np.ones(9), 6)
    share, count = rng.dirichlet(np.ones(6)), rng.multinomial(200, np.ones(9) / 9).astype(float)
    penalty = _penalty(bands, BENDS[1])
    log, hessian, loss = _likeliest(share, density, count, penalty)

    def value(at):
        shares = share * np.exp(at)
        return at @ penalty @ at / 2 - count @ np.log(shares / shares.sum() @ density)

    assert value(log) == pytest.approx(loss)
    step = 1e-4 * np.eye(6)
    slope = [(value(log + d) - value(log - d)) / 2e-4 for d in step]
    np.testing.assert_allclose(slope, 0, atol=0.02)
    expected = np.zeros((6, 6))  # Fisher's information, for the counts at hand, beside the penalty
    found = share * np.exp(log) / (share * np.exp(log)).sum()
    for cell in range(9):
        way = found * (density[:, cell] / (found @ density[:, cell]) - 1)
        expected += count[cell] * np.outer(way, way)
    np.testing.assert_allclose(hessian, expected + penalty)


@pytest.fixture(scope="module")
def shifted():
    """Of several worlds: validation rows, truth, the estimate, and thresholds by it and by the true prior."""
    rng, found = np.random.default_rng(4), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_estimate, "SETS", 40)
        for _ in range(4):
            rows, _ = world(rng, people(rng, 220, 260, 60))
            truth, predicted = world(rng, people(rng, 200, 300, 150, flat=True))
            found.append((rows, truth, eval_of(truth, predicted), prior_of_eval(rows, eval_of(truth, predicted))))
    return found


def test_other_ages_inside_a_band_are_found_where_no_mix_explains_the_photos(shifted):
    off, raw = [], []
    for rows, truth, _, guess in shifted:
        true = truth.counts / truth.people
        assert guess.ages is not None
        assert not guess.unlike
        assert not guess.beyond
        notes = []
        assert prior_kind("auto", rows, 500, guess, notes)[0] == "estimate"
        assert any("other ages inside the bands" in note for note in notes)
        off.append(np.abs(guess.prior - true).max())
        raw.append(np.abs(guess.raw - true).max())
        kind = rows.kind
        np.testing.assert_allclose(np.bincount(kind, guess.ages.weights), np.bincount(kind))
        middle = rows.band[rows.first] == 1
        age = rows.age[rows.first][middle]
        assert np.average(age, weights=guess.ages.weights[middle]) < age.mean() - 3
    assert np.mean(off) < 0.08
    assert np.mean(off) < 0.6 * np.mean(raw)


def test_whoever_goes_by_train_is_told_of_other_ages_too(shifted):
    _, _, _, guess = shifted[0]
    for prior, people in (("train", 500), ("auto", 20)):
        notes = []
        assert prior_kind(prior, shifted[0][0], people, guess, notes)[0] == "train"
        assert any("other ages inside the bands" in note for note in notes)
    notes = []
    prior_kind("auto", shifted[0][0], 500, guess, notes)
    (tried,) = [note for note in notes if "on your own people" in note]
    assert "it was not tried" in tried
    assert "off by" not in tried


def test_thresholds_for_such_ages_beat_those_for_the_true_mix_of_bands(shifted):
    from models.labels import fused
    from pipeline.scoring.metrics import macro_f1

    scores = []
    for rows, truth, eval, guess in shifted:
        found = choose_thresholds(rows, rows.counts / rows.people, eval, draws=20, guess=guess, toward=1.0)
        assert found.rows.weight is not None
        assert found.ages.shape == (len(guess.draws), rows.people)
        given = choose_thresholds(rows, truth.counts / truth.people, eval, draws=20)
        assert given.rows.weight is None
        predicted = eval.predicted_age[:, 0]
        scores.append([macro_f1(truth.label, fused(truth.cell, predicted, one.thresholds)) for one in (found, given)])
        halfway, none = (
            choose_thresholds(rows, rows.counts / rows.people, eval, draws=20, guess=guess, toward=toward)
            for toward in (0.5, 0.0)
        )
        np.testing.assert_allclose(halfway.rows.weight - 1, (found.rows.weight - 1) / 2, atol=1e-12)
        assert none.rows.weight is None
        for one in (halfway, none):  # what is to be expected does not depend on what is chosen for
            np.testing.assert_allclose(one.eval_like.weight, found.rows.weight)
    assert np.subtract(*np.mean(scores, 0)) > 0.01


@pytest.mark.parametrize(("years", "times"), [(4, 1.0), (-4, 1.0), (0, 1.2)])
def test_another_camera_is_not_taken_for_other_ages(years, times, monkeypatch):
    monkeypatch.setattr(prior_estimate, "SETS", 40)
    rng = np.random.default_rng(6)
    rows, _ = world(rng, people(rng, 220, 260, 60))
    truth, predicted = world(rng, people(rng, 200, 150, 150))
    guess = prior_of_eval(rows, eval_of(truth, 45 + (predicted - 45) * times + years))
    assert guess.ages is None
    assert guess.beyond
    notes = []
    assert prior_kind("auto", rows, 500, guess, notes) == ("train", 0.0)
    assert any("unlike your validation people" in note for note in notes)


def test_photos_that_weigh_more_tell_more_of_an_age():
    rng = np.random.default_rng(7)
    rows, _ = world(rng, people(rng, 100, 100, 60))
    bare = rows.label // 6 == 2
    rows = replace(rows, predicted_age=rows.predicted_age + np.where(bare, 6.0, -2.0))
    edges, group = np.arange(20, 66, 4.0), rng.integers(0, 5, rows.people)
    weight = np.where(bare, 5.0, 1 / 3)
    some, same = AgeBins(replace(rows, weight=weight)), AgeBins(rows)
    middles = np.concatenate([[18], edges + 2])
    shift = (some.densities(edges, group) - same.densities(edges, group)) @ middles
    expected = np.average(np.where(bare, 6, -2), weights=weight) - np.mean(np.where(bare, 6, -2))
    assert shift[some.known].mean() == pytest.approx(expected, abs=1.0)


def test_ages_count_in_whole_years_and_people_once():
    rng = np.random.default_rng(8)
    rows, _ = world(rng, people(rng, 30, 30, 30))
    parts = replace(rows, age=rows.age + rng.random(rows.people)[rows.person] * 0.9)
    one, other = AgeBins(rows), AgeBins(parts)
    np.testing.assert_array_equal(one.place, other.place)
    np.testing.assert_allclose(*(bins.densities(np.arange(20, 66, 6.0), np.arange(90) % 5) for bins in (one, other)))
    together = AgeBins(replace(rows, identities=np.where(rows.age[rows.first] == 60, 0, np.arange(90))))
    assert one.known[-1]
    assert not together.known[-1], "thirty ages of one person are one person"


def test_ages_that_nobody_held_out_has_explain_nothing(monkeypatch):
    monkeypatch.setattr(prior_estimate, "SETS", 40)
    rng = np.random.default_rng(5)
    rows, _ = world(rng, np.concatenate([rng.integers(18, 30, 150), rng.integers(52, 60, 150), np.full(50, 60)]))
    truth, predicted = world(
        rng, np.concatenate([rng.integers(18, 30, 80), rng.integers(33, 45, 150), np.full(50, 60)])
    )
    guess = prior_of_eval(rows, eval_of(truth, predicted))
    assert guess.ages is None
    assert guess.unlike
