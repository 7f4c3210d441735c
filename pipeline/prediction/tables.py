"""Prediction tables: what the specialists predict about photos, checked, as arrays, and averaged over folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import GENDERS
from pipeline.dataset.tables import BOX

MASK_COLUMNS = ("mask_worn", "mask_wrong", "mask_none")
COLUMNS = (*MASK_COLUMNS, "gender_female", "age_years")
"""The named predictions of the three specialists; the first four are probabilities."""
FACE = (*BOX, "score")
"""Where a face is, in pixels of its photo, and how sure the detector was of it."""
TRUTH = ("mask", "gender", "age")


def cell(rows: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) the likeliest mask * 2 + the likelier gender; a tie goes to the lower number."""
    mask = rows[list(MASK_COLUMNS)].to_numpy(np.float64).argmax(1)
    return mask * len(GENDERS) + (rows["gender_female"].to_numpy(np.float64) > 0.5)


def checked(table: pd.DataFrame, name: str, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table with numbers as float64 where predictions and labels stand; blanks stay NaN.

    Raises UserError for a missing column, no rows, a prediction that is not a finite number, probabilities
    outside 0 to 1 or masks that do not sum to one, or predictions of more than one engine.
    """
    absent = [column for column in ("photo", *also, *COLUMNS) if column not in table]
    if absent:
        raise UserError(f"the {name} predictions lack the column {', '.join(absent)}")
    if not len(table):
        raise UserError(f"the {name} predictions have no rows")
    if "engine" in table and table["engine"].nunique() > 1:
        engines = ", ".join(sorted(table["engine"].dropna().astype(str).unique()))
        raise UserError(f"the {name} predictions come from different engines ({engines}): run predict again")
    try:
        numbers = table[[*COLUMNS, *(column for column in also if column in TRUTH)]].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the {name} predictions hold something that is not a number: {error}") from None
    if np.isinf(numbers.to_numpy()).any():
        raise UserError(f"the {name} predictions hold an infinite value")
    probabilities = numbers[[*MASK_COLUMNS, "gender_female"]]
    outside = ((probabilities < -1e-6) | (probabilities > 1 + 1e-6)).any(axis=1)
    if outside.any():
        raise UserError(f"the {name} predictions hold a probability outside 0 to 1, first at {_photo(table, outside)}")
    masks = probabilities[list(MASK_COLUMNS)]
    uneven = masks.notna().all(axis=1) & ((masks.sum(axis=1) - 1).abs() > 1e-3)
    if uneven.any():
        raise UserError(
            f"the {name} predictions hold mask probabilities that do not sum to one, first at {_photo(table, uneven)}"
        )
    return table.assign(**{column: numbers[column] for column in numbers})


def average_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per photo: the mean of each prediction over the folds that gave it, in order of appearance.

    predictions: one row per photo and fold, blank where a specialist has no such fold. Returns photo and
    `COLUMNS`. Raises UserError for a table that is not so, and for a photo that some specialist left blank.
    """
    table = checked(predictions, "eval")
    if "fold" in table and table.duplicated(["photo", "fold"]).any():
        twice = table.duplicated(["photo", "fold"])
        raise UserError(f"the eval predictions name {_photo(table, twice)} more than once for the same fold")
    means = table.groupby("photo", sort=False)[list(COLUMNS)].mean().reset_index()
    blank = means[list(COLUMNS)].isna()
    if blank.to_numpy().any():
        column = blank.any().idxmax()
        raise UserError(f"the photo {means['photo'][blank[column]].iloc[0]} has no prediction of {column} in any fold")
    return means


def by_network(predictions: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """(n, K) predicted ages, NaN where a network is missing, genders and mask states, of n photos by K folds.

    predictions: one row per photo and fold. Where a fold predicts no gender the photo's mean stands in; where it
    predicts no mask state, that is -1.
    Raises UserError as `average_folds` does.
    """
    means = average_folds(predictions)
    table = checked(predictions, "eval")
    row = pd.Index(means["photo"]).get_indexer(table["photo"])
    folds, _ = pd.factorize(table["fold"], use_na_sentinel=False) if "fold" in table else (np.zeros(len(table), int), 0)
    predicted_age = np.full((len(means), folds.max() + 1), np.nan)
    female = np.full_like(predicted_age, np.nan)
    predicted_age[row, folds], female[row, folds] = table["age_years"], table["gender_female"]
    female = np.where(np.isnan(female), means["gender_female"].to_numpy()[:, None], female)
    mask = np.full(female.shape, -1, np.int64)
    states = table[list(MASK_COLUMNS)].to_numpy(np.float64)
    known = ~np.isnan(states).any(1)
    mask[row[known], folds[known]] = states[known].argmax(1)
    return predicted_age, (female > 0.5).astype(np.int64), mask


def _photo(table: pd.DataFrame, rows: pd.Series) -> str:
    return str(table["photo"][rows].iloc[0])
