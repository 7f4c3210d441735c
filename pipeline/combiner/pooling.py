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
APART, FEW = 2.0, 0.05
"""Years, and the share of people whose photos may be further apart where ages are pooled all the same."""
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
    log-odds add up, to 1, where they are averaged. one_age: whether a person's photos are of one age, which is pooled.
    """

    variances: NDArray[np.float64]
    correlation: float
    one_age: bool = True

    @classmethod
    def fit(cls, rows: pd.DataFrame) -> Self:
        """By complete validation rows: person, gender and age, the true ones, and predictions."""
        person, _ = pd.factorize(rows["person"].astype(str))
        variances = _within(person, states_of(rows), rows["age_years"].to_numpy(np.float64))
        total, count = _log_odds(person, rows["gender_female"].to_numpy(np.float64))
        female = np.bincount(person, rows["gender"].to_numpy(np.float64)) / count > 0.5

        def loss(correlation: float) -> float:
            """Of the probability of each person's true gender."""
            margin = np.where(female, 1, -1) * total / _design_effect(count, correlation)
            return float(np.logaddexp(0, -margin).mean())

        correlation = 1.0
        if (count > 1).any():
            correlation = float(minimize_scalar(loss, bounds=(0, 1), method="bounded").x)
        return cls(variances, correlation, _one_age(person, rows["age"].to_numpy(np.float64)))

    def pooled(self, table: pd.DataFrame, person: NDArray[np.int64], state: NDArray[np.int64]) -> pd.DataFrame:
        """The table with gender_female, and age_years where ages are pooled, of each row's person, in its fold.

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
        worth = _design_effect(np.maximum(count, 1), self.correlation)
        table = table.assign(gender_female=np.where(count > 0, expit(total / worth), np.nan)[group])
        return table.assign(age_years=mean[group]) if self.one_age else table

    def alike(self, rows: pd.DataFrame, shapes: NDArray[np.int64], seed: int = 0) -> pd.DataFrame:
        """Validation rows pooled as eval rows are: of a person as many photos, in like states, as of an eval person.

        shapes: (S, 3) how many photos of each mask state an eval person has; a person's other photos are left out.
        """
        state, person = states_of(rows), pd.factorize(rows["person"].astype(str))[0]
        kept = deal_alike(person, state, shapes, seed)
        found = self.pooled(rows[kept].drop(columns="fold", errors="ignore"), person[kept], state[kept])
        return found.assign(fold=rows["fold"][kept]) if "fold" in rows else found

    def to_dict(self) -> dict[str, Any]:
        variances = dict(zip(MASKS, self.variances.tolist(), strict=True))
        return {"variances": variances, "correlation": self.correlation, "one_age": self.one_age}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        variances = np.array([content["variances"][mask] for mask in MASKS])
        return cls(variances, float(content["correlation"]), content["one_age"])


def shapes_of(person: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
    """(S, 3) how many photos of each mask state each person has."""
    counts = np.bincount(person * len(MASKS) + state, minlength=(person.max() + 1) * len(MASKS))
    return counts.reshape(-1, len(MASKS))


def deal_alike(
    person: NDArray[np.int64], state: NDArray[np.int64], shapes: NDArray[np.int64], seed: int = 0
) -> NDArray[np.bool_]:
    """(n,) whether a photo stays, where each person keeps as many photos of each state as one of the shapes (S, 3).

    The shape is drawn anew for each person; where photos of a state lack, some of other states stay in their place.
    """
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(person), bool)
    mixed = rng.permutation(len(person))
    mixed = mixed[np.argsort(person[mixed], kind="stable")]
    for photos in np.split(mixed, np.flatnonzero(np.diff(person[mixed])) + 1):
        shape = shapes[rng.integers(len(shapes))]
        taken = np.concatenate([photos[state[photos] == one][: shape[one]] for one in range(len(MASKS))])
        others = photos[~np.isin(photos, taken)][: max(0, int(shape.sum()) - len(taken))]
        kept[taken] = kept[others] = True
    return kept


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


def _one_age(person: NDArray[np.int64], age: NDArray[np.float64]) -> bool:
    """Whether photos of a person were mostly taken within APART years; people of one photo do not tell."""
    ages = pd.Series(age).groupby(person)
    apart = (ages.max() - ages.min())[ages.size() > 1]
    return apart.empty or bool((apart <= APART).mean() >= 1 - FEW)


def _design_effect(count: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """By what the sum of so many log-odds is divided for being correlated (Kish, Survey Sampling, 1965)."""
    return 1 + (count - 1) * correlation
