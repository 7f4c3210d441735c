"""The data set of a run, the rows that a network learns from, and the fingerprints of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.run.folder import Run
from pipeline.run.presets import columns_of
from pipeline.run.settings import EvalStage
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet


NO_BOXES = store.fingerprint(None)
"""The fingerprint of rows without face boxes, and of faces that are not looked for."""


def data_of(run: Run, given: EvalStage | None = None) -> DataSet:
    """The data set of a run; of a stage after training that was given a folder of its own, that folder."""
    from pipeline.dataset.photos import read_data_set, read_folder

    if given is not None and given.eval is not None:
        return read_folder(given.eval, run.follow_links)
    data = read_data_set(run.data, run.fixes, run.follow_links)
    return data.without_boxes() if run.faces == "off" else data


def train_rows(data: DataSet, task: str) -> pd.DataFrame:
    """The train rows that carry the labels a network learns from."""
    return data.train[data.train[list(columns_of(task))].notna().all(axis=1)]


def photo_fingerprints(data: DataSet, rows: pd.DataFrame) -> dict[str, str]:
    """Fingerprints of what a network sees of these rows: the photos, and the face boxes where any has one."""
    return {"photos": store.photo_fingerprint(data.root, rows["photo"].tolist()), "boxes": box_fingerprint(rows)}


def box_fingerprint(rows: pd.DataFrame) -> str:
    """The fingerprint of the face boxes of these rows, NO_BOXES where none has one."""
    from pipeline.dataset.tables import BOX

    boxed = set(BOX) <= set(rows.columns) and rows[list(BOX)].notna().any(axis=None)
    return store.fingerprint(rows[list(BOX)].to_numpy().tolist()) if boxed else NO_BOXES
