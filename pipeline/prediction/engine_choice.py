"""Which engine predicts a run's photos: the fastest that agrees with torch on the run's own validation photos.

What such an engine predicts about the validation photos stands in validation.csv beside the eval predictions, in RUN or
in the place of a folder given as EVAL, so that calibration reads predictions of one engine only.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import UserError
from pipeline.dataset.run_data import photo_fingerprints, train_rows
from pipeline.dataset.tables import BOX
from pipeline.images.framing import View
from pipeline.images.run_photos import prepared
from pipeline.prediction import ensemble
from pipeline.prediction.agreement import agreement
from pipeline.prediction.engine import LADDERS, REFERENCE, Engine
from pipeline.prediction.ensemble import EnsembleMember
from pipeline.prediction.run_predictions import Networks, folds_in, framing_of, gather, out_of_fold
from pipeline.run import records
from pipeline.run.fold_records import VALIDATION, WEIGHTS, FinishedFold
from pipeline.run.folder import Run
from pipeline.run.remembered import EngineSettings
from pipeline.runtime import store
from pipeline.runtime.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pipeline.dataset.photos import DataSet


@dataclass(frozen=True)
class Request:
    """A choice to be made: which engine for a system's networks, whose eval predictions go to a place.

    own: gives the data set of the run itself, whose validation photos engines are tried on; it is read only where they
    are.
    """

    run: Run
    networks: Networks
    home: Path
    place: Path
    own: Callable[[], DataSet]
    device: str
    threads: int

    def load(self, engine: Engine) -> list[EnsembleMember]:
        return [ensemble.load(fold, self.device, self.threads, engine) for fold in folds_in(self.networks)]


@dataclass(frozen=True)
class HeldOut:
    """What engines are tried on: torch's predictions about the validation photos of each fold, and the pixels.

    rows: of a photo among the pixels; pixels: the prepared photos of a view.
    """

    tables: Mapping[Path, pd.DataFrame]
    rows: Mapping[str, int]
    pixels: Callable[[View], NDArray[np.uint8]]


def _held_out(request: Request) -> HeldOut:
    data, framing = request.own(), framing_of(request.networks)
    pixels = cache(lambda view: prepared(request.run, data, view, framing).pixels)
    whole = framing is None and not set(BOX) <= set(data.train.columns)  # no margin is seen
    return HeldOut(
        {fold.folder: out_of_fold(fold) for fold in folds_in(request.networks)},
        {photo: row for row, photo in enumerate(data.train["photo"])},
        lambda view: pixels(View(*view.size) if whole else view),
    )


def load_ensemble(request: Request, asked: EngineSettings) -> tuple[Engine, list[EnsembleMember]]:
    """A system's finished folds on the engine asked for, or on the next that agrees; and which one that is.

    Raises UserError when a flip is asked of a run whose train photos are gone or changed: its thresholds could not be
    chosen anew.
    """
    ladder, flip, run, home = LADDERS[asked.engine], asked.flip, request.run, request.home
    if ladder == (REFERENCE,) and not flip:
        return REFERENCE, request.load(REFERENCE)
    fingerprints = {f"{fold.task}/{fold.folder.name}": fold.fingerprint(WEIGHTS) for fold in folds_in(request.networks)}
    inputs = {"weights": fingerprints, "ladder": list(map(str, ladder)), "flip": flip, "device": request.device}
    with store.locked(home / "engine.lock", f"the choice of an engine for {home}", wait=True):
        stands = _standing(request.place, home, inputs)
        if stands is not None:
            return stands, request.load(stands)
        fault = _fault(request)
        if fault is not None:
            last = replace(REFERENCE, flip=flip)
            if flip and _standing(request.place, home, inputs | {"ladder": [str(REFERENCE)]}) is None:
                raise UserError(
                    f"--flip yes changes the predictions, and the train photos of {run.folder} ({run.data}) {fault}, "
                    f"on which the thresholds would be chosen anew; give --flip no."
                )
            print(
                f"predict: torch, because {asked.engine} cannot be compared without the train photos ({run.data}), "
                f"which {fault}"
            )
            return last, request.load(last)
        held = _held_out(request)
        engine, members, table = _first_that_agrees(request, ladder, held)
        if flip:
            engine = replace(engine, flip=True)
            members = [replace(member, flip=True) for member in members]
            table = _validation(request, members, held, engine)
        if engine != REFERENCE:
            store.write_csv(request.place / VALIDATION, table.assign(engine=str(engine)))
        _record(request.place, inputs, engine)
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


def _fault(request: Request) -> str | None:
    """What has become of the train photos since these folds learned from them; None where nothing has."""
    if not request.run.data.is_dir():
        return "are gone"
    try:
        data = request.own()
    except UserError:  # stages that need no train photos go on without them
        return "cannot be read"
    for task, folds in request.networks.items():
        now = photo_fingerprints(data, train_rows(data, task))
        if any(fold.inputs[name] != fingerprint for fold in folds for name, fingerprint in now.items()):
            return "have changed"
    return None


def _first_that_agrees(
    request: Request, ladder: Sequence[Engine], held: HeldOut
) -> tuple[Engine, list[EnsembleMember], pd.DataFrame]:
    """The engine, the members on it, and their validation predictions."""
    reference = gather(request.networks, lambda fold: held.tables[fold.folder])
    for engine in ladder[:-1]:
        try:
            members = request.load(engine)
            predictions = _validation(request, members, held, engine)
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
    return REFERENCE, request.load(REFERENCE), reference


def _validation(request: Request, members: Sequence[EnsembleMember], held: HeldOut, engine: Engine) -> pd.DataFrame:
    """The out-of-fold predictions of these members, as `gather` gives torch's."""
    by_folder = {member.folder: member for member in members}
    with Progress(f"{engine} on validation photos", sum(map(len, held.tables.values())), "photos") as progress:

        def predictions_of(fold: FinishedFold) -> pd.DataFrame:
            member, table = by_folder[fold.folder], held.tables[fold.folder].copy()
            rows = table["photo"].map(held.rows).to_numpy(np.int64)
            predictions = ensemble.predict_rows(member, held.pixels(member.view), rows, progress.advance)
            table[list(member.task.columns)] = predictions
            return table

        return gather(request.networks, predictions_of)
