"""Answer tables: what the specialists said about photos, checked, as arrays, and averaged over folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import BANDS, GENDERS, MASKS, band, encode

MASK_COLUMNS = ("mask_worn", "mask_wrong", "mask_none")
COLUMNS = (*MASK_COLUMNS, "gender_female", "age_years")
"""The named answers of the three specialists; the first four are probabilities."""
TRUTH = ("mask", "gender", "age")


@dataclass(frozen=True)
class Known:
    """Answers beside the truth, for n photos of P people.

    person (n,) from 0 to P - 1 in order of appearance; age, answer (n,) years; label (n,) true labels; band,
    gender (n,) true; cell (n,) answered mask * 2 + gender; folds: how many folds the people come from;
    dropped: how many rows lacked a label or an answer.
    """

    person: NDArray[np.int64]
    age: NDArray[np.float64]
    answer: NDArray[np.float64]
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
        return (self.band * len(GENDERS) + self.gender)[self.first]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(3,) people by age band."""
        return np.bincount(self.band[self.first], minlength=len(BANDS))


def known(validation: pd.DataFrame) -> Known:
    """The complete rows of a validation table, as arrays.

    validation: one row per photo with photo, person, mask, gender, age and the answers (`COLUMNS`). Rows
    without a label or an answer are dropped and counted. Raises UserError for a table that is not so.
    """
    table = checked(validation, "validation", ("person", *TRUTH))
    twice = table["photo"].duplicated()
    if twice.any():
        raise UserError(f"the validation answers name the photo {table['photo'][twice].iloc[0]} more than once")
    whole = table[["person", *TRUTH, *COLUMNS]].notna().all(axis=1)
    rows = table[whole]
    if not len(rows):
        raise UserError(
            "no validation photo has a label and an answer from each of the three specialists: "
            "train the same fold of mask, gender and age"
        )
    if not (rows["mask"].isin(range(len(MASKS))).all() and rows["gender"].isin(range(len(GENDERS))).all()):
        raise UserError("the validation answers hold a mask other than 0, 1, 2 or a gender other than 0, 1")
    return assemble(rows, rows["age_years"].to_numpy(np.float64), cell(rows), int((~whole).sum()))


def assemble(rows: pd.DataFrame, answer: NDArray[np.float64], cells: NDArray[np.int64], dropped: int = 0) -> Known:
    """Complete rows (person, mask, gender, age and, where known, fold) beside their age answers and cells, (n,)."""
    mask, gender = rows["mask"].to_numpy(np.int64), rows["gender"].to_numpy(np.int64)
    age = rows["age"].to_numpy(np.float64)
    bands = band(age)
    person, _ = pd.factorize(rows["person"].astype(str))
    return Known(
        person=person.astype(np.int64),
        age=age,
        answer=answer,
        label=encode(mask, gender, bands),
        band=bands,
        gender=gender,
        cell=cells,
        people=int(person.max()) + 1,
        folds=int(rows["fold"].nunique()) if "fold" in rows else 1,
        dropped=dropped,
    )


def cell(rows: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) the likeliest mask * 2 + the likelier gender; a tie goes to the lower number."""
    mask = rows[list(MASK_COLUMNS)].to_numpy(np.float64).argmax(1)
    return mask * len(GENDERS) + (rows["gender_female"].to_numpy(np.float64) > 0.5)


def checked(table: pd.DataFrame, name: str, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table with numbers as float64 where answers and labels stand; blanks stay NaN.

    Raises UserError for a missing column, no rows, an answer that is not a finite number, probabilities
    outside 0 to 1 or masks that do not sum to one, or answers of more than one engine.
    """
    absent = [column for column in ("photo", *also, *COLUMNS) if column not in table]
    if absent:
        raise UserError(f"the {name} answers lack the column {', '.join(absent)}")
    if not len(table):
        raise UserError(f"the {name} answers have no rows")
    if "engine" in table and table["engine"].nunique() > 1:
        engines = ", ".join(sorted(table["engine"].dropna().astype(str).unique()))
        raise UserError(f"the {name} answers come from different engines ({engines}): run predict again")
    try:
        numbers = table[[*COLUMNS, *(column for column in also if column in TRUTH)]].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the {name} answers hold something that is not a number: {error}") from None
    if np.isinf(numbers.to_numpy()).any():
        raise UserError(f"the {name} answers hold an infinite value")
    chances = numbers[[*MASK_COLUMNS, "gender_female"]]
    outside = ((chances < -1e-6) | (chances > 1 + 1e-6)).any(axis=1)
    if outside.any():
        raise UserError(f"the {name} answers hold a probability outside 0 to 1, first at {_photo(table, outside)}")
    masks = chances[list(MASK_COLUMNS)]
    uneven = masks.notna().all(axis=1) & ((masks.sum(axis=1) - 1).abs() > 1e-3)
    if uneven.any():
        raise UserError(
            f"the {name} answers hold mask probabilities that do not sum to one, first at {_photo(table, uneven)}"
        )
    return table.assign(**{column: numbers[column] for column in numbers})


def average_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per photo: the mean of each answer over the folds that gave it, in order of appearance.

    predictions: one row per photo and fold, blank where a specialist has no such fold. Returns photo and
    `COLUMNS`. Raises UserError for a table that is not so, and for a photo that some specialist left blank.
    """
    table = checked(predictions, "eval")
    if "fold" in table and table.duplicated(["photo", "fold"]).any():
        twice = table.duplicated(["photo", "fold"])
        raise UserError(f"the eval answers name {_photo(table, twice)} more than once for the same fold")
    means = table.groupby("photo", sort=False)[list(COLUMNS)].mean().reset_index()
    blank = means[list(COLUMNS)].isna()
    if blank.to_numpy().any():
        column = blank.any().idxmax()
        raise UserError(f"the photo {means['photo'][blank[column]].iloc[0]} has no answer {column} in any fold")
    return means


def by_network(predictions: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, K) age answers, NaN where a network is missing, and answered genders, of n photos by K folds.

    predictions: one row per photo and fold. Where a fold has no gender answer the photo's mean stands in.
    Raises UserError as `average_folds` does.
    """
    means = average_folds(predictions)
    table = checked(predictions, "eval")
    row = pd.Index(means["photo"]).get_indexer(table["photo"])
    folds, _ = pd.factorize(table["fold"], use_na_sentinel=False) if "fold" in table else (np.zeros(len(table), int), 0)
    answer = np.full((len(means), folds.max() + 1), np.nan)
    female = np.full_like(answer, np.nan)
    answer[row, folds], female[row, folds] = table["age_years"], table["gender_female"]
    female = np.where(np.isnan(female), means["gender_female"].to_numpy()[:, None], female)
    return answer, (female > 0.5).astype(np.int64)


def _photo(table: pd.DataFrame, rows: pd.Series) -> str:
    return str(table["photo"][rows].iloc[0])
