"""Predictions beside the truth, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import BANDS, CLASSES, GENDERS, MASKS, band, by_gender_first, class_of, encode
from pipeline.prediction.tables import COLUMNS, TRUTH, cell, checked
from pipeline.scoring.bootstrap import person_weights


@dataclass(frozen=True)
class LabelledPredictions:
    """Predictions beside the truth, for n photos of P people, each at one age.

    A person who is there at several ages counts as one at each, since a band is of an age, but is held out and drawn
    again as a whole. person (n,) from 0 to P - 1 in order of appearance, a number for each person at an age; age,
    predicted_age (n,) years; label (n,) true labels; band, gender (n,) true; cell (n,) predicted mask * 2 + gender;
    people: P; folds: how many folds they come from; dropped: how many rows lacked a label or a prediction; identities
    (P,) from 0 to I - 1 in order of appearance, who each of the P is, None where nobody is there at several ages; photo
    (n,) their names, None where they have none; weight (n,) how often each counts beside others of its class, None
    where they count alike.
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
    identities: NDArray[np.int64] | None = None
    photo: NDArray[np.object_] | None = None
    weight: NDArray[np.float64] | None = None

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n,) how often each photo counts beside others of its class; one in the mean of a class."""
        return np.ones(len(self.person)) if self.weight is None else self.weight

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
        """(3,) people at an age by band."""
        return np.bincount(self.band[self.first], minlength=len(BANDS))

    @property
    def who(self) -> NDArray[np.int64]:
        """(P,) who each person at an age is, from 0 to I - 1."""
        return np.arange(self.people) if self.identities is None else self.identities

    @property
    def persons(self) -> int:
        """I, how many people there are, each counted once."""
        return int(self.who.max()) + 1

    @property
    def persons_by_class(self) -> NDArray[np.int64]:
        """(6,) people of each class, each counted once in it."""
        return np.bincount(np.unique(self.who * CLASSES + self.kind) % CLASSES, minlength=CLASSES)

    @property
    def persons_by_band(self) -> NDArray[np.int64]:
        """(3,) people of each band, each counted once in it."""
        bands = self.band[self.first]
        return np.bincount(np.unique(self.who * len(BANDS) + bands) % len(BANDS), minlength=len(BANDS))

    @property
    def class_of_person(self) -> NDArray[np.int64]:
        """(I,) the class of each person at their median age (the lower of two)."""
        order = np.lexsort((self.age[self.first], self.who))
        ages = np.bincount(self.who)
        return self.kind[order[np.cumsum(ages) - ages + (ages - 1) // 2]]

    def drawn_again(self, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(draws, P) how often each is there when people are drawn again, with all their ages, by gender x band."""
        return person_weights(by_gender_first(self.class_of_person), draws, rng)[:, self.who]


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
    name, _ = pd.factorize(rows["person"].astype(str))
    person, _ = pd.factorize(pd.MultiIndex.from_arrays([name, age]))
    first = np.unique(person, return_index=True)[1]
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
        identities=name[first].astype(np.int64),
        photo=rows["photo"].to_numpy(object) if "photo" in rows else None,
    )
