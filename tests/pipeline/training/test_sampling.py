"""Which photos come when: whole epochs and parts of them, undersampled or balanced, from any step on."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.sampling import (
    AGAIN,
    balanced,
    batches,
    epoch_steps,
    repetitions,
    rows_of,
    steps_of,
    undersampled,
)


@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 4), st.integers(0, 5))
@settings(deadline=None)
def test_every_epoch_is_whole_batches_of_different_photos(count, batch, epochs, seed):
    batch = min(batch, count)  # as the trainer does
    rows = np.arange(100, 100 + count)
    made = list(batches(lambda _: rows, batch, epochs, seed))
    assert epoch_steps(count, batch) == count // batch
    assert len(made) == epochs * (count // batch)
    assert {len(step) for step in made} == {batch}
    for epoch in range(epochs):
        steps = made[epoch * (count // batch) : (epoch + 1) * (count // batch)]
        of_epoch = [key for step in steps for key in step]
        assert {e for e, _ in of_epoch} == {epoch}
        assert len({row for _, row in of_epoch}) == len(of_epoch)
        assert {row for _, row in of_epoch} <= set(rows.tolist())


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.data())
@settings(deadline=None)
def test_starting_later_skips_exactly_the_first_steps(count, batch, epochs, data):
    rows, batch = np.arange(count), min(batch, count)
    whole = list(batches(lambda _: rows, batch, epochs, 3))
    start = data.draw(st.integers(0, len(whole)))
    assert list(batches(lambda _: rows, batch, epochs, 3, start)) == whole[start:]


def test_the_order_follows_from_seed_and_epoch():
    rows = np.arange(40)
    one = list(batches(lambda _: rows, 8, 3, seed=1))
    assert one == list(batches(lambda _: rows, 8, 3, seed=1)) == list(batches(lambda _: rows, 8, 5, seed=1))[:15]
    assert one != list(batches(lambda _: rows, 8, 3, seed=2))
    orders = [tuple(row for step in one[e * 5 : e * 5 + 5] for _, row in step) for e in range(3)]
    assert len(set(orders)) == 3
    # Over epochs each photo is left over about as often: 3 of 43 photos each time.
    seen = Counter(row for step in batches(lambda _: np.arange(43), 8, 300, 0) for _, row in step)
    assert min(seen.values()) > 255


def test_undersampled_photos_take_turns():
    rows = np.arange(100, 170)
    classes = np.repeat([0, 1, 2], [50, 13, 7])
    epochs = [undersampled(rows, classes, 2.0, epoch, seed=4) for epoch in range(25)]
    for chosen in epochs:
        assert np.bincount(classes[chosen - 100]).tolist() == [14, 13, 7]
        assert len(set(chosen)) == len(chosen)
    seen = Counter(np.concatenate(epochs).tolist())
    assert {seen[row] for row in range(150, 170)} == {25}
    assert {seen[row] for row in range(100, 150)} == {7}  # 25 epochs x 14 photos over 50
    assert undersampled(rows, classes, 0, 3, seed=4) is rows


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_slices_of_processes_partition_each_batch(ranks):
    whole = list(batches(lambda _: np.arange(30), 7, 2, 0))
    slices = [list(batches(lambda _: np.arange(30), 7, 2, 0, 0, rank, ranks)) for rank in range(ranks)]
    for step, parts in zip(whole, zip(*slices, strict=True), strict=True):
        assert sorted(step) == sorted(itertools.chain(*parts))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "steps"),
    [(6, 7, 42), (6.0, 7, 42), (6.5, 10, 65), (0.5, 3, 2), (0.01, 3, 1), (1 / 3, 30, 10), (1e-9, 1, 1)],
)
def test_a_run_has_the_steps_nearest_to_its_epochs(epochs, steps_per_epoch, steps):
    assert steps_of(epochs, steps_per_epoch) == steps
    made = list(batches(lambda _: np.arange(steps_per_epoch * 4 + 3), 4, epochs, 0))
    assert len(made) == steps
    assert (
        made == list(batches(lambda _: np.arange(steps_per_epoch * 4 + 3), 4, 9, 0))[:steps]
    )  # cut short, not otherwise


@given(st.integers(2, 60), st.integers(1, 9), st.floats(0.1, 4), st.data())
@settings(deadline=None)
def test_starting_later_skips_exactly_the_first_steps_of_a_broken_epoch_too(count, batch, epochs, data):
    classes = np.arange(count) % 7 % 3
    batch = min(batch, len(balanced(np.arange(count), classes, 0, 5)))

    def rows(epoch):
        return balanced(np.arange(count), classes, epoch, 5)

    whole = list(batches(rows, batch, epochs, 3))
    start = data.draw(st.integers(0, len(whole)))
    assert list(batches(rows, batch, epochs, 3, start)) == whole[start:]


CLASSES = np.repeat([0, 1, 4], [50, 13, 7])
ROWS = np.random.default_rng(3).permutation(np.arange(100, 170))


def test_balanced_classes_come_equally_often_and_their_photos_take_turns():
    of_row = dict(zip(ROWS.tolist(), CLASSES.tolist(), strict=True))
    epochs = [balanced(ROWS, CLASSES, epoch, seed=4) for epoch in range(25)]
    for chosen in epochs:
        assert Counter(of_row[row] for row in chosen.tolist()) == {0: 23, 1: 23, 4: 23}  # 70 photos over 3
        counts = Counter(chosen.tolist())
        for one in (0, 1, 4):
            times = [counts[row] for row in of_row if of_row[row] == one]
            assert max(times) - min(times) <= 1
    seen = Counter(np.concatenate(epochs).tolist())
    for one in (0, 1, 4):
        times = [seen[row] for row in of_row if of_row[row] == one]
        assert sum(times) == 25 * 23
        assert max(times) - min(times) <= 1


def test_balanced_rows_follow_from_seed_and_epoch():
    one = balanced(ROWS, CLASSES, 2, seed=4)
    np.testing.assert_array_equal(one, balanced(ROWS, CLASSES, 2, seed=4))
    assert one.tolist() != balanced(ROWS, CLASSES, 3, seed=4).tolist()
    assert one.tolist() != balanced(ROWS, CLASSES, 2, seed=5).tolist()


def test_no_photo_is_altered_twice_the_same_way():
    steps = list(batches(lambda epoch: balanced(ROWS, CLASSES, epoch, 4), 10, 5, 0))
    keys = [key for step in steps for key in step]
    assert len(keys) == 5 * 60
    assert len(set(keys)) == len(keys)
    assert all(isinstance(value, int) for key in keys for value in key)
    assert {epoch % AGAIN for epoch, _ in keys} == set(range(5))
    assert max(epoch // AGAIN for epoch, _ in keys) == 3  # 23 of 7 photos: some come four times


def test_repetitions_by_counting():
    order = np.random.default_rng(0).integers(0, 6, 40)
    seen, expected = Counter(), []
    for row in order.tolist():
        expected.append(seen[row])
        seen[row] += 1
    assert repetitions(order).tolist() == expected


def test_sampling_is_picked_by_name_and_balanced_wins_over_undersampling():
    np.testing.assert_array_equal(rows_of(ROWS, CLASSES, 1, 2, "balanced", 2.0), balanced(ROWS, CLASSES, 1, 2))
    np.testing.assert_array_equal(rows_of(ROWS, CLASSES, 1, 2, "all", 2.0), undersampled(ROWS, CLASSES, 2.0, 1, 2))
    assert rows_of(ROWS, CLASSES, 1, 2, "all", 0) is ROWS
    with pytest.raises(ValueError, match="evenly"):
        rows_of(ROWS, CLASSES, 1, 2, "evenly", 0)


def test_extra_rows_only_fill_up():
    rows = np.arange(70)
    classes = np.array([0] * 20 + [1] * 4 + [2] * 6 + [0] * 30 + [1] * 10)
    extra = np.arange(70) >= 30
    for epoch in range(5):
        alone = undersampled(rows[:30], classes[:30], 2, epoch, 3)
        joined = undersampled(rows, classes, 2, epoch, 3, extra)
        np.testing.assert_array_equal(joined[joined < 30], alone)  # as if there were no others
        assert np.bincount(classes[joined]).tolist() == [12, 12, 6]  # the rarest has six now
    seen = np.concatenate([undersampled(rows, classes, 2, epoch, 3, extra) for epoch in range(30)])
    often = np.bincount(seen, minlength=70)[30:60]
    assert often.max() - often.min() <= 1


def test_a_class_that_only_extra_rows_have_is_the_rarest():
    rows, classes = np.arange(210), np.array([0] * 100 + [1] * 100 + [2] * 10)
    seen = undersampled(rows, classes, 2, 0, 3, rows >= 200)
    assert np.bincount(classes[seen]).tolist() == [20, 20, 10]
