"""Mask states of photos without labels: their shares, and photos held out weighted to them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.combiner.class_prior import weighted
from pipeline.combiner.mask_prior import mask_prior, masks_of
from pipeline.prediction.eval_predictions import EvalPredictions
from tests.pipeline.made_predictions import draw


def confused(rng, mask, confusion):
    return np.array([rng.choice(3, p=confusion[state]) for state in mask])


ONE_SIDED = np.array([[0.995, 0.0, 0.005], [0.1, 0.9, 0.0], [0.0, 0.005, 0.995]])


def held_out(rng, people=(60, 60, 30), confusion=ONE_SIDED):
    rows, _ = draw(rng, people)
    return replace(rows, cell=confused(rng, rows.label // 6, confusion) * 2 + rows.gender)


def test_shares_of_a_street_are_found_through_one_sided_confusions():
    rng = np.random.default_rng(0)
    off, plain, held = [], [], []
    for _ in range(20):
        rows, share = held_out(rng), rng.dirichlet(np.ones(3))
        mask = rng.choice(3, 4000, p=share)
        seen, true = confused(rng, mask, ONE_SIDED), np.bincount(mask, minlength=3) / len(mask)
        found = mask_prior(rows, seen[:, None], 1.0)
        off.append(np.abs(found.share - true).max())
        plain.append(np.abs(np.bincount(seen, minlength=3) / len(seen) - true).max())
        low, high = found.interval.T
        held.append((low <= true) & (true <= high))
    assert np.mean(off) < 0.015
    assert np.mean(off) < np.mean(plain) / 2
    assert np.mean(held) > 0.88


def test_what_a_weak_network_says_is_drawn_toward_the_train_people():
    rng = np.random.default_rng(1)
    weak = np.full((3, 3), 0.2) + 0.4 * np.eye(3)
    mask = np.repeat([0, 1, 2], [60, 20, 20])
    for confusion, shifted in ((weak, False), (np.eye(3), True)):
        found = mask_prior(held_out(rng, confusion=confusion), confused(rng, mask, confusion)[:, None], 1.0)
        np.testing.assert_allclose(found.train, [5 / 7, 1 / 7, 1 / 7])
        assert found.shifted == shifted
        np.testing.assert_allclose(found.share, found.estimate if shifted else found.train)
        if shifted:
            np.testing.assert_allclose(found.share, [0.6, 0.2, 0.2], atol=0.02)
        else:
            assert np.ptp(found.interval, 1).max() > 0.1


def test_mistakes_about_a_person_go_together_and_count_as_fewer():
    rng = np.random.default_rng(2)
    rows = held_out(rng, confusion=np.eye(3))
    people = rng.random(rows.people) < 0.15  # of some people the mask worn right is never seen as that
    mask = np.where(people[rows.person] & (rows.label // 6 == 0), 1, rows.label // 6)
    rows = replace(rows, cell=mask * 2 + rows.gender)
    seen = rng.choice(3, (350, 1), p=[0.6, 0.3, 0.1])
    together, apart = (mask_prior(rows, seen, n) for n in (7.0, 1.0))
    assert np.ptp(together.interval, 1).max() > 1.15 * np.ptp(apart.interval, 1).max()


def test_a_network_that_is_missing_is_left_out_and_each_photo_counts_once():
    rng = np.random.default_rng(3)
    rows, one = held_out(rng), rng.choice(3, (900, 1), p=[0.2, 0.2, 0.6])
    alone, twice = mask_prior(rows, one, 1.0), mask_prior(rows, np.concatenate([one, one], 1), 1.0)
    missing = np.full_like(one, -1)
    np.testing.assert_array_equal(alone.estimate, twice.estimate)
    np.testing.assert_array_equal(alone.estimate, mask_prior(rows, np.concatenate([missing, one], 1), 1.0).estimate)


def test_photos_held_out_are_weighted_to_the_shares_alike_in_every_class():
    rng = np.random.default_rng(4)
    rows = held_out(rng)
    found = mask_prior(rows, rng.choice(3, (3000, 1), p=[0.3, 0.1, 0.6]), 1.0)
    weights = found.weights(rows)
    np.testing.assert_allclose(np.bincount(rows.label // 6, weights) / weights.sum(), found.share)
    np.testing.assert_allclose(weights, (found.share / found.train)[rows.label // 6])
    kind, made = rows.kind[rows.person], weighted(rows, weights)
    np.testing.assert_allclose(np.bincount(kind, made.weight), np.bincount(kind))


def test_photos_chosen_by_what_was_predicted_keep_their_confusions():
    rng = np.random.default_rng(8)
    rows = held_out(rng, (200, 200, 100), np.array([[1.0, 0, 0], [0.4, 0.6, 0], [0, 0, 1.0]]))
    found = mask_prior(rows, rng.choice(3, (3000, 1), p=[0.3, 0.2, 0.5]), 1.0)
    some = rng.random(len(rows.person)) < np.array([0.1, 1.0, 0.5])[rows.cell // 2]
    dealt = replace(rows, **{name: getattr(rows, name)[some] for name in ("person", "label", "cell")})
    true, seen, weights = dealt.label // 6, dealt.cell // 2, found.weights(dealt)
    np.testing.assert_allclose(np.bincount(true, weights) / weights.sum(), found.share, atol=1e-9)
    wrong = true == 1
    assert np.average(seen[wrong] == 0, weights=weights[wrong]) == pytest.approx(found.confusion[1, 0], abs=1e-9)
    assert np.mean(seen[wrong] == 0) < 0.15


@pytest.mark.parametrize(
    "confusion",
    [
        np.array([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]]),
        np.array([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]]),
        np.array([[1.0, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]),
    ],
)
def test_states_that_a_network_cannot_tell_apart_are_as_in_train(confusion):
    rng = np.random.default_rng(9)
    rows = held_out(rng, confusion=confusion)
    assert mask_prior(rows, rng.choice(3, (3000, 1)), 1.0) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.03])
def test_a_rare_state_is_told_as_rare(share):
    rng = np.random.default_rng(10)
    rows = held_out(rng, confusion=np.eye(3))
    for rare in range(3):
        shares = np.full(3, (1 - share) / 2)
        shares[rare] = share
        mask = np.repeat(np.arange(3), np.rint(shares * 5000).astype(int))
        found = mask_prior(rows, mask[:, None], 1.0)
        assert found.shifted
        np.testing.assert_allclose(found.share, np.bincount(mask, minlength=3) / len(mask), atol=0.006)
        assert (found.share[rare] == 0) == (share == 0)
        assert (found.weights(rows) > 0).all()


def test_a_state_of_few_photos_held_out_tells_nothing():
    rng = np.random.default_rng(11)
    rows = held_out(rng, (200, 200, 100), np.eye(3))
    few = (rows.label // 6 != 1) | (rows.person < 29)
    rows = replace(rows, **{name: getattr(rows, name)[few] for name in ("person", "label", "cell")})
    assert mask_prior(rows, rng.choice(3, (3000, 1)), 1.0) is None


@pytest.mark.parametrize(("people", "photos", "told"), [(2, 3000, True), (60, 100, False)])
def test_masks_are_as_in_train_where_too_little_is_known(people, photos, told):
    rng = np.random.default_rng(5)
    rows = held_out(rng)
    few = (rows.label // 6 != 1) | (rows.person < people)
    rows = replace(rows, **{name: getattr(rows, name)[few] for name in ("person", "label", "cell", "gender", "age")})
    notes = []
    eval = EvalPredictions(np.full((photos, 1), 40.0), np.zeros((photos, 1), int), 7.0, np.zeros((photos, 1), int))
    assert masks_of(rows, eval, 50, 0, notes) is None
    assert any("some mask state" in note for note in notes) == told
    assert masks_of(rows, replace(eval, mask=None), 50, 0, notes) is None
