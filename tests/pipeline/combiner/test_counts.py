"""Corrected counts, against posteriors by enumeration and made-up worlds whose truth is known."""

import numpy as np
import pytest
from scipy.special import betaln, gammaln

from models.labels import BANDS, CLASSES, GENDERS, LABELS, MASKS
from pipeline.combiner import counts
from pipeline.combiner.count_table import COLUMNS, count_table, told
from pipeline.combiner.counts import Counting, HeldOutLabels, correlation

MASK = np.array([[0.98, 0.01, 0.01], [0.15, 0.83, 0.02], [0.01, 0.01, 0.98]])
CLASS = np.kron([[0.92, 0.08], [0.14, 0.86]], [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.02, 0.28, 0.7]])
"""How masks and classes of people are confused in the world here."""


def world(people, shares, masks, rng, photos=4):
    """True and predicted labels of people in shares of classes, each photo in a mask state, and whose they are.

    A person's photos are of one predicted class, as where predictions are pooled.
    """
    kind = rng.choice(CLASSES, people, p=shares)
    found = np.array([rng.choice(CLASSES, p=CLASS[one]) for one in kind])
    person = np.repeat(np.arange(people), photos)
    mask = rng.choice(len(MASKS), len(person), p=masks)
    seen = np.array([rng.choice(len(MASKS), p=MASK[one]) for one in mask])
    return mask * CLASSES + kind[person], seen * CLASSES + found[person], person


def held_out(people, rng):
    true, predicted, person = world(people, np.full(6, 1 / 6), [0.6, 0.2, 0.2], rng)
    return HeldOutLabels(true, predicted[None], person)


def test_what_is_drawn_is_the_posterior(monkeypatch):
    """Of two values, forty units and a known confusion: every possible pair of true counts, enumerated."""
    monkeypatch.setattr(counts, "CHAINS", 4000)
    counting = Counting.__new__(Counting)
    counting._rng = np.random.default_rng(0)
    confusion = np.array([[0.9, 0.1], [0.3, 0.7]])
    parts = counting._chains(np.array([0.7, 0.3]), 40, np.broadcast_to(confusion, (4000, 2, 2)), None)
    drawn = parts[:, 0, 0] * 28 + parts[:, 1, 0] * 12  # units that are truly of the first value
    a, b = np.meshgrid(np.arange(29), np.arange(13), indexing="ij")

    def choose(n, k):
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    log = choose(28, a) + choose(12, b) + betaln(a + b + 0.5, 40 - a - b + 0.5)
    log = log + a * np.log(0.9) + (28 - a) * np.log(0.3) + b * np.log(0.1) + (12 - b) * np.log(0.7)
    weight = np.exp(log - log.max())
    wanted = np.bincount((a + b).ravel(), weight.ravel(), 41) / weight.sum()
    assert drawn.mean() == pytest.approx(wanted @ np.arange(41), abs=0.35)
    for level in (0.05, 0.5, 0.95):
        assert np.quantile(drawn, level) == pytest.approx(np.searchsorted(wanted.cumsum(), level), abs=1.01)


