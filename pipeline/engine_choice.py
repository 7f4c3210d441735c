"""Which engine answers a run's photos: the fastest that agrees with torch on the run's own validation photos.

What such an engine answers about the validation photos stands in RUN/validation.csv, so that calibration reads
answers of one engine only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import UserError
from pipeline import machine, prediction, runs, store
from pipeline.agreement import agreement
from pipeline.inputs import VALIDATION, data_of, gather, out_of_fold, prepared
from pipeline.prediction import Member
from pipeline.progress import Progress
from pipeline.runs import Run

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 512
"""Validation photos in memory at a time."""


def members_of(
    run: Run, system: str, folders: Sequence[Path], asked: str, flip: bool, device: str, threads: int
) -> tuple[str, list[Member]]:
    """A system's finished folds on the engine asked for, or on the next that agrees; and what the answers are called.

    flip: each answers the mean over a photo and its mirror image. Raises UserError when that is asked of a run
    whose train photos are gone: its thresholds could not be chosen anew.
    """
    ladder, home = machine.ENGINES[asked], run.home(system)

    def load(engine: str) -> list[Member]:
        return [prediction.load(folder, device, threads, engine) for folder in folders]

    if ladder == ("torch",) and not flip:
        return "torch", load("torch")
    marks = {str(f.relative_to(run.folder)): store.file_fingerprint(f / "weights.safetensors") for f in folders}
    inputs = {"weights": marks, "ladder": ladder, "flip": flip}
    with store.locked(home / "engine.lock", f"the choice of an engine for {home}", wait=True):
        stands = runs.finished(home, "engine", inputs)
        if stands is not None:
            return stands["answers"], _flipped(load(stands["engine"]), flip)
        if not run.data.is_dir():
            if flip:
                raise UserError(
                    f"--flip yes changes the answers, and the train photos of {run.folder} ({run.data}) are gone, on "
                    f"which the thresholds would be chosen anew; give --flip no."
                )
            print(f"predict: torch, because {asked} cannot be compared without the train photos ({run.data})")
            return "torch", load("torch")
        engine, members, table = _first_that_agrees(run, system, ladder, load)
        name = f"{engine} flip" if flip else engine
        if flip:
            members = _flipped(members, flip)
            table = _validation(run, system, members, name)
        if name != "torch":
            store.write_csv(home / VALIDATION, table.assign(engine=name))
        wrote = [] if name == "torch" else [VALIDATION]
        runs.record(home, "engine", inputs, wrote, {"engine": engine, "answers": name})
        return name, members


def _flipped(members: Sequence[Member], flip: bool) -> list[Member]:
    return [replace(member, flip=flip) for member in members]


def _first_that_agrees(
    run: Run, system: str, ladder: Sequence[str], load: Callable[[str], list[Member]]
) -> tuple[str, list[Member], pd.DataFrame]:
    """The engine, the members on it, and their validation answers."""
    reference = gather(run, system)
    for engine in ladder[:-1]:
        try:
            members = load(engine)
            answers = _validation(run, system, members, engine)
        except (UserError, OSError):  # such as a full disk, which is no fault of the engine
            raise
        except Exception as problem:  # torch's and OpenVINO's converters raise whatever they meet
            told = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
            print(f"predict: {engine} cannot run these networks ({told}) and is not used")
            continue
        found = agreement(reference, answers)
        print(
            f"predict: {engine} gives {found.equal:.2%} of {found.photos} validation photos the label that torch gives "
            f"them, and its macro-F1 differs by {found.difference:.4f}: {'used' if found.holds else 'not used'}",
            flush=True,
        )
        if found.holds:
            return engine, members, answers
    return "torch", load("torch"), reference


def _validation(run: Run, system: str, members: Sequence[Member], what: str) -> pd.DataFrame:
    """The out-of-fold answers of these members, as `gather` gives torch's."""
    data = data_of(run)
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    by_folder = {member.folder: member for member in members}
    count = sum(len(out_of_fold(folder)) for folder in by_folder)
    with Progress(f"{what} on validation photos", count, "photos") as progress:

        def answers_of(folder: Path) -> pd.DataFrame:
            member, table = by_folder[folder], out_of_fold(folder)
            pixels = prepared(run, data, member.size).pixels
            rows = table["photo"].map(place).to_numpy(np.int64)
            answers = []
            for start in range(0, len(rows), CHUNK):
                answers.append(member.answers(pixels[rows[start : start + CHUNK]]))
                progress.advance(len(answers[-1]))
            table[list(member.specialist.answers)] = np.concatenate(answers)
            return table

        return gather(run, system, answers_of)
