"""People who are there at several ages: each age counts in its band, and a person is held out and drawn again whole."""

import numpy as np
import pandas as pd
import pytest
from test_label_combiner import answered, shares_of
from test_threshold_combiner import people

from models.labels import band
from pipeline.combiner import prior_estimate
from pipeline.combiner.class_prior import people_of
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.label_combiner import LabelCombiner
from pipeline.combiner.self_test import _halves, of_people
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.labelled import labelled_predictions


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_estimate, "SETS", 10)
        yield


def one_each(counts=(60, 60, 30), seed=1, prefix="v"):
    return people(np.random.default_rng(seed), counts, prefix)


def grouped(table, ages=3):
    """The same photos, but so many of the people of `table` (and of one gender) are one person at several ages."""
    names = table.drop_duplicates("person")[["person", "gender"]]
    number = names.groupby("gender").cumcount().to_numpy()
    several = names.groupby("gender")["person"].transform("size").to_numpy() // ages
    whose = [f"{g}-{i % n}" for g, i, n in zip(names["gender"], number, several, strict=True)]
    return table.assign(person=table["person"].map(dict(zip(names["person"], whose, strict=True))))


@pytest.fixture(scope="module")
def rows():
    return labelled_predictions(grouped(one_each()))


def test_a_person_counts_at_each_age_in_its_band(rows):
    table = grouped(one_each())
    pairs = table.drop_duplicates(["person", "age"])
    assert table.groupby("person")["age"].nunique().max() > 1
    assert rows.people == len(pairs)
    assert rows.persons == table["person"].nunique() < rows.people
    np.testing.assert_array_equal(rows.counts, np.bincount(band(pairs["age"]), minlength=3))
    apart = table.assign(band=band(table["age"])).drop_duplicates(["person", "band"])
    np.testing.assert_array_equal(rows.persons_by_band, np.bincount(apart["band"], minlength=3))
    assert rows.persons_by_class.sum() == len(
        table.assign(b=band(table["age"])).drop_duplicates(["person", "gender", "b"])
    )
    np.testing.assert_array_equal(rows.band[rows.first], band(rows.age[rows.first]))


def test_the_order_of_the_photos_does_not_matter(rows):
    """Once the first row of a person told the band of all."""
    other = labelled_predictions(grouped(one_each()).sample(frac=1, random_state=3))
    np.testing.assert_allclose(people_of(other), people_of(rows))
    np.testing.assert_array_equal(np.sort(other.class_of_person), np.sort(rows.class_of_person))


def test_a_persons_class_is_of_the_median_age():
    table = one_each((3, 2, 0)).assign(gender=1)
    ages = dict(zip(table["person"].unique(), (20.0, 35.0, 70.0, 20.0, 70.0), strict=True))
    who = dict(zip(ages, ("a", "a", "a", "b", "b"), strict=True))
    rows = labelled_predictions(table.assign(age=table["person"].map(ages), person=table["person"].map(who)))
    np.testing.assert_array_equal(rows.class_of_person, [1 * 2 + 1, 0 * 2 + 1])


def whole(rows, of_each):
    """Whether something (P, ...) is the same at all ages of a person."""
    first = np.unique(rows.who, return_index=True)[1]
    return np.array_equal(of_each, np.asarray(of_each)[first][rows.who])


@pytest.mark.parametrize("seed", range(3))
def test_all_ages_of_a_person_stay_together(rows, seed):
    rng = np.random.default_rng(seed)
    folds, half = inner_folds_of(rows, seed), _halves(rows, rng)
    assert whole(rows, folds)
    assert whole(rows, half)
    assert whole(rows, rows.drawn_again(50, rng).T)
    assert len(np.unique(folds)) == 5
    assert abs(half.mean() - 0.5) < 0.1


def test_some_of_the_people_keep_who_they_are(rows):
    some = np.random.default_rng(4).permutation(rows.people)[:40]
    part = of_people(rows, some)
    assert part.people == 40
    assert part.persons == len(np.unique(rows.who[some]))
    for one in range(part.persons):
        assert len(np.unique(rows.who[some][part.who == one])) == 1


def test_one_age_each_is_what_it_was():
    rows = labelled_predictions(one_each())
    np.testing.assert_array_equal(rows.who, np.arange(rows.people))
    assert rows.persons == rows.people
    np.testing.assert_array_equal(rows.persons_by_band, rows.counts)
    np.testing.assert_array_equal(rows.class_of_person, rows.kind)


def test_a_combiner_fits_people_at_several_ages():
    table = grouped(one_each((80, 80, 40)))
    evaluation = people(np.random.default_rng(5), (30, 30, 20), "e")
    made = ThresholdCombiner(draws=20).fit(table, evaluation).report_
    apart = ThresholdCombiner(draws=20).fit(one_each((80, 80, 40)), evaluation).report_
    assert made["age_mix"]["train"] == pytest.approx([0.4, 0.4, 0.2], abs=0.02)
    assert made["people"] == table["person"].nunique() < apart["people"]
    assert np.abs(np.subtract(made["thresholds"], apart["thresholds"])).max() < 3
    # fewer people tell less
    width, narrow = (np.diff(one["scores"]["train"]["plain"]["interval"])[0] for one in (made, apart))
    assert width > 0.7 * narrow


def test_a_rivals_combiner_too():
    table = one_each((60, 60, 30))[["photo", "person", "fold", "mask", "gender", "age"]]
    learned = shares_of(table)
    together = grouped(table)
    made = LabelCombiner(draws=20).fit(answered(together, learned, 7), answered(table, learned, 8)).report_
    assert made["people"] == together["person"].nunique()
    assert made["age_mix"]["train"] == pytest.approx([0.4, 0.4, 0.2], abs=0.02)
    assert isinstance(answered(together, learned, 7), pd.DataFrame)
