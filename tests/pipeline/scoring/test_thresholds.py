"""The score surface against scikit-learn, Monte Carlo and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from models.labels import class_of_label
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.surface import BinnedAges, ByClass, Surface, default_grid
from pipeline.scoring.thresholds import choose, crossings, shrinkage_of, shrunk


def at(surface, thresholds):
    """The value at the grid point nearest to the thresholds."""
    i, j = (int(np.abs(surface.grid - t).argmin()) for t in thresholds)
    return float(surface.values[i, j])


@st.composite
def problems(draw):
    """Answers with ties on and off a 15-point grid, missing labels, weights, 1 to 120 photos."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 120))
    grid = np.sort(rng.choice(np.arange(200, 700) / 10, 15, replace=False))
    some = rng.choice(18, draw(st.integers(1, 18)), replace=False)
    label = rng.choice(some, n)
    predicted = np.where(rng.random(n) < draw(st.floats(0, 1)), rng.choice(grid, n), rng.uniform(10, 80, n))
    cell = np.where(rng.random(n) < draw(st.floats(0, 1)), label // 3, rng.integers(0, 6, n))
    kind = draw(st.sampled_from(["none", "real", "with zeros", "tiny"]))
    whole = rng.integers(0, 3, n).astype(float)
    whole[0] += 1  # not all are zero
    weights = {"none": None, "real": rng.exponential(1, n), "with zeros": whole, "tiny": whole + 1e-9}[kind]
    return grid, predicted, label, cell, weights


def reference(predicted, label, cell, weights, low, high):
    fused = cell * 3 + (predicted >= low) + (predicted >= high)
    some = np.unique(label if weights is None else label[weights > 0])
    return f1_score(label, fused, labels=some, average="macro", zero_division=0, sample_weight=weights)


@given(problems())
@settings(max_examples=10, deadline=None)
def test_the_surface_is_scikit_learns_score_at_every_pair(problem):
    check_every_pair(problem)


@pytest.mark.slow
@given(problems())
@settings(max_examples=500, deadline=None)
def test_the_surface_is_scikit_learns_score_on_500_problems(problem):
    check_every_pair(problem)


def check_every_pair(problem):
    grid, predicted, label, cell, weights = problem
    surface = BinnedAges(predicted, label, cell, grid).surface(weights)
    truths = np.bincount(label, weights, minlength=18)
    # Sums over the middle band are differences: a label of a billionth of the weight keeps half its digits.
    off = 1e-12 if truths[truths > 0].min() > 1e-8 * truths.sum() else 1e-6
    for i in range(15):
        assert np.isneginf(surface.values[i, :i]).all()
        for j in range(i, 15):
            expected = reference(predicted, label, cell, weights, grid[i], grid[j])
            assert surface.values[i, j] == pytest.approx(expected, abs=off)


def problem(rng, n=400):
    age = rng.choice([20, 25, 40, 50, 58, 60], n)
    label = rng.integers(0, 6, n) * 3 + (age >= 30) + (age >= 60)
    cell = np.where(rng.random(n) < 0.9, label // 3, rng.integers(0, 6, n))
    return age + rng.normal(0, 4, n), label, cell


@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_a_bandwidth_gives_the_expected_counts_of_answers_with_noise(bandwidth):
    rng = np.random.default_rng(0)
    predicted, label, cell = problem(rng)
    weights = rng.exponential(1, len(predicted))
    spread = BinnedAges(predicted, label, cell, bandwidth=bandwidth)
    hits, predictions, _ = spread.below(weights)
    times = 4000
    noisy = np.sort(predicted[:, None] + bandwidth * rng.normal(size=(len(predicted), times)), axis=1)
    for threshold in (27.0, 41.3, 57.7):
        place = int(np.abs(spread.grid - threshold).argmin())
        share = np.mean(noisy < spread.grid[place], axis=1)
        for c in range(6):
            inside = cell == c
            error = np.sqrt((weights**2 * share * (1 - share))[inside].sum() / times)
            assert predictions[c, place] == pytest.approx((weights * share)[inside].sum(), abs=5 * error + 2e-3)
            right = label == c * 3 + 1
            assert hits[c, 1, place] == pytest.approx((weights * share)[inside & right].sum(), abs=5 * error + 2e-3)
    # the score itself is the score of the expected counts: that of many noisy copies at once
    many = np.tile(predicted, 400) + bandwidth * rng.normal(size=400 * len(predicted))
    surface = spread.surface(weights)
    low, high = 30.0, 57.0
    copies = reference(many, np.tile(label, 400), np.tile(cell, 400), np.tile(weights, 400), low, high)
    assert at(surface, (low, high)) == pytest.approx(copies, abs=2e-3)


@pytest.mark.parametrize("bandwidth", [0.0, 2.0])
def test_tables_by_class_give_the_surface_of_any_mix(bandwidth):
    rng = np.random.default_rng(11)
    predicted, label, cell = problem(rng)
    weights, factor = rng.exponential(1, len(predicted)), rng.uniform(0.1, 3, 6)
    grid = np.arange(15.0, 75.0, 0.5)
    whole = BinnedAges(predicted, label, cell, grid, bandwidth).surface(weights * factor[class_of_label(label)])
    table = ByClass(predicted, label, cell, grid, bandwidth, weights)
    assert table.surface(factor).values == pytest.approx(whole.values, abs=1e-9)
    other = rng.uniform(0.1, 3, 6)
    mean = (table.surface(factor).values + table.surface(other).values) / 2
    assert table.mean(np.stack([factor, other])).values == pytest.approx(mean, abs=1e-12)


def test_the_search_over_many_mixes_finds_what_the_whole_grid_has():
    rng = np.random.default_rng(12)
    predicted, label, cell = problem(rng, 3000)
    factor = np.ones((1, 6))
    surface = BinnedAges(predicted, label, cell, bandwidth=2.0).surface()
    one = choose(predicted, label, cell, factor, 2.0, (30.0, 60.0))
    many = choose(predicted, label, cell, np.repeat(factor, 3, axis=0), 2.0, (30.0, 60.0))
    assert at(surface, many) == pytest.approx(surface.values.max(), abs=1e-3)
    assert one == pytest.approx(many, abs=0.5)


def test_best_is_the_middle_of_the_flat_top():
    # perfect answers 20, 40 and 60: any thresholds between them are right
    predicted = np.tile([20.0, 40.0, 60.0], 6)
    label = np.arange(18)
    surface = BinnedAges(predicted, label, label // 3).surface()
    assert surface.values.max() == 1.0
    assert surface.best() == pytest.approx((30.05, 50.05), abs=0.051)


def test_between_equal_tops_the_nearest_to_the_fallback_wins():
    grid = np.arange(20.0, 70.0)
    values = np.zeros((50, 50))
    values[5:8, 20:23] = values[10:13, 40:43] = 1.0
    assert Surface(grid, values).best((30, 60)) == (31.0, 61.0)
    assert Surface(grid, values).best((26, 40)) == (26.0, 41.0)


def test_best_lies_on_a_bent_top():
    grid = np.arange(10.0)
    values = np.zeros((10, 10))
    values[2, 3:9] = values[2:8, 8] = 1.0
    surface = Surface(grid, values)
    assert at(surface, surface.best()) == 1.0


def test_one_person_and_answers_beyond_the_grid():
    surface = BinnedAges([25.0] * 7, [0, 0, 0, 0, 0, 6, 12], [0, 0, 0, 0, 0, 2, 4]).surface()
    assert at(surface, surface.best()) == 1.0
    outside = BinnedAges([5.0, 99.0], [0, 2], [0, 0], grid=np.array([30.0, 60.0]), bandwidth=1.0).surface()
    assert outside.values[0, 1] == pytest.approx(1.0)


def test_the_default_grid_covers_the_answers_in_tenths():
    grid = default_grid(np.array([18.32, 60.0]))
    assert grid[0] <= 18.32
    assert grid[-1] > 60
    assert np.array_equal(grid, np.round(grid, 1))
    assert 30.0 in grid


def test_bad_lists_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        BinnedAges([np.nan], [0], [0])
    with pytest.raises(ValueError, match="one length"):
        BinnedAges([1.0, 2.0], [0], [0])


def test_a_label_that_weighs_nothing_does_not_count():
    """As where a given mix holds nobody who is 60 and over: right answers score 1, not two thirds of it."""
    predicted, label = np.tile([20.0, 40.0, 60.0], 6), np.arange(18)
    factor = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    assert BinnedAges(predicted, label, label // 3).surface(
        factor[class_of_label(label)]
    ).values.max() == pytest.approx(1)
    one = choose(predicted, label, label // 3, factor[None], 0.0, (30.0, 60.0))
    found = BinnedAges(predicted, label, label // 3).surface(factor[class_of_label(label)])
    assert at(found, one) == pytest.approx(1)
    grid = default_grid(predicted)
    table = ByClass(predicted, label, label // 3, grid, 0.0)
    assert at(table.surface(factor), (30, 50)) == pytest.approx(macro_f1(label, label, factor[class_of_label(label)]))
    assert (table.surface(np.zeros(6)).values[0] == 0).all(), "and where nothing counts the score is 0"


@pytest.mark.parametrize("slope", [1.0, 0.6])
def test_the_fallback_of_ages_past_60_is_on_the_line_too(slope):
    age = np.arange(20.0, 90.0)
    assert crossings(age, 5 + slope * age) == pytest.approx((5 + slope * 29.5, 5 + slope * 59.5))


def test_the_fallback_is_where_the_line_crosses():
    age = np.array([18.0, 30, 45, 60, 60])  # the contest's end at 60
    low, high = crossings(age, 5 + 0.9 * age)
    assert (low, high) == pytest.approx((5 + 0.9 * 29.5, 5 + 0.9 * 59.5))
    assert crossings([20, 30, 40], [3, 2, 1]) == (29.5, 59.5)


def test_a_threshold_is_drawn_by_the_people_of_the_smaller_band_beside_it():
    """Without a step: one person more or less moves it little."""
    assert shrinkage_of(np.array([5, 20, 95])) == pytest.approx([0.5, 0.2])
    steps = np.array([shrinkage_of(np.array([1000, 1000, n]))[1] for n in range(1, 200)])
    assert (np.diff(steps) < 0).all()
    assert np.abs(np.diff(steps[10:])).max() < 0.03
    assert shrunk((30.0, 58.0), (34.0, 60.0), np.array([0.25, 0.5])) == (31.0, 59.0)
    assert shrunk((30.0, 58.0), (34.0, 60.0), np.zeros(2)) == (30.0, 58.0)
