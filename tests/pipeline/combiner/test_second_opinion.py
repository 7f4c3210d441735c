"""The second opinion on the score to expect: tables of given margins, and what they come to."""

from dataclasses import replace

import numpy as np
import pytest

from models.labels import fused
from pipeline.combiner.class_prior import people_of
from pipeline.combiner.second_opinion import confusions, disagree, label_priors, raked, second_opinion
from pipeline.scoring.metrics import macro_f1
from tests.pipeline.made_predictions import draw


def test_a_raked_table_has_both_margins_and_the_odds_of_the_other():
    rng = np.random.default_rng(0)
    table, rows, columns = rng.random((18, 18)) + 0.05, rng.dirichlet(np.ones(18) * 5), rng.dirichlet(np.ones(18) * 5)
    found = raked(table, rows, columns)
    np.testing.assert_allclose(found.sum(1), rows, atol=1e-9)
    np.testing.assert_allclose(found.sum(0), columns, atol=1e-12)

    def odds(one):
        return one[:-1, :-1] * one[1:, 1:] / one[:-1, 1:] / one[1:, :-1]

    np.testing.assert_allclose(odds(found), odds(table), rtol=1e-9)


@pytest.fixture
def labelled():
    rows, _ = draw(np.random.default_rng(1), (150, 150, 100))
    return rows, fused(rows.cell, rows.predicted_age)


def test_of_the_same_people_it_says_what_they_reach(labelled):
    rows, labels = labelled
    weights = rows.drawn_again(60, np.random.default_rng(0))
    counts = np.bincount(labels, minlength=18)
    found = second_opinion(rows, labels, counts, people_of(rows)[None], None, weights, rows.people, 0.9)
    assert found["macro_f1"] == pytest.approx(macro_f1(rows.label, labels), abs=0.01)
    assert found["interval"][0] < found["macro_f1"] < found["interval"][1]


def test_it_knows_what_was_predicted(labelled):
    rows, labels = labelled
    rng = np.random.default_rng(2)
    other, predicted = draw(rng, (100, 150, 20))
    there = fused(other.cell, predicted[:, 0])
    truth = people_of(other)[None]
    weights = rows.drawn_again(60, rng)
    found = second_opinion(rows, labels, np.bincount(there, minlength=18), truth, None, weights, other.people, 0.9)
    assert found["interval"][0] <= macro_f1(other.label, there) <= found["interval"][1]
    # were everybody predicted to be young, it could not be high, whatever the validation people reach
    blind = np.bincount(there // 3 * 3, minlength=18)
    assert second_opinion(rows, labels, blind, truth, None, weights, 150, 0.9)["macro_f1"] < 0.3


def test_confusions_are_rows_of_shares_of_people_there_so_often(labelled):
    rows, labels = labelled
    some = np.random.default_rng(3).integers(0, 3, rows.people)
    table = confusions(rows, labels, some)
    np.testing.assert_allclose(table.sum(1), 1)
    assert (table > 0).all()
    doubled = confusions(replace(rows, weight=np.full(len(labels), 2.0)), labels, some)
    plain = np.zeros((18, 18))
    np.add.at(plain, (rows.label, labels), some[rows.person])
    plain /= plain.sum(1, keepdims=True)
    assert np.abs(doubled - plain).max() < np.abs(table - plain).max() < 0.1


def test_labels_are_shared_out_by_masks_and_classes(labelled):
    rows, _ = labelled
    possible = np.random.default_rng(4).dirichlet(np.ones(6), 3)
    masks = np.array([[0.2, 0.3, 0.5]] * 3)
    shares = label_priors(rows, possible, masks).reshape(3, 3, 2, 3)
    np.testing.assert_allclose(shares.sum((2, 3)), masks)
    np.testing.assert_allclose(shares.sum(1).transpose(0, 2, 1).reshape(3, 6), possible)
    as_in_train = label_priors(rows, possible, None).reshape(3, 3, -1).sum(2)
    np.testing.assert_allclose(as_in_train, np.tile([5 / 7, 1 / 7, 1 / 7], (3, 1)))


@pytest.mark.parametrize(
    ("first", "second", "far"),
    [
        ((0.6, (0.5, 0.7)), (0.65, (0.6, 0.7)), False),
        ((0.6, (0.55, 0.65)), (0.7, (0.55, 0.85)), False),
        ((0.6, (0.55, 0.65)), (0.7, (0.66, 0.74)), True),
        ((0.6, None), (0.9, (0.8, 0.95)), False),
    ],
)
def test_two_opinions_disagree_where_neither_holds_the_other(first, second, far):
    one, other = ({"macro_f1": value, "interval": interval} for value, interval in (first, second))
    assert disagree(one, other) == far
