"""python -m pipeline prepare: decode, crop and resize the train photos once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from models.presets import PRESETS
from pipeline.runs import Run, RunSettings, open_run

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.images import Photos, Prepared, Size
    from pipeline.photos import DataSet

BOX = ["box_x", "box_y", "box_w", "box_h"]


def prepare(settings: RunSettings) -> dict[str, Any]:
    """Check the data set and decode its train photos once, for all networks and epochs."""
    from pipeline.photos import read_data_set

    run = open_run(settings)
    data = read_data_set(run.data, run.fixes)
    for note in data.notes:
        print(f"prepare: {note}")
    sizes = sorted({(task["height"], task["width"]) for task in PRESETS[run.preset].values()})
    bad: set[str] = set()
    for size in sizes:
        bad |= set(prepared(run, data, size).bad)
    people = int(data.train["person"].nunique())
    print(
        f"prepare: {len(data.train) - len(bad)} photos of {people} train people are ready, "
        f"{len(data.eval)} eval photos stand by"
    )
    return {"photos": len(data.train), "people": people, "eval_photos": len(data.eval), "bad": len(bad)}


def framed(run: Run, data: DataSet, table: pd.DataFrame) -> Photos:
    """The photos of a table, and how this run frames them."""
    from pipeline.images import Photos

    boxes = table[BOX].to_numpy(float) if set(BOX) <= set(table.columns) else None
    return Photos(data.root, table["photo"].tolist(), boxes, run.crop)


def prepared(run: Run, data: DataSet, size: Size) -> Prepared:
    """The train photos of a run at a size. Raises UserError for bad photos, unless the run skips those."""
    from pipeline import images
    from pipeline.machine import available_cores

    photos = images.prepare(framed(run, data, data.train), data.name, size, available_cores())
    if photos.bad and not run.skip_bad_photos:
        raise UserError(
            f"{len(photos.bad)} train photos cannot be decoded; mend or remove them, or train without them "
            f"with --skip-bad-photos:\n{listed(photos.bad)}"
        )
    return photos


def listed(bad: dict[str, str], most: int = 10) -> str:
    """Photos with what is wrong, a line each; the first `most` and a count."""
    lines: Sequence[str] = [f"  {photo}: {why}" for photo, why in list(bad.items())[:most]]
    more = len(bad) - most
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)
