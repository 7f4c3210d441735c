"""The second opinion on the score to expect."""

from dataclasses import replace

import numpy as np
import pytest

from models.labels import fused
from pipeline.combiner.class_prior import people_of
from pipeline.combiner.second_opinion import confusions, disagree, label_priors, second_opinion
from pipeline.scoring.metrics import macro_f1
from tests.pipeline.made_predictions import draw


@pytest.fixture
def labelled():
    rows, _ = draw(np.random.default_rng(1), (150, 150, 100))
    return rows, fused(rows.cell, rows.predicted_age)


def test_of_the_same_people_it_says_what_they_reach(labelled):
    rows, labels = labelled
    weights = rows.drawn_again(60, np.random.default_rng(0))
    counts = np.bincount(labels, minlength=18)
    found = second_opinion(rows, labels, counts, people_of(rows)[None], weights, rows.people, 0.9)
    assert found["macro_f1"] == pytest.approx(macro_f1(rows.label, labels), abs=0.01)
    assert found["interval"][0] < found["macro_f1"] < found["interval"][1]


def test_it_knows_what_was_predicted(labelled):
    rows, labels = labelled
    rng = np.random.default_rng(2)
    other, predicted = draw(rng, (100, 150, 20))
    there = fused(other.cell, predicted[:, 0])
    truth = people_of(other)[None]
    weights = rows.drawn_again(60, rng)
    found = second_opinion(rows, labels, np.bincount(there, minlength=18), truth, weights, other.people, 0.9)
    assert found["interval"][0] <= macro_f1(other.label, there) <= found["interval"][1]
    # were everybody predicted to be young, it could not be high, whatever the validation people reach
    blind = np.bincount(there // 3 * 3, minlength=18)
    assert second_opinion(rows, labels, blind, truth, weights, 150, 0.9)["macro_f1"] < found["macro_f1"] - 0.2


def test_the_chance_in_few_photos_is_not_taken_for_mistakes(labelled):
    rows, labels = labelled
    rng, off = np.random.default_rng(5), []
    weights = rows.drawn_again(10, rng)
    for _ in range(12):
        other, predicted = draw(rng, (30, 30, 20))
        some = rng.random(len(other.person)) < 0.5
        there = fused(other.cell, predicted[:, 0])[some]
        found = second_opinion(rows, labels, np.bincount(there, minlength=18), people_of(other)[None], weights, 80, 0.9)
        off.append(found["macro_f1"] - macro_f1(other.label[some], there))
    assert abs(np.mean(off)) < 0.025


def test_of_bands_without_people_there_is_none(labelled):
    rows, labels = labelled
    some = rows.band < 2
    few = replace(
        rows, **{name: getattr(rows, name)[some] for name in ("person", "label", "band", "gender", "cell", "age")}
    )
    few = replace(few, people=int(few.person.max()) + 1)
    weights, thirds = few.drawn_again(5, np.random.default_rng(0)), np.full((1, 6), 1 / 6)
    counts = np.bincount(labels, minlength=18)
    assert second_opinion(few, labels[some], counts, thirds, weights, 400, 0.9) is None


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


def test_labels_are_shared_out_by_classes_and_their_mask_states(labelled):
    rows, _ = labelled
    possible = np.random.default_rng(4).dirichlet(np.ones(6), 3)
    young = rows.band == 0
    weight = np.where(young & (rows.label // 6 == 0), 0.0, 1.0)  # the young wear no masks as they should
    shares = label_priors(replace(rows, weight=weight), possible).reshape(3, 3, 2, 3)
    np.testing.assert_allclose(shares.sum(1).transpose(0, 2, 1).reshape(3, 6), possible)
    given = shares / shares.sum(1, keepdims=True)
    for band, states in ((0, [0, 1 / 2, 1 / 2]), (1, [5 / 7, 1 / 7, 1 / 7]), (2, [5 / 7, 1 / 7, 1 / 7])):
        np.testing.assert_allclose(given[:, :, :, band], np.broadcast_to(np.array(states)[None, :, None], (3, 3, 2)))
    nobody = replace(rows, weight=np.where(young, 0.0, 1.0))
    given = label_priors(nobody, possible).reshape(3, 3, 2, 3)[:, :, :, 0]
    np.testing.assert_allclose(given[:, 0] / given.sum(1), 5 / 7)


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
