"""The age mix of the photos of each mask state: where it differs, and what is made of it."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.combiner.class_prior import people_of, weighted
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.mask_prior import mask_prior
from pipeline.combiner.state_priors import by_state, raked, state_priors, state_weights
from pipeline.combiner.threshold_choice import choose_thresholds
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions
from tests.pipeline.made_predictions import draw

BARE_OR_NOT = np.array([[0.15, 0.1, 1.0], [0.6, 0.3, 0.6], [1.0, 0.3, 0.1]])
"""How many of their photos of each mask state the young, the middle and the old bring."""


def photos_of(rows: LabelledPredictions, some) -> EvalPredictions:
    """Photos of a street: who is on them is not known, and each is hardly more than one person."""
    mask, gender = np.divmod(rows.cell[some], 2)
    return EvalPredictions(rows.predicted_age[some][:, None], gender[:, None], some.sum() / rows.people, mask[:, None])


def test_a_raked_table_has_both_margins_and_the_odds_of_the_other():
    rng = np.random.default_rng(0)
    table, rows, columns = rng.random((18, 18)) + 0.05, rng.dirichlet(np.ones(18) * 5), rng.dirichlet(np.ones(18) * 5)
    found = raked(table, rows, columns)
    np.testing.assert_allclose(found.sum(1), rows, atol=1e-9)
    np.testing.assert_allclose(found.sum(0), columns, atol=1e-12)

    def odds(one):
        return one[:-1, :-1] * one[1:, 1:] / one[:-1, 1:] / one[1:, :-1]

    np.testing.assert_allclose(odds(found), odds(table), rtol=1e-9)


def street(rng, stays):
    rows, _ = draw(rng, (150, 130, 70))
    truth, _ = draw(rng, (150, 100, 130))
    some = rng.random(len(truth.person)) < stays[truth.band, truth.label // 6]
    return rows, truth, some


def table_of(truth, some):
    table = np.zeros((3, 3))
    np.add.at(table, (truth.label[some] // 6, truth.band[some]), 1)
    return table


def test_the_old_who_wear_masks_and_the_young_who_do_not_are_told_apart():
    rng, off, alike = np.random.default_rng(0), [], []
    for _ in range(4):
        rows, truth, some = street(rng, BARE_OR_NOT)
        table = table_of(truth, some)
        prior = table.sum(0) / table.sum()
        found = state_priors(rows, photos_of(truth, some), prior, inner_folds_of(rows))
        shares = table / table.sum(1, keepdims=True)
        off.append(np.abs(found - shares).max(1))
        alike.append(np.abs(prior - shares).max(1))
    assert np.mean(off) < 0.07
    assert np.mean(off) < np.mean(alike) / 3


def test_where_all_states_have_the_same_mix_that_is_gone_by():
    rng = np.random.default_rng(1)
    for stays in (np.ones((3, 3)), np.tile([0.2, 0.5, 1.0], (3, 1))):
        for _ in range(4):
            rows, truth, some = street(rng, stays)
            prior = truth.counts / truth.people
            assert state_priors(rows, photos_of(truth, some), prior, inner_folds_of(rows), 1.5) is None


def test_few_photos_or_states_that_are_not_predicted_tell_nothing():
    rng = np.random.default_rng(2)
    rows, truth, some = street(rng, BARE_OR_NOT)
    prior, group = truth.counts / truth.people, inner_folds_of(rows)
    few = some & (np.cumsum(some) % 40 == 0)
    assert state_priors(rows, photos_of(truth, few), prior, group) is None
    assert state_priors(rows, replace(photos_of(truth, some), mask=None), prior, group) is None
    assert state_priors(replace(rows, band=np.minimum(rows.band, 1)), photos_of(truth, some), prior, group) is None
    apart = photos_of(truth, some)
    twice = replace(
        apart,
        predicted_age=np.concatenate([apart.predicted_age, np.full_like(apart.predicted_age, np.nan)], 1),
        gender=np.repeat(apart.gender, 2, 1),
        mask=np.concatenate([np.full_like(apart.mask, -1), apart.mask], 1),
    )
    assert state_priors(rows, twice, prior, group) is None  # no network has both
    worn = rows.label // 6 == 0
    lacking = replace(rows, cell=np.where(worn | (rows.band == 1), rows.cell, rows.cell % 2))
    found = state_priors(lacking, photos_of(truth, some), prior, group)
    np.testing.assert_array_equal(found[1:], [prior, prior])  # nobody young is held out bare


def test_photos_are_weighted_to_both_margins_and_the_states_odds():
    rng = np.random.default_rng(3)
    rows, truth, some = street(rng, BARE_OR_NOT)
    table = table_of(truth, some) / some.sum()
    prior = table.sum(0)
    weights = weighted(rows, state_weights(rows, table)).weight
    kind = rows.kind[rows.person]
    np.testing.assert_allclose(np.bincount(kind, weights), np.bincount(kind))
    own = (prior / np.bincount(rows.band) * len(rows.band))[rows.band]  # as `factors` weighs the bands
    made = np.zeros((3, 3))
    np.add.at(made, (rows.label // 6, rows.band), weights * own)
    np.testing.assert_allclose(made / made.sum(), table, atol=1e-6)
    nobody = state_weights(rows, table * [1, 1, 0])
    assert np.isfinite(weighted(rows, nobody).weight).all()


@pytest.mark.parametrize("stays", [BARE_OR_NOT, np.ones((3, 3))])
def test_a_choice_is_judged_by_them_and_thresholds_stay(stays):
    rng = np.random.default_rng(4)
    rows, truth, some = street(rng, stays)
    eval, prior = photos_of(truth, some), table_of(truth, some).sum(0) / some.sum()
    masks = mask_prior(rows, eval.mask, eval.photos_per_person)
    made = weighted(rows, masks.weights(rows)) if masks.shifted else rows
    found = choose_thresholds(made, prior, eval, draws=10)
    told, judged = by_state(masks, eval, found)
    assert judged.thresholds == found.thresholds
    if stays is BARE_OR_NOT:
        assert told.bands.shape == (3, 3)
        bare = told.bands[2]
        assert bare[0] > 0.6 > 0.2 > bare[2]
        np.testing.assert_allclose(told.share @ told.bands, prior, atol=1e-6)
        assert judged.rows is found.rows
        assert not np.allclose(judged.eval_like.weight, found.rows.weights, atol=0.1)
        table = np.zeros((3, 3))
        kind = judged.eval_like.kind[rows.person]
        own = (found.shares / people_of(rows))[kind] * judged.eval_like.weight
        np.add.at(table, (rows.label // 6, rows.band), own)
        assert np.abs(table / table.sum() - table_of(truth, some) / some.sum()).max() < 0.04
    else:
        assert told.bands is None
        assert judged is found
