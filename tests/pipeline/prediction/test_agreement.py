"""Whether an engine agrees with the reference, against scikit-learn on the same labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from models.labels import band, encode
from pipeline.prediction.agreement import EQUAL, WITHIN, Agreement, agreement
from pipeline.prediction.labelled import labelled_predictions
from pipeline.prediction.tables import cell
from pipeline.scoring.surface import BinnedAges
from pipeline.scoring.thresholds import crossings


def answered(people: int = 60, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), 7)
    age = draw.integers(18, 80, people)[person]
    mask, gender = draw.integers(0, 3, len(person)), (person % 2).astype(int)
    probabilities = np.eye(3)[np.where(draw.random(len(person)) < 0.9, mask, (mask + 1) % 3)] * 0.8 + 0.2 / 3
    female = np.where(draw.random(len(person)) < 0.9, gender, 1 - gender) * 0.6 + 0.2
    return pd.DataFrame(
        {
            "photo": [f"{i}.jpg" for i in range(len(person))], "person": person.astype(str), "fold": 0,
            "mask": mask, "gender": gender, "age": age,
            "mask_worn": probabilities[:, 0], "mask_wrong": probabilities[:, 1], "mask_none": probabilities[:, 2],
            "gender_female": female, "age_years": 10 + 0.8 * age + draw.normal(0, 4, len(person)),
        }
    )  # fmt: skip


def test_the_same_answers_agree():
    table = answered()
    assert agreement(table, table) == Agreement(len(table), 1.0, 0.0)


@pytest.mark.parametrize("shift", [0.05, 0.5, 3.0])
def test_against_labels_made_by_hand(shift):
    table = answered()
    female = table["gender_female"].mask(table.index % 50 == 0, 1 - table["gender_female"])
    other = table.assign(age_years=table["age_years"] + shift, gender_female=female)
    rows = labelled_predictions(table)
    thresholds = (
        BinnedAges(rows.predicted_age, rows.label, rows.cell).surface().best(crossings(rows.age, rows.predicted_age))
    )
    truth = encode(table["mask"], table["gender"], band(table["age"]))
    one, two = (cell(t) * 3 + band(t["age_years"], thresholds) for t in (table, other))
    assert (one // 3 != two // 3).any()
    found = agreement(table, other)
    assert found.photos == len(table)
    assert found.equal == np.mean(one == two)
    scores = [
        f1_score(truth, labels, average="macro", labels=np.unique(truth), zero_division=0) for labels in (one, two)
    ]
    assert found.difference == pytest.approx(abs(scores[0] - scores[1]), abs=1e-12)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_answers_that_are_no_numbers_agree_with_nothing(fault):
    table = answered()
    other = table.copy()
    other.loc[3, "age_years"] = fault
    assert not agreement(table, other).holds
    table.loc[3, "age_years"] = np.nan  # a photo that this specialist was not asked about
    other.loc[3, "age_years"] = np.nan
    assert agreement(table, other).holds


@pytest.mark.parametrize(("equal", "difference", "holds"), [
    (EQUAL, WITHIN, True), (0.9899, 0.0, False), (1.0, 0.0021, False),
])  # fmt: skip
def test_what_is_asked_of_an_engine(equal, difference, holds):
    assert Agreement(1000, equal, difference).holds is holds
