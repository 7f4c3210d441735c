"""python -m pipeline count: how many are of each kind, corrected for what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.combiner import schema
from pipeline.dataset.photo_names import folder_in_shard, folder_of
from pipeline.dataset.run_data import check_persons, data_of
from pipeline.prediction.run_predictions import Networks, check_calibrated, gather, networks_of
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.problems import BAD_PHOTOS, show
from pipeline.runtime.spoken import in_its_words
from pipeline.scoring.caveats import suffix

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.combiner.counts import Counting, HeldOutLabels
    from pipeline.dataset.photos import DataSet

COUNTS = "counts.csv"
FOLDER = "folder"
"""What counts by the folders that photos lie in."""
BLANK = "(blank)"
"""The group of photos without a value."""
MOST_GROUPS, SOME, FEW = 1000, 20, 10
VERSION = 2


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
    groups = None if settings.by is None else _groups(data, settings.by)
    with records.alone(place):
        check_calibrated(networks, run, place)
        inputs = {
            "predictions": store.file_fingerprint(place / "predictions.csv"),
            "combiner": store.file_fingerprint(place / "combiner.json"),
            "held_out": store.file_fingerprint(place / schema.HELD_OUT_FILE),
            "by": settings.by,
            "groups": store.fingerprint(groups),
            "version": VERSION,
        }
        done = records.finished(place, "count", inputs)
        if not done:
            done = _count(place, data, networks, settings.by, groups, inputs)
    print("\n".join(done["told"]))
    for note in done["notes"]:
        print(f"count: {in_its_words(note)}")
    print(f"count: {place / COUNTS}, {done['photos']} photos" + (f", {done['groups']} groups" if settings.by else ""))
    return done


def _count(
    place: Path,
    data: DataSet,
    networks: Networks,
    by: str | None,
    groups: dict[str, str] | None,
    inputs: dict[str, Any],
) -> dict[str, Any]:
    import numpy as np

    from pipeline.combiner import combiners
    from pipeline.combiner.count_table import count_table, told
    from pipeline.combiner.persons import named_persons, persons_of
    from pipeline.runtime.progress import Progress

    combiner = combiners.load(place / "combiner.json")
    predictions = store.read_csv(place / "predictions.csv")
    _check_photos(place, data, predictions)
    check_persons(data.eval, records.last(place, "predict"))
    labels = combiner.predict(predictions)
    photos = predictions.drop_duplicates("photo").set_index("photo").reindex(labels["photo"]).reset_index()
    people = getattr(combiner, "people", "off")
    person, names = persons_of(photos, people), named_persons(photos, people)
    group = None if groups is None else np.array([groups[photo] for photo in labels["photo"]], object)
    number = 0 if group is None else len(set(group))
    with Progress("count", 1 + number, "groups", quiet=number < SOME) as progress:
        table = count_table(
            _counting(place, networks),
            labels["label"].to_numpy(np.int64),
            person,
            combiner.report_["photos_per_person"],
            None if names is None else names != "",
            by,
            group,
            progress.advance,
        )
    store.write_csv(place / COUNTS, table)
    notes = _notes(combiner.report_)
    missing = len(store.read_csv(place / BAD_PHOTOS))
    notes += [f"{missing} photos without a prediction of their own are not counted"] if missing else []
    metrics = {"photos": len(labels), "groups": number, "notes": notes, "told": told(table)}
    return records.record(place, "count", inputs, [COUNTS], metrics)


def _check_photos(place: Path, data: DataSet, predictions: pd.DataFrame) -> None:
    """Raises UserError where predictions are about other photos than there are now."""
    here, predicted = set(data.eval["photo"]), set(predictions["photo"])
    here -= set(store.read_csv(place / BAD_PHOTOS)["photo"])
    if here != predicted:
        raise UserError(
            f"{place / 'predictions.csv'} is about other photos than {data.subject} ({len(predicted - here)} are gone, "
            f"{len(here - predicted)} came after predict); run predict again."
        )


def _counting(place: Path, networks: Networks) -> Counting:
    """By the labels of people held out; photos of a person were chosen by their masks, each for itself were all."""
    from pipeline.combiner.counts import Counting

    alone = schema.HELD_OUT_ALONE_FILE in records.last(place, "calibrate").wrote
    masks = _held_out(place, networks, schema.HELD_OUT_ALONE_FILE) if alone else None
    return Counting(_held_out(place, networks, schema.HELD_OUT_FILE), masks=masks)


def _held_out(place: Path, networks: Networks, name: str) -> HeldOutLabels:
    """The labels of people held out, in both ways, and whose they are."""
    import numpy as np
    import pandas as pd

    from pipeline.combiner.counts import HeldOutLabels

    records.last(place, "calibrate").check(name)
    rows = store.read_csv(place / name)
    if "in_sample" not in rows:
        raise UserError(f"{place / name} is of an older version; run calibrate again.")
    rows = rows.merge(gather(networks)[["photo", "person"]], on="photo")
    person, _ = pd.factorize(rows["person"].astype(str))
    predicted = np.stack([rows["in_sample"], rows["cross_fitted"]]).astype(np.int64)
    weight = rows["weight"].to_numpy(np.float64) if "weight" in rows else None
    return HeldOutLabels(rows["label"].to_numpy(np.int64), predicted, person, weight)


def _notes(report: dict[str, Any]) -> list[str]:
    """What a reader of counts must know."""
    few = min(report["people_by_band"])
    told = [
        f"counts are corrected by how labels are confused on people held out{suffix(report['caveats'])}; where masks, "
        f"cameras or people are of another kind than those, intervals are too narrow"
    ]
    if few < FEW:
        told.append(f"only {few} people of an age band are held out; FOLDS=all, where not all are trained, bring more")
    return told


def _groups(data: DataSet, by: str) -> dict[str, str]:
    """The group of each eval photo. Raises UserError for a column that there is not, or that tells photos apart."""
    photos = data.eval["photo"]
    columns = sorted({column for photo in photos for column in data.further.get(photo, {})})
    if by == FOLDER and FOLDER not in columns:
        folder = folder_in_shard if data.shards else folder_of
        found = {photo: folder(photo) for photo in photos}
    elif by not in columns:
        known = f"it has {', '.join(map(show, columns))}" if columns else "it has no further columns"
        raise UserError(f"--by {by}: {show(data.name)} has no such column; {known}, and folder counts by folders.")
    else:
        found = {photo: data.further.get(photo, {}).get(by, "") or BLANK for photo in photos}
    groups = len(set(found.values()))
    if groups > len(found) / 2:
        raise UserError(
            f"--by {by}: {groups} groups of {len(found)} photos tell photos apart rather than count them; name a "
            f"column of fewer values, as a day or a place."
        )
    if groups > MOST_GROUPS:
        raise UserError(f"--by {by}: {groups} groups are more than {MOST_GROUPS}; name a column of fewer values.")
    return found
