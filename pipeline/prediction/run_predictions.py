"""The predictions that a run holds: of validation people, out of fold, and the networks that made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.prediction.engine import REFERENCE, Engine
from pipeline.run import records
from pipeline.run.folder import Run
from pipeline.run.presets import SYSTEMS
from pipeline.runtime import store
from pipeline.scoring.caveats import CAVEAT_SENTENCES

if TYPE_CHECKING:
    import pandas as pd


VALIDATION = "validation.csv"
"""Beside eval predictions by an engine other than torch: what it predicts about the validation photos."""


def out_of_fold(folder: Path) -> pd.DataFrame:
    """The predictions of a finished fold about the people it held out, as training wrote them."""
    records.check(folder, "train", ["validation.csv"])
    return store.read_csv(folder / "validation.csv")


def gather(
    run: Run, system: str = "specialists", predictions_of: Callable[[Path], pd.DataFrame] = out_of_fold
) -> pd.DataFrame:
    """The out-of-fold predictions of a system's networks side by side, one row per photo.

    predictions_of: of a fold's folder. Photos that some specialist did not predict out-of-fold have blanks there.
    Raises UserError when a network has no finished fold, or when they learned from different labels or folds.
    """
    import pandas as pd

    from pipeline.prediction.tables import TRUTH

    keys = ["photo", "person", "fold", *TRUTH]
    whole: pd.DataFrame | None = None
    for task in SYSTEMS[system]:
        table = pd.concat([predictions_of(folder) for folder in finished(run, task).values()])
        whole = table if whole is None else whole.merge(table, on=keys, how="outer")
    if whole["photo"].duplicated().any():
        raise UserError(
            f"the networks of {run.folder} were trained on different labels or folds; train them again with --restart."
        )
    return whole


def validation_by(run: Run, system: str, place: Path, engine: Engine) -> pd.DataFrame:
    """The validation predictions that go with a place's eval predictions. Raises UserError when there are none."""
    if engine == REFERENCE:
        return gather(run, system)
    path = place / VALIDATION
    if not has_validation_by(place, engine):
        raise UserError(f"{path} is missing, damaged or of another engine than {engine}; run predict again.")
    return store.read_csv(path)


def engine_of(predictions: pd.DataFrame) -> Engine:
    """The engine that made a table of eval predictions. Raises UserError where the table does not tell."""
    if "engine" not in predictions:
        raise UserError("the eval predictions lack the column engine: run predict again.")
    return Engine.of(str(predictions["engine"].iloc[0]))


def has_validation_by(place: Path, engine: Engine) -> bool:
    """Whether such validation predictions stand; they are not read."""
    record = place / "done" / "engine.json"
    if engine == REFERENCE or not record.is_file():
        return engine == REFERENCE
    made = store.read_json(record)
    stands = made["wrote"].get(VALIDATION) == store.file_fingerprint(place / VALIDATION)
    return made["metrics"]["engine"] == str(engine) and stands


def caveats_of_run(run: Run, system: str) -> dict[str, str]:
    """The caveats of a run's validation scores: a word to set beside them, and a sentence each."""
    done = [folder / "done" / "train.json" for task in SYSTEMS[system] for folder in run.finished_folds(task).values()]
    metrics = [store.read_json(record)["metrics"] for record in done]
    return {word: told for word, told in CAVEAT_SENTENCES.items() if any(made.get(word) for made in metrics)}


def finished(run: Run, task: str) -> dict[int, Path]:
    """The finished folds of a network. Raises UserError when there are none."""
    folders = run.finished_folds(task)
    if not folders:
        raise UserError(f"no fold of {task} is trained in {run.folder} yet; run make train-{task} first.")
    return folders


def network_fingerprint(folder: Path) -> list[str | None]:
    """What a finished fold predicts by: the fingerprints of its settings and weights."""
    return [store.file_fingerprint(folder / name) for name in ("settings.json", "weights.safetensors")]


def check_networks(run: Run, place: Path) -> None:
    """Raises UserError where a network was trained anew since it predicted the eval photos of a place."""
    for folder, fingerprint in records.metrics_of(place, "predict").get("weights", {}).items():
        if network_fingerprint(run.folder / folder) != fingerprint:
            raise UserError(
                f"{place / 'predictions.csv'} was predicted by another network than {run.folder / folder} holds now; "
                f"run predict again."
            )
