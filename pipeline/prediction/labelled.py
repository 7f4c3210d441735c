"""Predictions beside the truth, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import BANDS, GENDERS, MASKS, band, class_of, encode
from pipeline.prediction.tables import COLUMNS, TRUTH, cell, checked


@dataclass(frozen=True)
class LabelledPredictions:
    """Predictions beside the truth, for n photos of P people.

    person (n,) from 0 to P - 1 in order of appearance; age, predicted_age (n,) years; label (n,) true labels;
    band, gender (n,) true; cell (n,) predicted mask * 2 + gender; people: P; folds: how many folds they come from;
    dropped: how many rows lacked a label or a prediction.
    """

    person: NDArray[np.int64]
    age: NDArray[np.float64]
    predicted_age: NDArray[np.float64]
    label: NDArray[np.int64]
    band: NDArray[np.int64]
    gender: NDArray[np.int64]
    cell: NDArray[np.int64]
    people: int
    folds: int
    dropped: int

    @property
    def first(self) -> NDArray[np.int64]:
        """(P,) the first row of each person: their band and gender are read there."""
        return np.unique(self.person, return_index=True)[1]

    @property
    def kind(self) -> NDArray[np.int64]:
        """(P,) the class of each person: band * 2 + gender."""
        return class_of(self.gender, self.band)[self.first]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(3,) people by age band."""
        return np.bincount(self.band[self.first], minlength=len(BANDS))


def labelled_predictions(validation: pd.DataFrame) -> LabelledPredictions:
    """The complete rows of a validation table, as arrays.

    validation: one row per photo with photo, person, mask, gender, age and the predictions (`COLUMNS`). Rows
    without a label or a prediction are dropped and counted. Raises UserError for a table that is not so.
    """
    table = checked(validation, "validation", ("person", *TRUTH))
    twice = table["photo"].duplicated()
    if twice.any():
        raise UserError(f"the validation predictions name the photo {table['photo'][twice].iloc[0]} more than once")
    whole = table[["person", *TRUTH, *COLUMNS]].notna().all(axis=1)
    rows = table[whole]
    if not len(rows):
        raise UserError(
            "no validation photo has a label and a prediction from each of the three specialists: "
            "train the same fold of mask, gender and age"
        )
    if not (rows["mask"].isin(range(len(MASKS))).all() and rows["gender"].isin(range(len(GENDERS))).all()):
        raise UserError("the validation predictions hold a mask other than 0, 1, 2 or a gender other than 0, 1")
    return assemble(rows, rows["age_years"].to_numpy(np.float64), cell(rows), int((~whole).sum()))


def assemble(
    rows: pd.DataFrame, predicted_age: NDArray[np.float64], cells: NDArray[np.int64], dropped: int = 0
) -> LabelledPredictions:
    """Complete rows (person, mask, gender, age and, where known, fold) beside their predicted ages and cells, (n,)."""
    mask, gender = rows["mask"].to_numpy(np.int64), rows["gender"].to_numpy(np.int64)
    age = rows["age"].to_numpy(np.float64)
    bands = band(age)
    person, _ = pd.factorize(rows["person"].astype(str))
    return LabelledPredictions(
        person=person.astype(np.int64),
        age=age,
        predicted_age=predicted_age,
        label=encode(mask, gender, bands),
        band=bands,
        gender=gender,
        cell=cells,
        people=int(person.max()) + 1,
        folds=int(rows["fold"].nunique()) if "fold" in rows else 1,
        dropped=dropped,
    )


def check_bands(rows: LabelledPredictions) -> None:
    """Raises UserError where an age band has no validation people."""
    if (rows.counts == 0).any():
        absent = " and ".join(BANDS[b] for b in np.flatnonzero(rows.counts == 0))
        raise UserError(f"no validation person is {absent}: train more folds (FOLDS=all) or bring such people")
