"""Class priors: shares of people by band and gender, and how photos are weighted to stand for other shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, CLASSES
from pipeline.prediction.labelled import LabelledPredictions

NIL = 1e-6
"""A weight of photos that stands for none."""


def people_of(rows: LabelledPredictions) -> NDArray[np.float64]:
    """(6,) shares of the people by band * 2 + gender."""
    return np.bincount(rows.kind, minlength=CLASSES) / rows.people


def with_bands(prior: NDArray, train: NDArray) -> NDArray[np.float64]:
    """(..., 6) shares that have the bands of prior (..., 3), and within a band the genders of train (6,).

    A band without people in train has as many men as women.
    """
    inside = train.reshape(len(BANDS), -1)
    inside = np.where(inside.any(1, keepdims=True), inside, 1.0)
    shares = prior[..., None] * inside / inside.sum(1, keepdims=True)
    return shares.reshape(*prior.shape[:-1], CLASSES)


def bands_of(shares: NDArray) -> NDArray[np.float64]:
    """(..., 3) shares by band, of shares (..., 6) by band * 2 + gender."""
    return shares.reshape(*shares.shape[:-1], len(BANDS), -1).sum(-1)


def factors(shares: NDArray, train: NDArray) -> NDArray[np.float64]:
    """How often a photo of each class counts, so that people of train (6,) stand for shares (..., 6); (..., 6)."""
    return np.where(train > 0, shares / np.maximum(train, 1e-12), 0.0)


def shares_of(counts: NDArray) -> NDArray[np.float64]:
    """(6,) shares of people by class, from their counts (6,): half a person is added to each, so that none is nil."""
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def weighted(rows: LabelledPredictions, each: NDArray) -> LabelledPredictions:
    """The rows whose photos count each (n,) times as often beside others of their class; its mean weight stays one."""
    weight, kind = rows.weights * each, rows.kind[rows.person]
    mean = (np.bincount(kind, weight) / np.maximum(np.bincount(kind), 1))[kind]
    # of a class of no weight nothing is asked
    return replace(rows, weight=np.where(mean > 0, weight / np.maximum(mean, 1e-300), 1.0))


def counted(rows: LabelledPredictions) -> LabelledPredictions:
    """The rows with no weight where it is NIL, as scores over labels that occur need it."""
    return rows if rows.weight is None else replace(rows, weight=np.where(rows.weight < 10 * NIL, 0.0, rows.weight))
