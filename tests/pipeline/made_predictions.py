"""Predictions of people who are made up: what tests of the combiner share."""

from __future__ import annotations

import numpy as np

from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions


def draw(rng, counts, offset=(0.0, 0.0, 0.0), networks=1, own=0.0, spread=5.0, middle=(30, 60), skew=False):
    """Predictions of people with so many in each band, 7 photos each: on a line in age, plus an offset for each band.

    own: the part of a prediction's variance that belongs to each network; skew: the noise of the young goes up, that of
    the others down, as a network's that answers 20 or 58 when in doubt. Returns Known and (n, networks).
    """
    band = np.repeat(np.arange(3), counts)
    age = np.where(band == 0, rng.integers(18, 30, len(band)), rng.integers(*middle, len(band)))
    age = np.where(band == 2, 60, age).astype(float)
    gender = rng.integers(0, 2, len(band))
    person = np.repeat(np.arange(len(band)), 7)
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], len(band))

    def noise():
        if skew:
            side = np.where(band == 0, 1, -1)
            people = side * (rng.gamma(0.5, 2, len(band)) - 1)
            photos = side[person] * (rng.gamma(0.5, 2, len(person)) - 1)
        else:
            people, photos = rng.normal(0, 1, len(band)), rng.normal(0, 1, len(person))
        return 0.8 * spread * people[person] + 0.6 * spread * photos

    noises = [noise() for _ in range(networks + 1)]
    line = (6 + 0.85 * age + np.array(offset)[band])[person]
    predicted = np.stack([line + np.sqrt(1 - own) * noises[0] + np.sqrt(own) * one for one in noises[1:]], 1)
    said = np.where(rng.random(len(person)) < 0.95, gender[person], 1 - gender[person])
    rows = LabelledPredictions(
        person=person,
        age=age[person],
        predicted_age=predicted[:, 0],
        label=mask * 6 + gender[person] * 3 + band[person],
        band=band[person],
        gender=gender[person],
        cell=mask * 2 + said,
        people=len(band),
        folds=5,
        dropped=0,
    )
    return rows, predicted


def eval_of(rows, predicted):
    """The same people as eval photos, whose persons are not known."""
    return EvalPredictions(predicted, np.repeat((rows.cell % 2)[:, None], predicted.shape[1], 1), 7.0)
