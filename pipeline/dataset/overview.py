"""What was read: people, photos, labels, boxes and duplicates of a data set, counted. The text: report.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.labels import BANDS, GENDERS, LABELS, MASKS, NAMES, band, encode
from pipeline.dataset.general import LABEL_COLUMNS
from pipeline.dataset.tables import BOX

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.duplicates import Duplicates
    from pipeline.dataset.photos import DataSet


@dataclass(frozen=True)
class PartOverview:
    """The train or the eval part of a data set; of eval photos labels are not known here, so those are None."""

    photos: int
    people: int | None
    """None where persons are not known."""
    boxed: int
    """Photos with a face box."""
    genders: Mapping[str, int] | None = None
    """People by gender; "unknown" is one of the keys where it is of anybody."""
    ages: Mapping[str, float] | None = None
    """least, median and most, of people at each of their ages; None too where no age is known."""
    bands: Mapping[str, int] | None = None
    """People by age band; who has photos of two ages may count in two."""
    masks: Mapping[str, int] | None = None
    """Photos by mask state."""


@dataclass(frozen=True)
class Overview:
    """What was read of a data set."""

    train: PartOverview
    eval: PartOverview
    left_out: Mapping[str, str]
    """The reason by file: what lies there and is not used, and photos that cannot be decoded."""
    system_files: int
    duplicates: int | None
    """Photos that another one repeats; None where they were not looked for."""
    absent: tuple[str, ...]
    """Those of the 18 labels, in words, that no train photo carries; empty where nothing is trained."""
    missing: tuple[str, ...]
    """Mask states, genders and age bands without a train photo: no label with one of them can be predicted."""
    only_extra: tuple[str, ...] = ()
    """Those of which only extra sets have photos: nobody is held out with one of them."""
    unlisted: int = 0
    """Files that are left out beside those of `left_out`; of tars only some are named."""

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        files = values.pop("left_out")
        return values | {"left_out": len(files) + self.unlisted}


def overview_of(
    data: DataSet, duplicates: Duplicates | None, bad: Mapping[str, str], extras: Sequence[pd.DataFrame] = ()
) -> Overview:
    """Counts what was read. `bad`: the photos that cannot be decoded, as far as that is known, with the reason.

    Of the train part those are left out, and so not counted among its photos. `extras`: rows of extra sets, which count
    only where something is missing.
    """
    used = data.train[~data.train["photo"].isin(list(bad))]
    train = train_overview(used)
    people = data.eval["person"]
    known = int(people.nunique()) if len(people) and people.notna().all() else None
    trains = train.photos > 0
    missing = missing_values(train) if trains else ()
    missing_of_extras = set(missing).intersection(*(missing_values(train_overview(rows)) for rows in extras))
    return Overview(
        train=train,
        eval=PartOverview(len(data.eval), known, _boxed(data.eval)),
        left_out=data.left_out.files | dict(bad),
        system_files=data.left_out.system,
        duplicates=None if duplicates is None else duplicates.count(),
        absent=absent_labels(used) if trains else (),
        missing=tuple(value for value in missing if value in missing_of_extras),
        only_extra=tuple(value for value in missing if value not in missing_of_extras),
        unlisted=data.left_out.unlisted,
    )


def train_overview(rows: pd.DataFrame) -> PartOverview:
    """Counts the train part."""
    people = rows.groupby("person")["gender"].first()
    genders = {name: int((people == code).sum()) for code, name in enumerate(GENDERS)}
    aged = rows.loc[rows["age"].notna(), ["person", "age"]].drop_duplicates()
    ages = aged["age"].to_numpy(np.float64)
    by_band = aged.assign(band=band(ages)).drop_duplicates(["person", "band"])["band"]
    bands = {name: int((by_band == code).sum()) for code, name in enumerate(BANDS)}
    masks = {name: int((rows["mask"] == code).sum()) for code, name in enumerate(MASKS)}
    return PartOverview(
        photos=len(rows),
        people=len(people),
        boxed=_boxed(rows),
        genders=_with_unknown(genders, int(people.isna().sum())),
        ages={"least": ages.min(), "median": float(np.median(ages)), "most": ages.max()} if len(ages) else None,
        bands=_with_unknown(bands, len(people) - aged["person"].nunique()),
        masks=_with_unknown(masks, int(rows["mask"].isna().sum())),
    )


def absent_labels(rows: pd.DataFrame) -> tuple[str, ...]:
    """The labels of the 18, in words, that no photo carries, of the photos whose mask, gender and age are all known."""
    whole = rows[rows[list(LABEL_COLUMNS)].notna().all(axis=1)]
    labels = encode(whole["mask"], whole["gender"], band(whole["age"].to_numpy(np.float64)))
    there = np.bincount(labels, minlength=LABELS)
    return tuple(name for name, photos in zip(NAMES, there, strict=True) if not photos)


def missing_values(train: PartOverview) -> tuple[str, ...]:
    """The mask states, genders and age bands that no train photo shows."""
    kinds = (("mask", train.masks), ("gender", train.genders), ("age", train.bands))
    return tuple(f"{kind} {name}" for kind, counts in kinds for name, count in counts.items() if not count)


def _boxed(rows: pd.DataFrame) -> int:
    return int(rows[list(BOX)].notna().all(axis=1).sum()) if set(BOX) <= set(rows.columns) else 0


def _with_unknown(counts: dict[str, int], unknown: int) -> dict[str, int]:
    return counts | ({"unknown": unknown} if unknown else {})
