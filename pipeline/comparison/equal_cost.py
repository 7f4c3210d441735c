"""Trainings at the same cost: how long each network of a system learns, and on which people it is tuned.

Fold 0 validates every system. Learning rates are tuned without its people: trials learn from the people of the
other folds but fold 1, and are judged on fold 1. The eval photos have no part in either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from models.labels import BANDS, band
from pipeline.comparison.cost import Effort, effort, flops_per_photo, photos_per_epoch
from pipeline.dataset.folds import folds_of, with_folds
from pipeline.images.run_photos import prepared
from pipeline.run.fold_records import FinishedFold, is_finished
from pipeline.run.given import Given
from pipeline.run.presets import PRESETS, columns_of
from pipeline.run.settings import RECORDED, TASKS, RunSettings
from pipeline.run.train_settings import Train, TrainingSettings
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.comparison.systems import System
    from pipeline.dataset.photos import DataSet
    from pipeline.run.folder import Run

JUDGED, TUNED = 0, 1
"""The fold whose people validate the systems, and the one whose people tuning is judged on."""


@dataclass(frozen=True)
class Training:
    """One network to be trained, by what the stage train is told."""

    name: str
    given: Train
    effort: Effort

    @property
    def fold(self) -> Path:
        return self.given.run / self.given.task / f"fold{self.given.folds}"

    @property
    def finished(self) -> bool:
        return is_finished(self.fold)

    @property
    def metrics(self) -> dict[str, Any]:
        """What the finished training told at its end."""
        return dict(FinishedFold.read(self.fold).metrics)


class Planner:
    """Plans the trainings of systems on a run's photos; `threads`: of each training, None for the stage's own."""

    def __init__(self, run: Run, data: DataSet, threads: int | None):
        self.run, self.data, self.threads = run, data, threads
        self._rows: dict[str, pd.DataFrame] = {}
        self._flops: dict[str, float] = {}

    def check_people(self) -> None:
        """Raises UserError where an age band has no one among the people who validate: nothing could be calibrated."""
        rows = self._with_folds(self.run)
        known = rows[(rows["fold"] == JUDGED) & rows[list(TASKS)].notna().all(axis=1)]
        absent = sorted(set(range(len(BANDS))) - set(band(known["age"])))
        if absent:
            raise UserError(
                f"no one with all three labels in fold {JUDGED}, whose people validate the systems, is "
                f"{' and none '.join(BANDS[b] for b in absent)}; another --split-seed may bring some there, in another "
                f"run (--run)."
            )

    def usual_cost(self) -> float:
        """FLOPs of the preset's three specialists by their own epochs."""
        tables = {task: PRESETS[self.run.preset][task] for task in TASKS}
        return sum(
            effort(self.flops(task, made), self.photos(task, made), made.batch_size, epochs=made.epochs).flops
            for task, made in tables.items()
        )

    def trainings(
        self,
        system: System,
        folder: Path,
        budget: float,
        seed: int,
        factors: dict[str, float],
        tuning: bool = False,
    ) -> list[Training]:
        """What a system trains in a run's folder: its networks share the budget in FLOPs evenly.

        factors: of the preset's learning rates, by task; tuning: as a trial, without the people who validate.
        """
        run = self.run | system.run
        of_run = {name: getattr(run, name) for name in RECORDED if name != "recipe"}
        without, fold = ((JUDGED,), JUDGED) if not tuning else ((JUDGED, TUNED), TUNED)
        of_run |= {"leave_out": JUDGED} if tuning else {}
        of_run = {name: value for name, value in of_run.items() if value is not None and value is not False}
        made = []
        for task, resolved in system.resolved(self.run.preset).items():
            photos = self.photos(task, resolved, without, run)
            share = budget / len(system.settings)
            length = effort(self.flops(task, resolved), photos, resolved.batch_size, budget=share)
            lr = resolved.lr * factors.get(task, 1.0)
            given = Train(
                task=task,
                run=folder,
                folds=str(fold),
                threads=self.threads,
                shared=Given(RunSettings, **of_run),
                training=system.settings[task] | {"seed": seed, "epochs": length.epochs, "lr": lr},
            )
            name = folder.name if len(system.settings) == 1 else f"{folder.name} {task}"
            made.append(Training(name, given, length))
        return made

    def photos(
        self, task: str, made: TrainingSettings, without: tuple[int, ...] = (JUDGED,), run: Run | None = None
    ) -> int:
        """Photos of an epoch under a task's settings, with the people of some folds apart."""
        run = run or self.run
        rows = self._with_folds(run)
        bad = prepared(run, self.data, (made.height, made.width)).bad
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


def factors_of(tune: str) -> list[float]:
    """The learning-rate factors of --tune, those nearest to 1 first: between equals the first is chosen."""
    try:
        found = [float(factor) for factor in tune.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < factor < float("inf") for factor in found):
        raise UserError(f"--tune {tune}: give factors of the learning rate, like 0.5,1,2; a single one tunes nothing.")
    return sorted(dict.fromkeys(found), key=lambda factor: max(factor, 1 / factor))


def best_factors(trials: dict[float, list[Training]]) -> dict[str, float]:
    """The factor of the best validation macro-F1 for each task; trials: a system's trainings by factor."""
    tasks = [training.given.task for training in next(iter(trials.values()))]
    return {
        task: max(trials, key=lambda factor, i=i: trials[factor][i].metrics["macro_f1"]) for i, task in enumerate(tasks)
    }
