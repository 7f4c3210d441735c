"""Trainings at the same cost: how long each network of a system learns, and on which people it is tuned.

A replicate is a fold that validates, with a seed of its own; or fold 0 each time, with another seed. Photo sizes and
learning rates are tuned once, without fold 0: trials learn from the people of the other folds but fold 1, and are
judged on fold 1. The eval photos have no part in either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from models.labels import BANDS, band
from pipeline.comparison.cost import effort, flops_per_photo, photos_per_epoch
from pipeline.comparison.trainings import JUDGED, TUNED, Replicate, Training
from pipeline.comparison.tuning import Choice, Size
from pipeline.dataset.folds import folds_of, with_folds
from pipeline.images.framing import View
from pipeline.images.run_faces import run_faces
from pipeline.images.run_photos import prepared
from pipeline.run.given import Given
from pipeline.run.presets import columns_of, settings_of
from pipeline.run.settings import RECORDED, TASKS, RunSettings
from pipeline.run.train_settings import Train, TrainingSettings
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.comparison.systems import System
    from pipeline.dataset.photos import DataSet
    from pipeline.run.folder import Run


class Planner:
    """Plans the trainings of systems on a run's photos.

    threads: of each training, None for the stage's own; size: at which photos are prepared to see which can be read.
    """

    def __init__(self, run: Run, data: DataSet, threads: int | None, size: Size):
        self.run, self.data, self.threads, self.size = run, data, threads, size
        self._rows: dict[str, pd.DataFrame] = {}
        self._flops: dict[str, float] = {}

    def check_people(self, folds: Collection[int] = (JUDGED,)) -> None:
        """Raises UserError where an age band has no one among the people of a fold that validates."""
        rows = self._with_folds(self.run)
        labelled = rows[rows[list(TASKS)].notna().all(axis=1)]
        for fold in sorted(set(folds)):
            absent = sorted(set(range(len(BANDS))) - set(band(labelled["age"][labelled["fold"] == fold])))
            if absent:
                raise UserError(
                    f"no one with all three labels in fold {fold}, whose people validate the systems, is "
                    f"{' and none '.join(BANDS[b] for b in absent)}; another --split-seed may bring some there, in "
                    f"another run (--run){'' if fold == JUDGED else ', or --replicates seeds does without that fold'}."
                )

    @cached_property
    def usual_costs(self) -> dict[str, float]:
        """FLOPs of each of the preset's three specialists by its own epochs."""
        tables = {task: settings_of(self.run.preset, task, self.run.weights) for task in TASKS}
        return {
            task: effort(self.flops(task, made), self.photos(task, made), made.batch_size, epochs=made.epochs).flops
            for task, made in tables.items()
        }

    def shares(self, system: System) -> dict[str, float]:
        """The share of a budget that each network of a system gets: the specialists as their preset divides it."""
        if len(system.settings) == 1:
            return dict.fromkeys(system.settings, 1.0)
        whole = sum(self.usual_costs[task] for task in system.settings)
        return {task: self.usual_costs[task] / whole for task in system.settings}

    def trainings(
        self,
        system: System,
        folder: Path,
        budget: float,
        replicate: Replicate,
        choices: Mapping[str, Choice],
        tuning: bool = False,
    ) -> list[Training]:
        """What a system trains in a run's folder, for a budget in FLOPs.

        choices: by task, else its own settings; tuning: as a trial, without the people of fold 0.
        """
        run = self.run | system.run
        of_run = {name: getattr(run, name) for name in RECORDED if name != "recipe"}
        without = (JUDGED, TUNED) if tuning else (replicate.fold,)
        of_run |= {"leave_out": JUDGED} if tuning else {}
        of_run = {name: value for name, value in of_run.items() if value is not None and value is not False}
        made = []
        for task, share in self.shares(system).items():
            own = system.resolved(self.run)[task]
            chosen = choices.get(task, Choice()).settings(own.lr)
            resolved = own | chosen
            photos = self.photos(task, resolved, without, run)
            length = effort(self.flops(task, resolved), photos, resolved.batch_size, budget=budget * share)
            given = Train(
                task=task,
                run=folder,
                folds=str(TUNED if tuning else replicate.fold),
                threads=self.threads,
                shared=Given(RunSettings, **of_run),
                training=system.settings[task] | chosen | {"seed": replicate.seed, "epochs": length.epochs},
            )
            made.append(Training(f"{folder.name} {task}", given, length))
        return made

    def photos(
        self, task: str, made: TrainingSettings, without: tuple[int, ...] = (JUDGED,), run: Run | None = None
    ) -> int:
        """Photos of an epoch under a task's settings, with the people of some folds apart."""
        run = run or self.run
        rows = self._with_folds(run)
        bad = prepared(run, self.data, View(*self.size), run_faces(run, self.data).framing).bad
        labels = list(columns_of(task))
        known = rows[labels].notna().all(axis=1) & ~rows["fold"].isin(without) & ~rows["photo"].isin(list(bad))
        if not known.any():
            raise UserError(f"no train photo of {run.data} carries the labels that {task} needs, {', '.join(labels)}.")
        return photos_per_epoch(task, made, rows[known])

    def _with_folds(self, run: Run) -> pd.DataFrame:
        if run.split not in self._rows:
            self._rows[run.split] = with_folds(self.data.train, folds_of(run, self.data.train))
        return self._rows[run.split]

    def flops(self, task: str, made: TrainingSettings) -> float:
        """Forward-backward FLOPs of a photo; counted once for settings that differ in lr alone."""
        key = store.fingerprint([task, made.as_json() | {"lr": None}])
        if key not in self._flops:
            self._flops[key] = flops_per_photo(task, made)
        return self._flops[key]
