"""Predictions pooled over a person: gender and age are one person's, whatever the photo; the mask is a photo's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar, nnls
from scipy.special import expit, logit

from models.labels import MASKS
from pipeline.prediction.tables import MASK_COLUMNS

LEAST_SHARE = 0.25
"""Of the mean variance, that a mask state's is taken to have at the least: few photos tell it badly."""
SURE = 1e-6
"""Probabilities count as at least so far from 0 and 1."""


def states_of(table: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) the likeliest mask state of each row."""
    return table[list(MASK_COLUMNS)].to_numpy(np.float64).argmax(1)


@dataclass(frozen=True)
class Pooling:
    """How much each photo tells of its person.

    variances: (3,) of a predicted age about those of the person's other photos, in squared years, by predicted mask
    state; photos count by its inverse. correlation: of what a person's photos tell of the gender, from 0, where their
    log-odds add up, to 1, where they are averaged.
    """

    variances: NDArray[np.float64]
    correlation: float

    @classmethod
    def fit(cls, rows: pd.DataFrame) -> Self:
        """By complete validation rows: person, gender, the true one, and predictions."""
        person, _ = pd.factorize(rows["person"].astype(str))
        variances = _within(person, states_of(rows), rows["age_years"].to_numpy(np.float64))
        total, count = _log_odds(person, rows["gender_female"].to_numpy(np.float64))
        female = np.bincount(person, rows["gender"].to_numpy(np.float64)) / count > 0.5

        def loss(correlation: float) -> float:
            """Of the probability of each person's true gender."""
            margin = np.where(female, 1, -1) * total / _worth(count, correlation)
            return float(np.logaddexp(0, -margin).mean())

        correlation = 1.0
        if (count > 1).any():
            correlation = float(minimize_scalar(loss, bounds=(0, 1), method="bounded").x)
        return cls(variances, correlation)

    def pooled(self, table: pd.DataFrame, person: NDArray[np.int64], state: NDArray[np.int64]) -> pd.DataFrame:
        """The table with gender_female and age_years of each row's person, in its fold where rows have folds.

        person, state: (n,) of each row's photo. A blank counts for nothing, and stays where a person has nothing else.
        """
        fold, folds = np.zeros(len(table), np.int64), [0]
        if "fold" in table:
            fold, folds = pd.factorize(table["fold"], use_na_sentinel=False)
        group = pd.factorize(person * len(folds) + fold)[0]
        years = table["age_years"].to_numpy(np.float64)
        weight = np.where(np.isnan(years), 0.0, 1 / self.variances[state])
        with np.errstate(invalid="ignore"):
            mean = np.bincount(group, weight * np.nan_to_num(years)) / np.bincount(group, weight)
        total, count = _log_odds(group, table["gender_female"].to_numpy(np.float64))
        female = np.where(count > 0, expit(total / _worth(np.maximum(count, 1), self.correlation)), np.nan)
        return table.assign(gender_female=female[group], age_years=mean[group])

    def alike(self, rows: pd.DataFrame, shapes: NDArray[np.int64], seed: int = 0) -> pd.DataFrame:
        """Validation rows pooled as eval rows are: a person's photos are dealt into groups like those of eval people.

        shapes: (S, 3) how many photos of each mask state an eval person has. A person's first group takes photos of
        other states where some lack; what is left over at the end of a person is left out.
        """
        state = states_of(rows)
        group = deal_alike(pd.factorize(rows["person"].astype(str))[0], state, shapes, seed)
        kept = group >= 0
        return self.pooled(rows[kept].drop(columns="fold"), group[kept], state[kept]).assign(
            **({"fold": rows["fold"][kept]} if "fold" in rows else {})
        )

    def to_dict(self) -> dict[str, Any]:
        return {"variances": dict(zip(MASKS, self.variances.tolist(), strict=True)), "correlation": self.correlation}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        return cls(np.array([content["variances"][mask] for mask in MASKS]), float(content["correlation"]))


def shapes_of(person: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
    """(S, 3) how many photos of each mask state each person has."""
    counts = np.bincount(person * len(MASKS) + state, minlength=(person.max() + 1) * len(MASKS))
    return counts.reshape(-1, len(MASKS))


def deal_alike(
    person: NDArray[np.int64], state: NDArray[np.int64], shapes: NDArray[np.int64], seed: int = 0
) -> NDArray[np.int64]:
    """(n,) a group for each photo, within its person, each like one of the shapes (S, 3); -1 of those left over."""
    rng = np.random.default_rng(seed)
    group, number = np.full(len(person), -1), 0
    mixed = rng.permutation(len(person))
    mixed = mixed[np.argsort(person[mixed], kind="stable")]
    for photos in np.split(mixed, np.flatnonzero(np.diff(person[mixed])) + 1):
        left = [photos[state[photos] == one].tolist() for one in range(len(MASKS))]
        first = True
        while any(left):
            shape = shapes[rng.integers(len(shapes))]
            taken = [of_state[: shape[one]] for one, of_state in enumerate(left)]
            lacking = int(shape.sum()) - sum(map(len, taken))
            if lacking and not first:
                break
            left = [of_state[len(some) :] for some, of_state in zip(taken, left, strict=True)]
            others = [photo for of_state in left for photo in of_state][:lacking]
            left = [[photo for photo in of_state if photo not in others] for of_state in left] if others else left
            group[[*(photo for some in taken for photo in some), *others]] = number
            number, first = number + 1, False
    return group


def _within(person: NDArray[np.int64], state: NDArray[np.int64], years: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the variance of predicted ages within a person by mask state, which explains pairs of photos best.

    The mean squared difference of a pair is the sum of the variances of its states: least squares, none negative, each
    kind of pair weighted by how many there are.
    """
    states = len(MASKS)
    mean = np.bincount(state, years, states) / np.maximum(np.bincount(state, minlength=states), 1)
    off, place = years - mean[state], person * states + state  # of what all photos of a state have in common
    size = (int(person.max()) + 1) * states
    n, total, squares = (np.bincount(place, w, size).reshape(-1, states) for w in (np.ones_like(off), off, off**2))
    pairs, differences, counts = [], [], []
    for a in range(states):
        for b in range(a, states):
            same = a == b
            count = (n[:, a] * (n[:, a] - 1) / 2 if same else n[:, a] * n[:, b]).sum()
            cross = n[:, b] * squares[:, a] + n[:, a] * squares[:, b] - 2 * total[:, a] * total[:, b]
            if count > 0:
                pairs.append(np.eye(states)[a] + np.eye(states)[b])
                differences.append((cross.sum() / 2 if same else cross.sum()) / count)
                counts.append(count)
    if not pairs:
        return np.ones(states)
    root = np.sqrt(np.array(counts) / np.sum(counts))
    found = nnls(np.array(pairs) * root[:, None], np.array(differences) * root)[0]
    usual = max(float(np.average(differences, weights=counts)) / 2, 1e-6)
    seen = np.bincount(state, minlength=states) > 0
    return np.where(seen, np.maximum(found, LEAST_SHARE * usual), usual)


def _log_odds(group: NDArray[np.int64], female: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum of a group's log-odds, and of how many."""
    known = ~np.isnan(female)
    odds = logit(np.clip(np.where(known, female, 0.5), SURE, 1 - SURE))
    size = int(group.max()) + 1
    return np.bincount(group, np.where(known, odds, 0), size), np.bincount(group, known.astype(np.float64), size)


def _worth(count: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """By what the sum of so many log-odds is divided for being correlated."""
    return 1 + (count - 1) * correlation
