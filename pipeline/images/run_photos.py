"""The photos of a run as it frames them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.run.folder import Run
from pipeline.runtime.problems import show, tell_bad_photos

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.images.framing import View
    from pipeline.images.photos import Photos
    from pipeline.images.prepared import Prepared


def framed(run: Run, data: DataSet, table: pd.DataFrame) -> Photos:
    """The photos of a table, and how this run frames them."""
    from pipeline.dataset.tables import BOX
    from pipeline.images.photos import Photos

    boxes = table[list(BOX)].to_numpy(float) if set(BOX) <= set(table.columns) else None
    return Photos(data.root, table["photo"].tolist(), boxes, run.crop, data.box_rows)


def check_run_boxes(run: Run, data: DataSet, *tables: pd.DataFrame) -> None:
    """Raises UserError for face boxes of the photos of some tables that lie outside these."""
    import joblib
    import pandas as pd

    from pipeline.images.boxes import check_boxes

    rows = pd.concat(tables)
    check_boxes(framed(run, data, rows), f"The face boxes of {show(data.name)}", joblib.cpu_count())


def prepared(run: Run, data: DataSet, view: View) -> Prepared:
    """The train photos of a run in a view. Raises UserError for bad photos, unless the run skips those."""
    import joblib

    from pipeline.images.prepared import prepare

    photos = prepare(framed(run, data, data.train), data.name, view, joblib.cpu_count())
    if photos.bad and not run.skip_bad_photos:
        raise UserError(
            f"{len(photos.bad)} train photos cannot be decoded; mend or remove them, or train without them "
            f"with --skip-bad-photos:\n{tell_bad_photos(photos.bad)}"
        )
    return photos
