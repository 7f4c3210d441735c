"""Which photos tell the most: the most confident mistakes, and the least certain predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import BAND_STARTS, decode

EACH = 6
"""Photos of each attribute in a gallery."""
ATTRIBUTES = ("mask", "gender", "age")


def certainty(
    rows: pd.DataFrame, mask: NDArray[np.float64], female: NDArray[np.float64], thresholds: Sequence[float] | None
) -> dict[str, NDArray[np.float64]]:
    """By attribute how certain what is said of each photo is (n,), to be compared within an attribute.

    rows: with the label predicted, and age_years where the system predicts years, whose certainty is the distance to
    the nearest threshold; mask (n, 3), female (n,): probabilities.
    """
    said_mask, said_gender, _ = decode(rows["predicted"])
    found = {"mask": mask[np.arange(len(mask)), said_mask], "gender": np.where(said_gender == 1, female, 1 - female)}
    if "age_years" in rows:
        edges = np.array(BAND_STARTS if thresholds is None else thresholds)
        found["age"] = np.abs(rows["age_years"].to_numpy(np.float64)[:, None] - edges).min(1)
    return found


def confident_mistakes(rows: pd.DataFrame, certain: dict[str, NDArray[np.float64]]) -> list[int]:
    """Places of the rows (label, predicted, person) that are wrong and most certain, EACH of an attribute."""
    wrong = dict(zip(ATTRIBUTES, _wrong(rows), strict=True))
    return _chosen(rows, {name: np.where(wrong[name], one, -np.inf) for name, one in certain.items()})


def least_certain(rows: pd.DataFrame, certain: dict[str, NDArray[np.float64]]) -> list[int]:
    """Places of the rows whose predictions are least certain, EACH of an attribute."""
    return _chosen(rows, {name: -one for name, one in certain.items()})


def _wrong(rows: pd.DataFrame) -> list[NDArray[np.bool_]]:
    return [a != b for a, b in zip(decode(rows["label"]), decode(rows["predicted"]), strict=True)]


def _chosen(rows: pd.DataFrame, order: dict[str, NDArray[np.float64]]) -> list[int]:
    """The first EACH of each order, each person once; -inf and NaN are none."""
    person = rows["person"].astype("string").fillna("").to_numpy(str)
    chosen: list[int] = []
    people: set[str] = set()
    for value in order.values():
        left = EACH
        for place in np.argsort(-np.nan_to_num(value, nan=-np.inf), kind="stable"):
            if not left or not np.isfinite(value[place]):
                break
            who = person[place] or f"photo {place}"
            if who not in people:
                people.add(who)
                chosen.append(int(place))
                left -= 1
    return chosen
