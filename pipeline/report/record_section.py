"""Everything: what was run with what, what it cost, and what the stages had to note."""

from __future__ import annotations

from typing import Any

from models.declared import declared
from pipeline.prediction.run_predictions import folds_in
from pipeline.report.blocks import Column, Section, Table
from pipeline.report.run_files import RunFiles
from pipeline.run import records
from pipeline.run.presets import tasks_with
from pipeline.run.settings import RECORDED
from pipeline.run.train_settings import TrainingSettings

MOST = 100
"""Photos without a prediction that are listed."""


def record_sections(files: RunFiles) -> list[Section]:
    """The sections that are closed at first."""
    return [
        Section("notes", "What the stages noted", "", [_notes(files)], closed=True, short="Notes"),
        Section("networks", "The networks, and what they cost", "", [_networks(files)], closed=True, short="Networks"),
        Section("settings", "Every setting", "", [_run(files), _settings(files)], closed=True, short="Settings"),
    ]


def _notes(files: RunFiles) -> Table:
    rows = [("calibrate", note) for note in files.report["notes"]]
    rows += [("caveat", caveat) for caveat in files.report["caveats"]]
    rows += [("report", note) for note in files.notes]
    predicted = records.last(files.place, "predict").metrics
    if predicted.get("engine"):
        told = f"{predicted['photos']:,} eval photos by {predicted['networks']} networks, by {predicted['engine']}"
        rows.append(("predict", told))
    bad = [] if files.bad is None else files.bad.head(MOST).to_dict("records")
    rows += [("no prediction", f"{row['photo']}: {row['reason']}") for row in bad]
    if files.bad is not None and len(files.bad) > MOST:
        rows.append(("no prediction", f"and {len(files.bad) - MOST:,} more, in bad_photos.csv"))
    return Table([Column("stage"), Column("note")], rows or [("", "nothing")], "Notes")


def _networks(files: RunFiles) -> Table:
    rows = []
    for fold in folds_in(files.networks):
        told = fold.settings
        rows.append((
            fold.task, fold.number, told.backbone, f"{told.height}x{told.width}", fold.weights, told.epochs,
            fold.metrics["macro_f1"], fold.metrics["gap"], fold.metrics["seconds"], fold.plan.precision,
            fold.plan.threads, ", ".join(f"{name} {version}" for name, version in fold.versions.items()),
        ))  # fmt: skip
    whole = sum(fold.metrics["seconds"] for fold in folds_in(files.networks))
    rows.append(("all", None, "", "", "", None, None, None, whole, "", None, ""))
    columns = [Column("network"), Column("fold", "count"), Column("backbone"), Column("pixels"), Column("began at")]
    columns += [Column("epochs", "number"), Column("macro-F1, own classes", "score"), Column("gap", "signed")]
    columns += [Column("training", "seconds"), Column("precision"), Column("threads", "count"), Column("versions")]
    return Table(columns, rows, "Networks by fold", head=2)


def _run(files: RunFiles) -> Table:
    made = files.run.as_json()
    rows = [(name.replace("_", "-"), _word(made[name])) for name in RECORDED]
    return Table([Column("of the whole run"), Column("value")], rows, "Settings of the run")


def _settings(files: RunFiles) -> Table:
    first = {task: folds[0] for task, folds in files.networks.items()}
    made = {task: fold.settings.as_json(task) for task, fold in first.items()}
    rows = []
    for name in declared(TrainingSettings):
        known = [task for task in first if task in tasks_with(name) or not tasks_with(name)]
        cells = [_word(made[task].get(name)) if task in known else "" for task in first]
        if any(cells):
            rows.append((name.replace("_", "-"), *cells))
    columns = [Column("of a network"), *(Column(task) for task in first)]
    return Table(columns, rows, "Settings of the networks, of the first fold each")


def settings_of_run(files: RunFiles) -> dict[tuple[str, str], str]:
    """Every setting of a run and of its networks, of the first fold each, by whose it is and its name."""
    made = files.run.as_json()
    told = {("run", name.replace("_", "-")): _word(made[name]) for name in RECORDED}
    for task, folds in files.networks.items():
        own = folds[0].settings.as_json(task)
        told |= {(task, name.replace("_", "-")): _word(own[name]) for name in declared(TrainingSettings) if name in own}
    return told


def _word(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name} {one}" for name, one in value.items()) or "none"
    return str(value)
