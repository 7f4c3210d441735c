"""How predictions distribute in each class, held to plain histograms and to brute force."""

from dataclasses import replace

import numpy as np
import pytest
from made_predictions import draw

from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.densities import FLOOR, Densities, Smoothing, _at_edges, _balanced, _edges, choose_smoothing
from pipeline.combiner.pooled_residuals import PooledResiduals

BARE = Smoothing(16, (1e-9,) * 3, (1e-9,) * 3)


def ages(density):
    """(6, bins) of (6, F)."""
    return density.reshape(6, -1, 2).sum(2)


def test_bins_hold_equal_shares_of_bands_that_count_alike():
    rows, _ = draw(np.random.default_rng(0), (300, 200, 40))
    edges = _edges(rows, 12)
    assert len(edges) == 11
    weight = 1 / np.bincount(rows.band)[rows.band]
    held = np.bincount(np.searchsorted(edges, rows.predicted_age, side="right"), weight)
    np.testing.assert_allclose(held / 3, 1 / 12, atol=0.01)


def test_without_smoothing_a_density_is_a_histogram():
    rows, _ = draw(np.random.default_rng(1), (200, 200, 100))
    found = Densities(rows, BARE)
    assert found.density.sum(1) == pytest.approx(np.ones(6))
    assert found.shares.sum(1) == pytest.approx(np.ones(500))
    code = found.code(rows.predicted_age, rows.cell % 2)
    for kind in range(6):
        inside = rows.band * 2 + rows.gender == kind
        plain = np.histogram(rows.predicted_age[inside], np.concatenate([[-1e9], found.edges, [1e9]]))[0] / inside.sum()
        even = _balanced(rows, found.edges)
        np.testing.assert_allclose(ages(found.density)[kind], (1 - FLOOR) * plain + FLOOR * even, atol=1e-9)
        said = found.density[kind].reshape(-1, 2).sum(0)
        assert said[1 - kind % 2] == pytest.approx((rows.cell % 2 != rows.gender)[inside].mean(), abs=0.01)
        assert np.bincount(code[inside], minlength=32).sum() == inside.sum()


def test_a_class_is_drawn_toward_its_band_and_a_band_toward_the_model():
    rows, _ = draw(np.random.default_rng(2), (40, 30, 7))
    smoothing = Smoothing(8, (5.0, 2.0, 30.0), (1.0, 10.0, 3.0))
    found = Densities(rows, smoothing)
    model = _at_edges(PooledResiduals(rows), found.edges)
    place, first = np.searchsorted(found.edges, rows.predicted_age, side="right"), rows.first
    for kind in range(6):
        band, gender = divmod(kind, 2)
        sums = np.zeros((2, 8))  # of people's shares: of the band, of the class
        people = np.zeros(2)
        for person in range(77):
            if rows.band[first[person]] == band:
                share = np.bincount(place[rows.person == person], minlength=8) / 7
                mine = rows.gender[first[person]] == gender
                sums += [share, mine * share]
                people += [1, mine]
        toward_band, toward_model = smoothing.toward_band[band], smoothing.toward_model[band]
        whole = (sums[0] + toward_model * model[band]) / (people[0] + toward_model)
        own = (sums[1] + toward_band * whole) / (people[1] + toward_band)
        np.testing.assert_allclose(
            ages(found.density)[kind], (1 - FLOOR) * own + FLOOR * _balanced(rows, found.edges), atol=1e-12
        )


def test_the_model_counts_as_much_as_it_is_worth():
    """On a line the model is the truth and may count for many people; where bands are skewed it is wrong."""
    chosen = {}
    for skew in (False, True):
        rows, _ = draw(np.random.default_rng(3), (800, 800, 300), skew=skew, spread=8.0)
        chosen[skew] = choose_smoothing(rows, inner_folds_of(rows))
    assert min(chosen[False].toward_model) > 100 > 40 > max(chosen[True].toward_model)


def test_genders_that_differ_are_kept_apart():
    rows, _ = draw(np.random.default_rng(4), (300, 300, 60))
    alike = choose_smoothing(rows, inner_folds_of(rows)).toward_band[0]
    apart = replace(rows, predicted_age=rows.predicted_age + 12 * rows.gender * (rows.band == 0))
    assert choose_smoothing(apart, inner_folds_of(apart)).toward_band[0] <= 8 < alike


def test_nothing_else_makes_people_held_out_likelier():
    rows, _ = draw(np.random.default_rng(5), (60, 50, 20), skew=True)
    part = inner_folds_of(rows)
    chosen = choose_smoothing(rows, part)

    def likelihood(smoothing):
        """Of people held out, each band counting alike, by fitting each part's others from nothing."""
        model, edges = PooledResiduals(rows), _edges(rows, smoothing.bins)
        total, first = np.zeros(3), rows.first
        place, even = np.searchsorted(edges, rows.predicted_age, side="right"), _balanced(rows, edges)
        for k in np.unique(part):
            prior = _at_edges(model, edges, model.density((part != k).astype(float)))
            for person in np.flatnonzero(part == k):
                b, g = rows.band[first[person]], rows.gender[first[person]]
                band = (part != k) & (rows.band[first] == b)
                own = band & (rows.gender[first] == g)
                sums = [np.bincount(place[one[rows.person]], minlength=smoothing.bins) / 7 for one in (band, own)]
                m, t = smoothing.toward_model[b], smoothing.toward_band[b]
                whole = (sums[0] + m * prior[b]) / (band.sum() + m)
                found = (1 - FLOOR) * (sums[1] + t * whole) / (own.sum() + t) + FLOOR * even
                seen = np.bincount(place[rows.person == person], minlength=smoothing.bins) / 7
                total[b] += seen @ np.log(found / even)
        return (total / rows.counts).sum()

    top = likelihood(chosen)
    others = [{"bins": bins} for bins in (8, 12, 48)]
    others += [{"toward_model": (people,) * 3} for people in (0.5, 128.0)]
    others += [{"toward_band": (people,) * 3} for people in (2.0, 1e6)]
    for change in others:
        assert likelihood(replace(chosen, **change)) <= top + 1e-9


def test_equal_predictions_fall_into_one_bin_and_choose_no_number_of_them():
    rows, _ = draw(np.random.default_rng(7), (200, 200, 100))
    half = replace(
        rows, predicted_age=np.where(rows.predicted_age > np.median(rows.predicted_age), 58.0, rows.predicted_age)
    )
    found = Densities(half, Smoothing(48))
    assert found.bins < 40
    assert _balanced(half, found.edges).sum() == pytest.approx(1)
    chosen = [choose_smoothing(one, inner_folds_of(rows)).bins for one in (rows, half)]
    assert chosen[1] <= 2 * chosen[0]


def test_a_class_without_people_has_its_bands_density():
    rows, _ = draw(np.random.default_rng(6), (40, 40, 12))
    women = (rows.band == 2) & (rows.gender == 1)
    rows = replace(rows, gender=np.where(women, 0, rows.gender))
    found = Densities(rows, Smoothing(8))
    np.testing.assert_allclose(ages(found.density)[5], ages(found.density)[4], atol=0.05)
    assert found.people[5] == 0
