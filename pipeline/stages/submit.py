"""python -m pipeline submit: fuse the predictions about the eval photos into labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from pipeline.combiner.schema import LABELS_FILE
from pipeline.dataset.run_data import check_persons, data_of
from pipeline.prediction.chunks import FACE_PREDICTIONS
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.problems import BAD_PHOTOS, no_prediction_line, show, some

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.combiner.combiners import Combiner
    from pipeline.combiner.label_combiner import LabelCombiner
    from pipeline.combiner.threshold_combiner import ThresholdCombiner

FACES = "faces.csv"


def submit(settings: EvalStage) -> dict[str, Any]:
    """Write submission.csv: one of 18 labels for every eval photo, in the order the contest asks for."""
    run = open_run(settings, make=False)
    place = run.place(settings)
    data = data_of(run, settings)
    if data.eval.empty:
        print(f"submit: {run.data} has no eval photos; there is nothing to submit")
        return {"photos": 0}
    with records.alone(place):
        inputs = {
            "predictions": store.file_fingerprint(place / "predictions.csv"),
            "combiner": store.file_fingerprint(place / "combiner.json"),
            "photos": store.fingerprint(data.eval["photo"].tolist()),
            "faces": store.file_fingerprint(place / FACE_PREDICTIONS),
            "files": ["submission.csv", LABELS_FILE],
        }
        done = records.finished(place, "submit", inputs)
        stands = " stands" if done else ""
        if not done:
            done = _submit(place, data, inputs)
    print(f"submit: {place / 'submission.csv'}{stands}, {done['photos']} photos labelled")
    if done["expected"]:
        print(f"submit: {done['expected']}")
    if done["undecoded"]:
        print(f"submit: {no_prediction_line(done['undecoded'], done['photos'], place, done.get('of_people', False))}")
    return done


def _submit(place: Any, data: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    from pipeline.combiner import combiners
    from pipeline.combiner.label_table import in_order, label_table
    from pipeline.combiner.persons import named_persons
    from pipeline.combiner.report import expected_line

    if not (place / "combiner.json").is_file():
        raise UserError(f"{place} has no combiner.json yet; run make calibrate first.")
    predicted = records.last(place, "predict")
    predicted.check("predictions.csv")
    if records.last(place, "calibrate").metrics.get("predictions", inputs["predictions"]) != inputs["predictions"]:
        raise UserError(
            f"{place / 'combiner.json'} was fitted to other predictions than {place / 'predictions.csv'} holds now; "
            f"run calibrate again."
        )
    combiner = combiners.load(place / "combiner.json")
    predictions = store.read_csv(place / "predictions.csv")
    found = label_table(combiner, predictions)
    labels = found.set_index("photo")["label"]
    listed = set(data.eval["photo"])
    if not set(labels.index) <= listed:
        raise UserError(
            f"{place / 'predictions.csv'} is about other photos than {data.subject}; run make predict again."
        )
    undecoded = [photo for photo in data.eval["photo"] if photo not in labels.index]
    if undecoded:
        _check_told(place, undecoded)
        # Most common label; between equals the lowest, so that the same predictions give the same file.
        most_common = int(labels.mode().iloc[0])
        labels = _of_their_person(labels.reindex(data.eval["photo"]), data.eval, combiner)
        labels = labels.fillna(most_common).astype(int)
    check_persons(data.eval, predicted)
    person = named_persons(data.eval, getattr(combiner, "people", "off"))
    store.write_csv(place / LABELS_FILE, in_order(found, labels.reindex(data.eval["photo"]), person))
    table = data.submission(labels)
    if len(table) != len(data.eval):
        raise AssertionError("every eval photo has one row")
    store.write_csv(place / "submission.csv", table)
    wrote = ["submission.csv", LABELS_FILE, *_label_faces(place, combiners.load_for_photos(place / "combiner.json"))]
    metrics = {
        "photos": len(table),
        "undecoded": len(undecoded),
        "of_people": hasattr(combiner, "people"),
        "made_of": {"predictions.csv": inputs["predictions"], "combiner.json": inputs["combiner"]},
        "expected": expected_line(combiner.report_) if combiner.report_["expected"] else None,
    }
    return records.record(place, "submit", inputs, wrote, metrics)


def _of_their_person(labels: pd.Series, photos: pd.DataFrame, combiner: Combiner) -> pd.Series:
    """Labels by photo, the blank ones of a person with other photos filled: theirs, with the most common mask state."""
    people = getattr(combiner, "people", "off")
    from models.labels import LABELS as COUNT
    from models.labels import MASKS
    from pipeline.combiner.persons import persons_of

    person = persons_of(photos, people)
    if person is None:
        return labels
    of_person = COUNT // len(MASKS)  # gender and band
    mask = int((labels.dropna() // of_person).mode().iloc[0])
    theirs = (labels % of_person).groupby(person).transform("first")
    return labels.fillna(mask * of_person + theirs)


def _label_faces(place: Path, combiner: ThresholdCombiner | LabelCombiner) -> list[str]:
    """Writes faces.csv, a row for each face that was found, where faces were looked for; returns what it wrote."""
    if not (place / FACE_PREDICTIONS).is_file():
        (place / FACES).unlink(missing_ok=True)
        return []
    from pipeline.combiner.label_table import labelled_faces

    records.last(place, "predict").check(FACE_PREDICTIONS)
    predictions = store.read_csv(place / FACE_PREDICTIONS)
    store.write_csv(place / FACES, labelled_faces(combiner, predictions))
    return [FACES]


def _check_told(place: Any, undecoded: list[str]) -> None:
    """Raises UserError for eval photos that predict never saw: they would be lost in silence."""
    told = set(store.read_csv(place / BAD_PHOTOS)["photo"])
    unseen = [show(photo) for photo in undecoded if photo not in told]
    if unseen:
        raise UserError(f"{len(unseen)} eval photos came after predict ({some(unseen)}): run predict again.")
