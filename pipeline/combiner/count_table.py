"""Counts as a table: of photos and of people, of all and by group, the plain ones beside those that are corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import BANDS, CLASSES, GENDERS, MASKS, NAMES
from pipeline.combiner.counts import KINDS, PEOPLE_KINDS, Counting, Shares, effective

ALL = "all"
"""The group of all photos, by nothing."""
WORDS = {
    "mask": MASKS,
    "gender": GENDERS,
    "band": BANDS,
    "label": NAMES,
    "gender and band": tuple(f"{gender}, {band}" for gender in GENDERS for band in BANDS),
}
"""The values of what is counted, in the order of their numbers."""
COLUMNS = ("by", "group", "unit", "kind", "value", "plain", "count", "low", "high", "share", "share_low", "share_high")


def count_table(
    counting: Counting,
    label: NDArray[np.int64],
    person: NDArray[np.int64] | None,
    photos_per_person: float,
    named: NDArray[np.bool_] | None = None,
    by: str | None = None,
    group: NDArray[np.object_] | None = None,
    done: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """`COLUMNS`, a row a value of what is counted: of all photos, then of each group of them in order of names.

    label: (n,) predicted; person: (n,) numbers of people whose gender and band were decided at once, None where photos
    are labelled each for itself, photos_per_person of which then count as one; named: (n,) whether a photo's person is
    known, for others are no people that can be counted; group: (n,) by what `by` names; done: called after each group.
    plain is the number of predicted labels; count and share are corrected, with the ends of their 90 % interval.
    """
    places = [("", ALL, np.arange(len(label)))]
    if group is not None:
        codes, names = pd.factorize(group, sort=True)
        inside = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
        places += [(by, name, photos) for name, photos in zip(names, inside, strict=True)]
    rows: list[dict[str, Any]] = []
    whole: dict[str, Shares] = {}
    for number, (place, name, photos) in enumerate(places):
        who = None if person is None else person[photos]
        known = photos if named is None else photos[named[photos]]
        units = [("photos", label[photos], KINDS)]
        if person is not None and len(known):
            units += [("people", label[known[np.unique(person[known], return_index=True)[1]]] % CLASSES, PEOPLE_KINDS)]
        for unit, predicted, kinds in units:
            toward = whole.get(unit) if number else None
            if unit == "people":
                shares = counting.shares_of_people(predicted, toward)
            else:
                people = None if who is None else effective(np.unique(who, return_counts=True)[1])
                shares = counting.shares(predicted, people, photos_per_person, toward)
            whole.setdefault(unit, shares)
            about = {"by": place, "group": name, "unit": unit}
            rows += [about | row for row in _rows(predicted, shares, kinds)]
        done()
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    predicted: NDArray[np.int64], shares: Shares, kinds: dict[str, NDArray[np.int64]]
) -> Iterator[dict[str, Any]]:
    for kind, values in kinds.items():
        plain = np.bincount(values[predicted], minlength=len(WORDS[kind]))
        for word, number, *found in zip(WORDS[kind], plain, *shares.of(kind), strict=True):
            counts = dict(zip(("count", "low", "high"), np.array(found) * len(predicted), strict=True))
            ends = dict(zip(("share", "share_low", "share_high"), found, strict=True))
            yield {"kind": kind, "value": word, "plain": int(number)} | counts | ends


def told(table: pd.DataFrame) -> list[str]:
    """The counts of all photos or, where they are known, of all people, as lines of text."""
    rows = table[(table["by"] == "") & table["kind"].isin(("mask", "gender", "band"))]
    if (rows["unit"] == "people").any():
        rows = rows[(rows["unit"] == "people") | (rows["kind"] == "mask")]
    lines = [("", "plain", "corrected", "90 % interval", "share")]
    for row in rows.to_dict("records"):
        interval = f"{row['low']:.0f} to {row['high']:.0f}"
        name = f"{row['unit']}: {row['kind']} {row['value']}"
        lines.append((name, str(row["plain"]), f"{row['count']:.0f}", interval, f"{row['share']:.1%}"))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join([first.ljust(wide[0]), *map(str.rjust, rest, wide[1:])]) for first, *rest in lines]