def test_counts_come_near_the_truth_and_their_intervals_hold_it():
    covered, error, plain_error = [], [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        true, predicted, person = world(150, rng.dirichlet(np.full(6, 2.0)), rng.dirichlet(np.ones(3)), rng)
        shares = Counting(held_out(300, rng), seed).shares(predicted, len(set(person)))
        for kind, values in counts.KINDS.items():
            wanted, plain = (
                np.bincount(values[one], minlength=values.max() + 1) / len(true) for one in (true, predicted)
            )
            share, low, high = shares.of(kind)
            assert share.sum() == pytest.approx(1)
            if kind != "label":
                covered += ((low - 1e-9 <= wanted) & (wanted <= high + 1e-9)).tolist()
                error += np.abs(share - wanted).tolist()
                plain_error += np.abs(plain - wanted).tolist()
    assert 0.8 < np.mean(covered) < 0.98
    assert np.mean(error) < 0.75 * np.mean(plain_error)


def test_labels_that_are_never_confused_are_counted_as_they_are():
    rng = np.random.default_rng(0)
    true = rng.integers(0, LABELS, 20_000)
    person = np.arange(20_000)
    counting = Counting(HeldOutLabels(true, true[None], person))
    some = np.repeat(np.arange(LABELS), np.arange(1, LABELS + 1) * 10)
    share, low, high = counting.shares(some, len(some)).of("label")
    assert share == pytest.approx(np.arange(1, LABELS + 1) / 171, abs=0.004)
    assert (high - low).max() < 0.03


def test_photos_of_a_person_tell_as_much_as_they_differ():
    rng = np.random.default_rng(0)
    true, person = np.repeat(rng.integers(0, 6, 2000), 5), np.repeat(np.arange(2000), 5)
    apart = np.array([rng.choice(6, p=CLASS[one]) for one in true])
    assert correlation(true, apart, person) == pytest.approx(0, abs=0.02)
    assert correlation(true, apart[::5][person], person) == pytest.approx(1, abs=0.02)
    shared = np.array([rng.choice(6, p=CLASS[one]) for one in true[::5]])[person]
    half = np.where(rng.random(len(true)) < np.sqrt(0.5), shared, apart)
    assert correlation(true, half, person) == pytest.approx(0.5, abs=0.05)
    assert correlation(true[::5], apart[::5], np.arange(2000)) == 1.0  # nothing tells


def test_alike_photos_make_intervals_wider():
    rng = np.random.default_rng(1)
    _, predicted, _ = world(200, np.full(6, 1 / 6), [0.6, 0.2, 0.2], rng)
    counting = Counting(held_out(400, rng))
    assert counting.correlation > 0.9
    widths = [np.diff(counting.shares(predicted, None, each).of("band")[1:], axis=0).mean() for each in (1.0, 4.0)]
    assert widths[1] > 1.2 * widths[0]


def test_people_with_many_photos_tell_no_more_than_one():
    assert counts.effective(np.array([5, 5, 5, 5])) == 4
    assert counts.effective(np.array([1000, 1, 1, 1])) == pytest.approx(1, abs=0.01)
    covered = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kind = rng.integers(0, CLASSES, 100)
        found = np.array([rng.choice(CLASSES, p=CLASS[one]) for one in kind])
        person = np.repeat(np.arange(100), np.maximum(1, rng.lognormal(1.5, 1.2, 100).astype(int)))
        photos = np.unique(person, return_counts=True)[1]
        shares = Counting(held_out(300, rng), seed).shares(found[person], counts.effective(photos))
        for name in ("gender", "band"):
            values = counts.KINDS[name]
            wanted = np.bincount(values[kind[person]], minlength=values.max() + 1) / len(person)
            _, low, high = shares.of(name)
            covered += ((low <= wanted) & (wanted <= high)).tolist()
    assert 0.8 < np.mean(covered) < 0.99


def test_chains_begin_where_they_should_end(monkeypatch):
    """Many people, and classes that are taken for each other: from equal shares a chain takes thousands of steps."""
    rng = np.random.default_rng(0)
    weak = np.kron([[0.9, 0.1], [0.1, 0.9]], [[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.1, 0.4, 0.5]])
    kind = np.repeat(np.arange(CLASSES), 2000)
    found = np.array([rng.choice(CLASSES, p=weak[one]) for one in kind])
    counting = Counting(HeldOutLabels(kind, found[None], np.arange(len(kind))))
    shares = [0.5, 0.05, 0.05, 0.3, 0.05, 0.05]
    true = rng.choice(CLASSES, 5000, p=shares)
    seen = np.array([rng.choice(CLASSES, p=weak[one]) for one in true])
    short = counting.shares_of_people(seen).draws
    monkeypatch.setattr(counts, "STEPS", 1000)
    long = counting.shares_of_people(seen).draws
    assert short.mean(0) == pytest.approx(long.mean(0), abs=0.01)
    assert short.std(0) == pytest.approx(long.std(0), rel=0.35)


def test_few_photos_of_a_group_lean_on_all():
    rng = np.random.default_rng(2)
    _, predicted, _ = world(300, [0.7, 0.1, 0.05, 0.05, 0.05, 0.05], [0.8, 0.1, 0.1], rng)
    counting = Counting(held_out(400, rng))
    whole = counting.shares(predicted, 300)
    women = np.array([3, 3, 3, 3])  # as is predicted of one person among many men
    alone, leaning = (counting.shares(women, 1, toward=toward).of("gender")[0][0] for toward in (None, whole))
    assert alone + 0.05 < leaning < whole.of("gender")[0][0]


def test_a_table_of_all_and_of_groups():
    rng = np.random.default_rng(3)
    _, predicted, person = world(60, np.full(6, 1 / 6), [0.6, 0.2, 0.2], rng)
    day = np.where(person < 40, "monday", "<b>tuesday").astype(object)
    named, done = person != 7, []
    table = count_table(Counting(held_out(200, rng)), predicted, person, 4.0, named, "day", day, lambda: done.append(1))
    assert len(done) == 3
    assert list(table.columns) == list(COLUMNS)
    assert table["group"].unique().tolist() == ["all", "<b>tuesday", "monday"]
    for (by, group, unit, _), rows in table.groupby(["by", "group", "unit", "kind"]):
        inside = np.ones(len(day), bool) if by == "" else day == group
        units = inside.sum() if unit == "photos" else len(np.unique(person[inside & named]))
        assert rows["plain"].sum() == units
        assert rows["count"].sum() == pytest.approx(units)
        assert rows["share"].sum() == pytest.approx(1)
        assert (rows["low"] <= rows["count"] + 1e-9).all()
        assert (rows["count"] <= rows["high"] + 1e-9).all()
    genders = table[(table["unit"] == "people") & (table["kind"] == "gender") & (table["by"] == "")]
    first = np.setdiff1d(np.unique(person, return_index=True)[1], np.flatnonzero(~named))
    assert genders["plain"].tolist() == np.bincount(predicted[first] % 6 // 3, minlength=2).tolist()
    lines = told(table)
    assert len(lines) == 1 + len(MASKS) + len(GENDERS) + len(BANDS)
    assert lines[4].startswith("people: gender male")
    assert told(count_table(Counting(held_out(200, rng)), predicted, None, 4.0))[4].startswith("photos: gender male")


def test_masks_are_counted_by_all_photos_where_others_were_chosen_by_what_was_predicted():
    rng = np.random.default_rng(12)
    confusion = np.array([[0.95, 0.05, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])

    def photos(n, shares):
        mask = rng.choice(3, n, p=shares)
        return mask * 6, np.array([rng.choice(3, p=confusion[state]) for state in mask]) * 6

    true, seen = photos(4000, [5 / 7, 1 / 7, 1 / 7])
    person = np.arange(4000) // 7
    everyone = HeldOutLabels(true, np.stack([seen, seen]), person)
    some = rng.random(4000) < np.array([0.05, 1.0, 0.5])[seen // 6]
    dealt = HeldOutLabels(true[some], np.stack([seen[some]] * 2), person[some])
    there, predicted = photos(3000, [0.3, 0.2, 0.5])
    shares = np.bincount(there // 6, minlength=3) / 3000
    off = [
        np.abs(one.shares(predicted, None, 1.0).of("mask")[0] - shares).max()
        for one in (Counting(dealt, masks=everyone), Counting(dealt))
    ]
    assert off[0] < 0.02 < off[1]


def test_classes_are_confused_as_photos_weigh():
    rng = np.random.default_rng(13)
    true = np.repeat([0, 2], 600)
    hard = rng.random(1200) < 0.5  # of half of the photos the old are often taken for young
    seen = np.where((true == 2) & hard & (rng.random(1200) < 0.6), 0, true)
    person, predicted = np.arange(1200), np.repeat([0, 2], [700, 300])
    easy = HeldOutLabels(true, np.stack([seen, seen]), person, np.where(hard, 1e-9, 2.0))
    alike = HeldOutLabels(true, np.stack([seen, seen]), person)
    shares = [Counting(one).shares(predicted, 1000.0).of("band")[0][2] for one in (easy, alike)]
    assert shares[0] == pytest.approx(0.3, abs=0.02)
    assert shares[1] == pytest.approx(0.3 / 0.7, abs=0.05)
