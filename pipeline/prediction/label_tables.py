"""Prediction tables of label probabilities instead of an age in years: the joint network's, and age heads by band."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import BANDS, GENDERS, LABELS, MASKS
from pipeline.prediction.labelled import LabelledPredictions, assemble
from pipeline.prediction.tables import MASK_COLUMNS, TRUTH

LABEL_COLUMNS = tuple(f"label_{label:02d}" for label in range(LABELS))
BAND_COLUMNS = tuple(f"band_{number}" for number in range(len(BANDS)))
YEARS = (20.0, 45.0, 70.0)
"""The ages that stand for the bands where a prediction in years is needed."""


def holds_probabilities(table: pd.DataFrame) -> bool:
    """Whether a table holds such predictions."""
    return "age_years" not in table and (LABEL_COLUMNS[0] in table or BAND_COLUMNS[0] in table)


def columns_of(table: pd.DataFrame) -> tuple[str, ...]:
    """The prediction columns of such a table."""
    return LABEL_COLUMNS if LABEL_COLUMNS[0] in table else (*MASK_COLUMNS, "gender_female", *BAND_COLUMNS)


def probabilities_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """(n, 18) the probability of each label, rows summing to one; heads by attribute are multiplied as if independent.

    Raises UserError for a missing column, or a value that is no probability.
    """
    columns = columns_of(table)
    absent = [column for column in columns if column not in table]
    if absent:
        raise UserError(f"the predictions lack the column {', '.join(absent)}: run predict again")
    try:
        values = table[list(columns)].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the predictions hold something that is not a number: {error}") from None
    wrong = ~((values >= -1e-6) & (values <= 1 + 1e-6)).all(1)
    if wrong.any():
        photo = table["photo"][wrong].iloc[0]
        raise UserError(f"the predictions about {photo} are no probabilities: run predict again")
    if columns == LABEL_COLUMNS:
        probabilities = values
    else:
        mask, female, bands = values[:, : len(MASKS)], values[:, len(MASKS)], values[:, len(MASKS) + 1 :]
        gender = np.stack([1 - female, female], 1)
        probabilities = (mask[:, :, None, None] * gender[:, None, :, None] * bands[:, None, None, :]).reshape(
            -1, LABELS
        )
    probabilities = np.maximum(probabilities, 1e-9)
    return probabilities / probabilities.sum(1, keepdims=True)


def labelled_probabilities(validation: pd.DataFrame) -> tuple[LabelledPredictions, NDArray[np.float64]]:
    """The complete rows of a validation table, and their probabilities (n, 18).

    A row's predicted age is what its bands let expect (`expected_age`), since there are no years. Raises UserError as
    `probabilities_of` does, and when no row is complete.
    """
    whole = validation[["person", *TRUTH, *columns_of(validation)]].notna().all(axis=1)
    rows = validation[whole]
    if not len(rows):
        raise UserError("no validation photo has all three labels and a prediction: train the network again")
    probabilities = probabilities_of(rows)
    cells = probabilities.argmax(1) // len(BANDS)
    return assemble(rows, expected_age(probabilities), cells, int((~whole).sum())), probabilities


def expected_age(probabilities: NDArray) -> NDArray[np.float64]:
    """(n,) years to expect from probabilities (n, 18): a number that grows with each older band's probability."""
    return probabilities.reshape(-1, len(MASKS) * len(GENDERS), len(BANDS)).sum(1) @ np.array(YEARS)


def by_network(predictions: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, K) expected ages, NaN where a network is missing, and predicted genders, of n photos by K folds."""
    probabilities = probabilities_of(predictions)
    photo, _ = pd.factorize(predictions["photo"])
    fold = (
        pd.factorize(predictions["fold"], use_na_sentinel=False)[0]
        if "fold" in predictions
        else np.zeros(len(photo), np.int64)
    )
    age = np.full((photo.max() + 1, fold.max() + 1), np.nan)
    gender = np.zeros(age.shape, np.int64)
    age[photo, fold] = expected_age(probabilities)
    gender[photo, fold] = probabilities.argmax(1) // len(BANDS) % len(GENDERS)
    return age, gender


def averaged(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per photo: the mean of each prediction over the folds, in order of appearance."""
    return predictions.groupby("photo", sort=False)[list(columns_of(predictions))].mean().reset_index()
