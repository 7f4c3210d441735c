"""The data set of a run, the rows that a network learns from, and the fingerprints of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.run.eval_place import INDEX
from pipeline.run.folder import Run
from pipeline.run.presets import columns_of
from pipeline.run.settings import EvalStage
from pipeline.runtime import store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from models.settings import ModelSettings
    from pipeline.dataset.photos import DataSet
    from pipeline.run.records import Record


NO_BOXES = store.fingerprint(None)
"""The fingerprint of rows without face boxes, and of faces that are not looked for."""


def data_of(run: Run, given: EvalStage | None = None) -> DataSet:
    """The data set of a run; of a stage after training that was given photos of its own, these."""
    from pipeline.dataset.photos import read_data_set

    if given is not None and given.eval is not None:
        from pipeline.dataset.eval_sources import read_eval

        # Of two sources of one name either may be first: until one has predicted, the place is nobody's.
        index = run.place(given) / INDEX / store.fingerprint(str(given.eval.resolve()))
        return read_eval(given.eval, run.follow_links, index)
    data = read_data_set(run.data, run.fixes, run.follow_links)
    return data.without_boxes() if run.faces == "off" else data


def extras_of(run: Run) -> list[DataSet]:
    """The extra sets that a run learns from too. Raises UserError for one that cannot be read."""
    from pipeline.dataset.extra import read_extra

    extras = [read_extra(folder, run.follow_links) for folder in run.extra_folders]
    return [extra.without_boxes() for extra in extras] if run.faces == "off" else extras


def train_rows(data: DataSet, task: str, bare_too: bool = False) -> pd.DataFrame:
    """The train rows that carry the labels a network learns from; for an age, of an extra set, a range will do.

    bare_too: for the mask, bare faces of unknown mask as ones without a mask.
    """
    from models.labels import MASKS
    from pipeline.dataset.extra import has_range, is_bare

    if bare_too and task == "mask":
        rows = data.train.assign(mask=data.train["mask"].mask(is_bare(data), MASKS.index("none")))
        return rows[rows["mask"].notna()]
    known = data.train[list(columns_of(task))].notna().all(axis=1)
    return data.train[known | has_range(data.train)] if task == "age" else data.train[known]


def labels_of(tables: Sequence[pd.DataFrame], task: str) -> NDArray[np.float32]:
    """The labels (N, k) that a network learns from, of the rows of some tables, as `Task.targets` takes them.

    Of ages (N, 2), the first and the last year, where any is known as a range.
    """
    import numpy as np
    import pandas as pd

    from pipeline.dataset.extra import RANGE, has_range

    rows = pd.concat(tables)
    labels = rows[list(columns_of(task))].to_numpy(np.float32, na_value=math.nan)
    ranged = has_range(rows).to_numpy()
    if task != "age" or not ranged.any():
        return labels
    return np.where(ranged[:, None], rows[list(RANGE)].to_numpy(np.float32), labels)


def extra_fingerprint(extras: Sequence[DataSet], task: str, settings: ModelSettings) -> str:
    """The fingerprint of what a network with these settings sees of extra sets, and of their labels."""
    from pipeline.dataset.extra import RANGE

    seen = []
    for extra in extras:
        rows = train_rows(extra, task, settings.drawn_masks)
        if not rows.empty:
            labels = rows[[*columns_of(task), *(name for name in RANGE if name in rows)]]
            seen.append([photo_fingerprints(extra, rows), labels.to_numpy(float, na_value=math.nan).tolist()])
    return store.fingerprint(seen)


def photo_fingerprints(data: DataSet, rows: pd.DataFrame) -> dict[str, str]:
    """Fingerprints of what a network sees of these rows: the photos, and the face boxes where any has one."""
    return {"photos": store.photo_fingerprint(data.root, rows["photo"].tolist()), "boxes": box_fingerprint(rows)}


def box_fingerprint(rows: pd.DataFrame) -> str:
    """The fingerprint of the face boxes of these rows, NO_BOXES where none has one."""
    from pipeline.dataset.tables import BOX

    boxed = set(BOX) <= set(rows.columns) and rows[list(BOX)].notna().any(axis=None)
    return store.fingerprint(rows[list(BOX)].to_numpy().tolist()) if boxed else NO_BOXES


def person_fingerprint(photos: pd.DataFrame) -> str:
    """Of the persons that photos name, in order."""
    return store.fingerprint(photos["person"].fillna("").tolist())


def check_persons(photos: pd.DataFrame, predicted: Record) -> None:
    """Raises UserError where photos name other persons than predict wrote beside their predictions."""
    if predicted.metrics.get("persons", person_fingerprint(photos)) != person_fingerprint(photos):
        raise UserError(
            f"{predicted.folder / 'predictions.csv'} names other persons than the photos do now; run predict again."
        )
