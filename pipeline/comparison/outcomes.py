"""What a replicate of a system came to: its labels of the eval photos and of the people held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import BANDS, band, encode, fused
from pipeline.combiner.schema import HELD_OUT_FILE
from pipeline.comparison.systems import System
from pipeline.comparison.trainings import Replicate
from pipeline.prediction.label_tables import averaged, probabilities_of
from pipeline.prediction.tables import TRUTH
from pipeline.run.fold_records import VALIDATION
from pipeline.runtime import store
from pipeline.scoring.metrics import macro_f1


@dataclass(frozen=True)
class Outcome:
    """What one replicate of a system came to.

    labels (n,): of the eval photos; years (n,): their ages, NaN where a photo could not be decoded, None where the
    system predicts none; validation: macro-F1 of people held out, held_out: their labels by photo, None where they
    were not calibrated; choices: what tuning chose, by task, in words; flops, seconds: of its training.
    """

    system: str
    replicate: int
    validation: float
    labels: NDArray[np.int64] | None = None
    years: NDArray[np.float64] | None = None
    held_out: pd.Series | None = None
    choices: dict[str, str] = field(default_factory=dict)
    flops: float = float("nan")
    seconds: float = float("nan")


def at_30_60(labels: NDArray[np.int64], years: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the labels with the bands of the predicted ages (n,); a photo without an age keeps its label."""
    known = np.isfinite(years)
    return np.where(known, fused(labels // len(BANDS), np.where(known, years, 0.0)), labels)


def likeliest(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Truth, likeliest label and person (n,) of the validation photos with all labels, of a rival's fold."""
    table = store.read_csv(file)
    rows = table[table[list(TRUTH)].notna().all(axis=1)]
    truth = encode(
        rows["mask"].to_numpy(np.int64), rows["gender"].to_numpy(np.int64), band(rows["age"].to_numpy(float))
    )
    return truth, probabilities_of(rows).argmax(1), rows["person"].to_numpy(str)


def validation_file(system: System, replicate: Replicate) -> Path:
    """Where, in a run's folder, the predictions about people held out are of a system of one network."""
    return Path(system.kind) / f"fold{replicate.fold}" / VALIDATION


def validation_score(system: System, folder: Path, replicate: Replicate) -> float:
    """Macro-F1 of a run's people held out. What was chosen for the score is judged on others than it was chosen on."""
    if system.likeliest:
        truth, labels, _ = likeliest(folder / validation_file(system, replicate))
        return macro_f1(truth, labels)
    scores = store.read_json(system.place(folder) / "combiner.json")["report"]["scores"]["train"]
    return scores["plain" if system.same_as else "cross_fitted"]["macro_f1"]


def held_out_of(system: System, folder: Path) -> pd.Series | None:
    """The labels of a run's people held out, by photo; None where the system's labels are not calibrated."""
    if system.likeliest:
        return None
    table = store.read_csv(system.place(folder) / HELD_OUT_FILE).set_index("photo")
    return table["plain" if system.same_as else "cross_fitted"]


def eval_predictions(system: System, folder: Path, photos: pd.Series) -> tuple[NDArray[np.int64], NDArray | None]:
    """Labels (n,) and ages (n,), None where there are none, of the eval photos in the order of the submission."""
    place = system.place(folder)
    labels = store.read_csv(place / "submission.csv")["ans"].to_numpy(np.int64)
    if len(labels) != len(photos):
        raise AssertionError("every eval photo has one label")
    predictions = store.read_csv(place / "predictions.csv")
    if system.likeliest:
        found = averaged(predictions)
        likeliest = pd.Series(probabilities_of(found).argmax(1), index=found["photo"]).reindex(photos.astype("string"))
        return np.where(likeliest.isna(), labels, likeliest.fillna(0)).astype(np.int64), None
    if "age_years" not in predictions:
        return labels, None
    years = predictions.groupby("photo")["age_years"].mean().reindex(photos.astype("string")).to_numpy(np.float64)
    return (at_30_60(labels, years) if system.same_as else labels), years


def person_of(truth: pd.DataFrame) -> NDArray[np.str_] | None:
    """(n,) the persons of the eval photos; None where not all are known."""
    named = "person" in truth and truth["person"].notna().all()
    return truth["person"].to_numpy(str) if named else None
