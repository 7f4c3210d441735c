"""The estimate of the class prior as it was before it was tried on real predictions: kept to be compared with.

Every band's predictions are a line in age and everyone's pooled residuals; the estimate is drawn toward the train prior
by its error over resampled people (empirical Bayes, Efron and Morris 1973). Perfect where predictions are made so.
Written anew from that method, without its intervals; a share that would be negative is turned back, not averaged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.labels import by_gender_first, class_of
from pipeline.combiner.evidence import em
from pipeline.combiner.pooled_residuals import STEP, PooledResiduals
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.bootstrap import person_weights

SHRINKAGE = 30.0
DRAWS = 50


def estimate(rows: LabelledPredictions, eval: EvalPredictions, seed: int = 0) -> NDArray[np.float64]:
    """(3,) the prior of the eval photos."""
    rng = np.random.default_rng(seed)
    model, kind = PooledResiduals(rows), class_of(rows.gender, rows.band)
    size = len(model.grid) * 2

    def density(times: NDArray) -> NDArray:
        by_photo = times[rows.person].astype(float)
        people = np.bincount(rows.band[rows.first], times, minlength=3)[:, None, None]
        said = np.bincount(kind * 2 + rows.cell % 2, by_photo, minlength=12).reshape(3, 2, 2)
        pool = said.sum(0) + 0.5
        pool /= pool.sum(1, keepdims=True)
        own = np.where(said.sum(2, keepdims=True) > 0, said / np.maximum(said.sum(2, keepdims=True), 1e-9), pool)
        gender = (own * people + pool * SHRINKAGE) / (people + SHRINKAGE)
        return (model.density(times)[:, None, :, None] * gender[:, :, None, :]).reshape(6, size)

    place = np.clip(np.rint((eval.predicted_age - model.grid[0]) / STEP), 0, len(model.grid) - 1)
    code = place.astype(np.int64) * 2 + eval.gender

    def bands(times: NDArray, photos: NDArray) -> NDArray:
        count = np.bincount(code[photos].ravel(), minlength=size).astype(float)
        return em(density(times), count).reshape(3, 2).sum(1)

    everyone = np.arange(len(code))
    raw = bands(np.ones(rows.people), everyone)
    draws = [
        bands(w, rng.integers(0, len(code), eval.people))
        for w in person_weights(by_gender_first(rows.kind), DRAWS, rng)
    ]
    return _drawn_in(raw, np.array(draws), rows.counts / rows.people)


def _drawn_in(raw: NDArray, draws: NDArray, train: NDArray) -> NDArray[np.float64]:
    error = np.cov(draws[:, [0, 2]].T) + 1e-9 * np.eye(2)
    ends, away = train[[0, 2]], raw[[0, 2]] - train[[0, 2]]
    base = np.diag(ends) - np.outer(ends, ends)
    low, high = 0.0, 1e6
    if away @ np.linalg.solve(error, away) <= 1:
        high = 0.0
    for _ in range(60 if high else 0):
        middle = (low * high) ** 0.5 if low else min(high / 2, 1.0)
        surprise = away @ np.linalg.solve(middle * base + error, away)
        low, high = (middle, high) if surprise > 1 else (low, middle)
    used = np.abs(ends + high * base @ np.linalg.inv(high * base + error) @ away)
    prior = np.clip([used[0], 1 - used.sum(), used[1]], 1e-3, 1)
    return prior / prior.sum()
