"""Which photos a gallery shows, against sorting by hand."""

import numpy as np
import pandas as pd
import pytest

from models.labels import decode
from pipeline.report.telling import EACH, certainty, confident_mistakes, least_certain


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    count = 300
    label = rng.integers(0, 18, count)
    predicted = np.where(rng.random(count) < 0.6, label, rng.integers(0, 18, count))
    rows = pd.DataFrame({"photo": [f"{i}.jpg" for i in range(count)], "label": label, "predicted": predicted})
    rows = rows.assign(person=[f"p{i // 3}" for i in range(count)], age_years=rng.uniform(18, 80, count))
    return rows, rng.dirichlet(np.ones(3), count), rng.random(count)


def test_certainty_is_how_far_from_another_answer(made):
    rows, mask, female = made
    certain = certainty(rows, mask, female, (28.0, 57.5))
    said = zip(*decode(rows["predicted"]), mask, female, strict=True)
    told = [(each[m], p if g == 1 else 1 - p) for m, g, _, each, p in said]
    assert certain["mask"] == pytest.approx([one for one, _ in told])
    assert certain["gender"] == pytest.approx([one for _, one in told])
    assert certain["age"] == pytest.approx([min(abs(y - 28), abs(y - 57.5)) for y in rows["age_years"]])
    assert set(certainty(rows.drop(columns="age_years"), mask, female, None)) == {"mask", "gender"}


def test_mistakes_are_wrong_and_the_surest_first(made):
    rows, mask, female = made
    certain = certainty(rows, mask, female, (30.0, 60.0))
    chosen = confident_mistakes(rows, certain)
    assert len(chosen) == len(set(chosen)) == 3 * EACH
    wrong = [a != b for a, b in zip(decode(rows["label"]), decode(rows["predicted"]), strict=True)]
    people = set()
    for (name, value), is_wrong in zip(certain.items(), wrong, strict=True):
        expected = []
        for place in sorted(range(len(rows)), key=lambda i: -value[i]):
            if is_wrong[place] and rows["person"][place] not in people and len(expected) < EACH:
                expected.append(place)
                people.add(rows["person"][place])
        assert chosen[:EACH] == expected, name
        chosen = chosen[EACH:]


def test_the_least_certain_may_be_right(made):
    rows, mask, female = made
    certain = certainty(rows, mask, female, None)
    chosen = least_certain(rows, certain)
    assert chosen[0] == int(certain["mask"].argmin())
    assert len({rows["person"][place] for place in chosen}) == len(chosen) == 3 * EACH


def test_without_mistakes_and_people_there_is_nothing(made):
    rows, mask, female = made
    right = rows.assign(predicted=rows["label"], person=pd.NA)
    certain = certainty(right, mask, female, None)
    assert confident_mistakes(right, certain) == []
    assert len(least_certain(right, certain)) == 3 * EACH  # photos without persons count by themselves
