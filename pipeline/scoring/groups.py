"""The score by group: of each gender, age band and mask state, and by any further column, with intervals by person.

Where errors differ between groups of people is what whoever relies on labels must know (Buolamwini and Gebru 2018).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS, MASKS, decode
from pipeline.scoring.bootstrap import LEVEL, resample_means
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.reliability import wilson

OURS = ("all", "mask", "gender", "age band")
"""By what there are groups always."""
MOST, LEAST = 12, 2
"""A further column makes groups where it has at most so many values, and at least so many."""
LEAST_PEOPLE = 2
"""Fewer tell no interval of a mean."""
RIGHT = ("right", "right_mask", "right_gender", "right_band")
"""The shares of photos that are right, in all three attributes and in each."""
COLUMNS = ("by", "group", "photos", "people", *(f"{name}{end}" for name in RIGHT for end in ("", "_low", "_high")),
           "age_error", "age_error_low", "age_error_high", "macro_f1", "labels")  # fmt: skip


def group_table(
    rows: pd.DataFrame,
    further: Mapping[str, Mapping[str, str]] | None = None,
    photos_per_person: float = 1.0,
    draws: int = 1000,
) -> pd.DataFrame:
    """How right the photos of each group are labelled: `COLUMNS`, a row a group, the first one of all photos.

    rows: photo, label (the true one of the 18), predicted, and where known person, age and age_years; further: the
    cells of further columns, by photo. Intervals are of 95 % and resample people; the age error is a mean in years,
    macro-F1 over the labels that occur in a group, which are others in each: shares that are right can be compared.
    """
    true, predicted = rows["label"].to_numpy(np.int64), rows["predicted"].to_numpy(np.int64)
    wrong = [a != b for a, b in zip(decode(true), decode(predicted), strict=True)]
    values = [true == predicted, *(~one for one in wrong)]
    error = np.full(len(rows), np.nan)
    if {"age", "age_years"} <= set(rows):
        error = np.abs(rows["age_years"].to_numpy(np.float64) - rows["age"].to_numpy(np.float64, na_value=np.nan))
    whole = np.stack([*(one.astype(np.float64) for one in values), error])
    named = "person" in rows and rows["person"].notna().all()
    person = rows["person"].astype(str).to_numpy() if named else None
    made = []
    for by, group, inside in _groups(rows["photo"], true, further or {}):
        who = None if person is None else person[inside]
        drawn = resample_means(true[inside], whole[:, inside], who, photos_per_person, draws)
        row = {"by": by, "group": group, "photos": int(inside.sum())}
        row["people"] = np.nan if who is None else len(np.unique(who))
        trials = round(inside.sum() / photos_per_person) if who is None else row["people"]
        for name, mine, again in zip((*RIGHT, "age_error"), whole[:, inside], drawn.T, strict=True):
            row |= _spanned(name, mine, again, max(1, trials))
        row["macro_f1"] = macro_f1(true[inside], predicted[inside])
        row["labels"] = len(np.unique(true[inside]))
        made.append(row)
    return pd.DataFrame(made).reindex(columns=COLUMNS)


def _spanned(name: str, values: NDArray[np.float64], drawn: NDArray[np.float64], people: int) -> dict[str, float]:
    """A mean and its interval; NaN where no photo has a value.

    Where drawing again changes nothing, as where all are right, a share has Wilson's interval of so many people.
    """
    if not np.isfinite(values).any():
        return {}
    mean = float(np.nanmean(values))
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if low == high and name in RIGHT:
        low, high = wilson(mean, people)
    if people < LEAST_PEOPLE and name not in RIGHT:
        return {name: mean}
    return {name: mean, f"{name}_low": float(low), f"{name}_high": float(high)}


def _groups(
    photos: pd.Series, true: NDArray[np.int64], further: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Each group: by what, its name, and which photos (n,) are of it."""
    found = [("all", "all photos", np.ones(len(true), bool))]
    mask, gender, band = decode(true)
    for by, codes, words in (("mask", mask, MASKS), ("gender", gender, GENDERS), ("age band", band, BANDS)):
        found += [(by, word, codes == code) for code, word in enumerate(words) if (codes == code).any()]
    for column in further_columns(photos, further):
        cells = np.array([further.get(photo, {}).get(column, "") for photo in photos])
        by = f"{column} (column)" if column in OURS else column
        found += [(by, value, cells == value) for value in sorted(set(cells) - {""})]
    return found


def further_columns(photos: pd.Series, further: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The further columns whose values make groups of these photos."""
    values: dict[str, set[str]] = {}
    for photo in photos:
        for column, cell in further.get(photo, {}).items():
            values.setdefault(column, set()).add(cell)
    return [column for column, found in values.items() if LEAST <= len(found - {""}) <= MOST]
