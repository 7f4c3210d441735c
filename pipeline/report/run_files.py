"""What a run has left that a report shows: read once, checked, and nothing of the truth but what score wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.combiner.schema import HELD_OUT_FILE, LABELS_FILE, POOLED
from pipeline.prediction.engine import REFERENCE
from pipeline.prediction.run_predictions import (
    Networks,
    check_calibrated,
    engine_of,
    folds_in,
    networks_of,
    validation_by,
)
from pipeline.run import records
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.runtime.problems import BAD_PHOTOS
from pipeline.scoring.caveats import suffix
from pipeline.scoring.submission import SCORED


@dataclass(frozen=True)
class RunFiles:
    """A run's files in one of its places, the specialists' or a rival's, or that of an EVAL folder.

    combiner: all of combiner.json; held_out, validation: tables of the people held out; predictions, labels: of the
    eval photos, None without any; score, scored: what score wrote, None where the truth is not known or
    the submission is another by now; logs: an epoch a row, by task and fold; bad: eval photos without a prediction.
    """

    run: Run
    system: str
    place: Path
    networks: Networks
    combiner: dict[str, Any]
    held_out: pd.DataFrame
    validation: pd.DataFrame
    logs: Mapping[tuple[str, int], pd.DataFrame]
    predictions: pd.DataFrame | None = None
    labels: NDArray[np.int64] | None = None
    score: dict[str, Any] | None = None
    scored: pd.DataFrame | None = None
    bad: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    further: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The cells of the data set's further columns, by photo."""

    @property
    def report(self) -> dict[str, Any]:
        """What calibrate found."""
        return self.combiner["report"]

    @property
    def caveats(self) -> str:
        """What no score of people held out is shown without, as it stands behind it; nothing where there is none."""
        return suffix(self.report["caveats"])

    @property
    def name(self) -> str:
        """The place's, as a title."""
        here = self.run.folder.name or "run"
        return here if self.place == self.run.folder else f"{here}/{self.place.relative_to(self.run.folder)}"

    def told_labels(self) -> pd.DataFrame:
        """The people held out: photo, person, label, predicted by thresholds that others chose, age and age_years.

        age_years only where the system predicts years.
        """
        known = ["photo", "person", "age", *(name for name in ("age_years",) if name in self.validation)]
        table = self.held_out.rename(columns={"cross_fitted": "predicted"}).drop(columns="plain")
        return table.merge(self.validation[known], on="photo", how="left")

    def scored_labels(self) -> pd.DataFrame | None:
        """The same of the eval photos, where score opened their truth."""
        if self.scored is None:
            return None
        table = self.scored[["photo", "person", "age", "label", "predicted"]]
        if self.predictions is None or "age_years" not in self.predictions:
            return table
        years = self.predictions.groupby("photo", as_index=False)["age_years"].mean()
        return table.merge(years, on="photo", how="left")


def read_run_files(run: Run, system: str, place: Path) -> RunFiles:
    """The files of a place of a run. Raises UserError where it is not calibrated yet, or a file is damaged."""
    networks = networks_of(run, system)
    check_calibrated(networks, run, place)
    records.last(place, "calibrate").check(HELD_OUT_FILE)
    notes: list[str] = []
    predictions = store.read_csv(place / "predictions.csv") if (place / "predictions.csv").is_file() else None
    engine = REFERENCE if predictions is None else engine_of(predictions)
    score, scored = _scored(run, place, notes)
    labels = _labels(place, predictions, notes)
    held_out, validation = store.read_csv(place / HELD_OUT_FILE), validation_by(networks, place, engine)
    if set(POOLED) <= set(held_out):  # over people, as labels are
        values = held_out[["photo", *POOLED]]
        held_out = held_out.drop(columns=list(POOLED))
        validation = validation.drop(columns=list(POOLED)).merge(values, on="photo")
        if predictions is not None and labels is not None:
            values = store.read_csv(place / LABELS_FILE)[["photo", *POOLED]]
            predictions = predictions.drop(columns=list(POOLED)).merge(values, on="photo", how="left")
    bad = store.read_csv(place / BAD_PHOTOS) if (place / BAD_PHOTOS).is_file() else None
    logs = {(fold.task, fold.number): store.read_csv(fold.folder / "log.csv") for fold in folds_in(networks)}
    return RunFiles(
        run=run,
        system=system,
        place=place,
        networks=networks,
        combiner=store.read_json(place / "combiner.json"),
        held_out=held_out,
        validation=validation,
        logs=logs,
        predictions=predictions,
        labels=labels,
        score=score,
        scored=scored,
        bad=bad,
        notes=tuple(notes),
    )


def _labels(place: Path, predictions: pd.DataFrame | None, notes: list[str]) -> NDArray[np.int64] | None:
    """The submitted labels, where they stand and are of these predictions."""
    path = place / "submission.csv"
    if predictions is None or not path.is_file():
        return None
    made_of = records.last(place, "submit").metrics.get("made_of", {})
    if any(store.file_fingerprint(place / name) != fingerprint for name, fingerprint in made_of.items()):
        notes.append(f"{path.name} was made of other predictions or thresholds than stand now; make submit mends it")
        return None
    return store.read_csv(path)["ans"].to_numpy(np.int64)


def _scored(run: Run, place: Path, notes: list[str]) -> tuple[dict[str, Any] | None, pd.DataFrame | None]:
    """What score wrote, where it is about the submission and the truth that stand."""
    made = records.last(place, "score")
    if made.inputs is None:
        return None, None
    for name, fingerprint in made.metrics.get("truth", {}).items():
        if store.file_fingerprint(run.data / name) not in (fingerprint, None):
            notes.append(f"{name} has changed since the truth was opened; make score opens it again")
            return None, None
    if made.metrics.get("submission") != store.file_fingerprint(place / "submission.csv"):
        notes.append("the score on record is of another submission than stands now; make score opens the truth again")
        return None, None
    made.check("score.json", SCORED)
    return store.read_json(place / "score.json"), store.read_csv(place / SCORED)
