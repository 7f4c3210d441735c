"""python -m pipeline count: how many are of each kind, corrected for what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.combiner import schema
from pipeline.dataset.run_data import data_of
from pipeline.prediction.run_predictions import Networks, check_calibrated, gather, networks_of
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.problems import show

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.combiner.counts import HeldOutLabels
    from pipeline.dataset.photos import DataSet

COUNTS = "counts.csv"
FOLDER = "folder"
"""What counts by the folders that photos lie in."""
MOST_GROUPS = 1000
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Count(EvalStage):
    """What the stage count is told."""

    by: str | None = setting(
        "Count for each value of this column of photos.csv too, or, with folder, for each folder of photos.",
        None,
        usual="none",
    )


def count(settings: Count) -> dict[str, Any]:
    """Count the eval photos (and people, where known) by mask, gender, age band and label, with intervals."""
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    networks = networks_of(run, system)
    data = data_of(run, settings)
    if data.eval.empty:
        raise UserError(f"{run.data} has no eval photos; there is nothing to count.")
    check_calibrated(networks, run, place)
    groups = None if settings.by is None else _groups(data, settings.by)
    inputs = {
        "predictions": store.file_fingerprint(place / "predictions.csv"),
        "combiner": store.file_fingerprint(place / "combiner.json"),
        "held_out": store.file_fingerprint(place / schema.HELD_OUT_FILE),
        "by": settings.by,
        "groups": store.fingerprint(groups),
        "version": VERSION,
    }
    with records.alone(place, "count"):
        done = records.finished(place, "count", inputs)
        if not done:
            done = _count(place, networks, settings.by, groups, inputs)
    print("\n".join(done["told"]))
    for note in done["notes"]:
        print(f"count: {note}")
    print(f"count: {place / COUNTS}, {done['photos']} photos" + (f", {done['groups']} groups" if settings.by else ""))
    return done


def _count(
    place: Path, networks: Networks, by: str | None, groups: dict[str, str] | None, inputs: dict[str, Any]
) -> dict[str, Any]:
    import numpy as np

    from pipeline.combiner import combiners
    from pipeline.combiner.count_table import count_table, told
    from pipeline.combiner.counts import Counting
    from pipeline.combiner.persons import persons_of

    combiner = combiners.load(place / "combiner.json")
    predictions = store.read_csv(place / "predictions.csv")
    labels = combiner.predict(predictions)
    photos = predictions.drop_duplicates("photo").set_index("photo").reindex(labels["photo"]).reset_index()
    person = persons_of(photos, getattr(combiner, "people", "off"))
    held_out, per_person = _held_out(place, networks)
    group = None if groups is None else np.array([groups[photo] for photo in labels["photo"]], object)
    label = labels["label"].to_numpy(np.int64)
    table = count_table(Counting(held_out), label, person, per_person, by, group)
    store.write_csv(place / COUNTS, table)
    notes = _notes(combiner.report_)
    missing = len(store.read_csv(place / "bad_photos.csv"))
    notes += [f"{missing} photos without a prediction of their own are not counted"] if missing else []
    metrics = {"photos": len(labels), "groups": 0 if group is None else len(set(group)), "notes": notes}
    return records.record(place, "count", inputs, [COUNTS], metrics | {"told": told(table)})


def _held_out(place: Path, networks: Networks) -> tuple[HeldOutLabels, float]:
    """The labels of people held out, and how many photos each of them has."""
    import numpy as np
    import pandas as pd

    from pipeline.combiner.counts import HeldOutLabels

    records.last(place, "calibrate").check(schema.HELD_OUT_FILE)
    rows = store.read_csv(place / schema.HELD_OUT_FILE)
    if "in_sample" not in rows:
        raise UserError(f"{place / schema.HELD_OUT_FILE} is of an older version; run calibrate again.")
    rows = rows.merge(gather(networks)[["photo", "person"]], on="photo")
    person, people = pd.factorize(rows["person"].astype(str))
    predicted = np.stack([rows["in_sample"], rows["cross_fitted"]]).astype(np.int64)
    return HeldOutLabels(rows["label"].to_numpy(np.int64), predicted, person), len(rows) / len(people)


def _notes(report: dict[str, Any]) -> list[str]:
    """What a reader of counts must know."""
    few = min(report["people_by_band"])
    told = [
        "counts are corrected by how labels are confused on people held out; where masks, cameras or people are of "
        "another kind than those, intervals are too narrow"
    ]
    if few < 10:
        told.append(f"only {few} people of an age band are held out; FOLDS=all, where not all are trained, bring more")
    return told


def _groups(data: DataSet, by: str) -> dict[str, str]:
    """The group of each eval photo. Raises UserError for a column that there is not, or that tells photos apart."""
    photos: pd.Series | np.ndarray = data.eval["photo"]
    if by == FOLDER:
        found = {photo: str(PurePosixPath(photo).parent) for photo in photos}
    else:
        columns = sorted({column for photo in photos for column in data.further.get(photo, {})})
        if by not in columns:
            known = f"it has {', '.join(map(show, columns))}" if columns else "it has no further columns"
            raise UserError(f"--by {by}: {show(data.name)} has no such column; {known}, and folder counts by folders.")
        found = {photo: data.further.get(photo, {}).get(by, "") for photo in photos}
    values = set(found.values())
    if len(values) > min(MOST_GROUPS, len(found) / 2):
        raise UserError(
            f"--by {by}: {len(values)} groups of {len(found)} photos tell photos apart rather than count them; name a "
            f"column of fewer values, as a day or a place."
        )
    return found
