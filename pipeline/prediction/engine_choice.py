"""Which engine predicts a run's photos: the fastest that agrees with torch on the run's own validation photos.

What such an engine predicts about the validation photos stands in validation.csv beside the eval predictions, in RUN or
in the place of a folder given as EVAL, so that calibration reads predictions of one engine only.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import UserError
from pipeline.dataset.run_data import data_of, photo_fingerprints, train_rows
from pipeline.images.run_photos import prepared
from pipeline.prediction import ensemble
from pipeline.prediction.agreement import agreement
from pipeline.prediction.engine import LADDERS, REFERENCE, Engine
from pipeline.prediction.ensemble import EnsembleMember
from pipeline.prediction.run_predictions import VALIDATION, gather, out_of_fold
from pipeline.run import records
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.runtime.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


def load_ensemble(
    run: Run, system: str, place: Path, folders: Sequence[Path], asked: str, flip: bool, device: str, threads: int
) -> tuple[Engine, list[EnsembleMember]]:
    """A system's finished folds on the engine asked for, or on the next that agrees; and which one that is.

    place: where the eval predictions go. flip: each predicts the mean over a photo and its mirror image. Raises
    UserError when that is asked of a run whose train photos are gone or changed: its thresholds could not be chosen
    anew.
    """
    ladder, home = LADDERS[asked], run.home(system)

    def load(engine: Engine) -> list[EnsembleMember]:
        return [ensemble.load(folder, device, threads, engine) for folder in folders]

    if ladder == (REFERENCE,) and not flip:
        return REFERENCE, load(REFERENCE)
    fingerprints = {str(f.relative_to(run.folder)): store.file_fingerprint(f / "weights.safetensors") for f in folders}
    inputs = {"weights": fingerprints, "ladder": list(map(str, ladder)), "flip": flip, "device": device}
    with store.locked(home / "engine.lock", f"the choice of an engine for {home}", wait=True):
        stands = _standing(place, home, inputs)
        if stands is not None:
            return stands, load(stands)
        fault = _fault(run, folders)
        if fault is not None:
            last = replace(REFERENCE, flip=flip)
            if flip and _standing(place, home, inputs | {"ladder": [str(REFERENCE)]}) is None:
                raise UserError(
                    f"--flip yes changes the predictions, and the train photos of {run.folder} ({run.data}) {fault}, "
                    f"on which the thresholds would be chosen anew; give --flip no."
                )
            print(
                f"predict: torch, because {asked} cannot be compared without the train photos ({run.data}), which "
                f"{fault}"
            )
            return last, load(last)
        engine, members, table = _first_that_agrees(run, system, ladder, load)
        if flip:
            engine = replace(engine, flip=True)
            members = [replace(member, flip=True) for member in members]
            table = _validation(run, system, members, engine)
        if engine != REFERENCE:
            store.write_csv(place / VALIDATION, table.assign(engine=str(engine)))
        _record(place, inputs, engine)
        return engine, members


def _standing(place: Path, home: Path, inputs: dict[str, Any]) -> Engine | None:
    """The choice made with these inputs: the place's own, else that for the run's photos, which becomes its own."""
    own = records.finished(place, "engine", inputs)
    if own is not None:
        return Engine.of(own["engine"])
    stands = None if place == home else records.finished(home, "engine", inputs)
    if stands is None:
        return None
    engine = Engine.of(stands["engine"])
    if engine != REFERENCE:
        with store.replacing(place / VALIDATION) as temporary:
            shutil.copyfile(home / VALIDATION, temporary)
    _record(place, inputs, engine)
    return engine


def _record(place: Path, inputs: dict[str, Any], engine: Engine) -> None:
    wrote = [] if engine == REFERENCE else [VALIDATION]
    records.record(place, "engine", inputs, wrote, {"engine": str(engine)})


def _fault(run: Run, folders: Sequence[Path]) -> str | None:
    """What has become of the train photos since these folds learned from them; None where nothing has."""
    if not run.data.is_dir():
        return "are gone"
    try:
        data = data_of(run)
    except UserError:  # stages that need no train photos go on without them
        return "cannot be read"
    for folder in folders:
        made = store.read_json(folder / "settings.json")
        now = photo_fingerprints(data, train_rows(data, made["task"]))
        if any(made["inputs"][name] != fingerprint for name, fingerprint in now.items()):
            return "have changed"
    return None


def _first_that_agrees(
    run: Run, system: str, ladder: Sequence[Engine], load: Callable[[Engine], list[EnsembleMember]]
) -> tuple[Engine, list[EnsembleMember], pd.DataFrame]:
    """The engine, the members on it, and their validation predictions."""
    reference = gather(run, system)
    for engine in ladder[:-1]:
        try:
            members = load(engine)
            predictions = _validation(run, system, members, engine)
        except (UserError, OSError):  # such as a full disk, which is no fault of the engine
            raise
        except Exception as problem:  # torch's and OpenVINO's converters raise whatever they meet
            told = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
            print(f"predict: {engine} cannot run these networks ({told}) and is not used")
            continue
        found = agreement(reference, predictions)
        print(
            f"predict: {engine} gives {found.equal:.2%} of {found.photos} validation photos the label that torch gives "
            f"them, and its macro-F1 differs by {found.difference:.4f}: {'used' if found.holds else 'not used'}",
            flush=True,
        )
        if found.holds:
            return engine, members, predictions
    return REFERENCE, load(REFERENCE), reference


def _validation(run: Run, system: str, members: Sequence[EnsembleMember], engine: Engine) -> pd.DataFrame:
    """The out-of-fold predictions of these members, as `gather` gives torch's."""
    data = data_of(run)
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    by_folder = {member.folder: member for member in members}
    count = sum(len(out_of_fold(folder)) for folder in by_folder)
    with Progress(f"{engine} on validation photos", count, "photos") as progress:

        def predictions_of(folder: Path) -> pd.DataFrame:
            member, table = by_folder[folder], out_of_fold(folder)
            pixels = prepared(run, data, member.size).pixels
            rows = table["photo"].map(place).to_numpy(np.int64)
            predictions = ensemble.predict_rows(member, pixels, rows, progress.advance)
            table[list(member.task.columns)] = predictions
            return table

        return gather(run, system, predictions_of)
