"""python -m pipeline commands: what to start where, to train a run on several GPUs, machines, or a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.declared import setting
from models.errors import UserError
from pipeline.run import jobs
from pipeline.run.folder import Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.settings import SYSTEMS, SystemStage
from pipeline.run.train_settings import TrainingSettings, WorkSettings
from pipeline.runtime.problems import show
from pipeline.runtime.spoken import COMMAND, called
from pipeline.stages.train import parse_folds


@dataclass(frozen=True, kw_only=True)
class Commands(WorkSettings, SystemStage):
    """What the stage commands is told."""

    gpus: int | None = setting(
        "A script that keeps so many GPUs of one machine at work.", None, least=1, usual="plain commands"
    )
    machines: str | None = setting(
        "A script that has machines train, by their names for ssh with commas between them; all see this folder.",
        None,
        usual="plain commands",
    )
    slurm: bool = setting("A job array for sbatch.", False, flag=True)
    folds: str = setting("Which folds to train: all, or numbers like 0,1.", "all")
    training: Given[TrainingSettings] = some_of(TrainingSettings)


def commands(settings: Commands) -> dict[str, Any]:
    """Print the commands that train every network and fold of a run side by side, on GPUs, machines or a cluster."""
    ways = [name for name in ("gpus", "machines", "slurm") if getattr(settings, name)]
    if len(ways) > 1:
        raise UserError(f"--{ways[0]} and --{ways[1]} are two ways to train; give one of them.")
    if settings.gpus is not None and settings.processes > 1:
        raise UserError(
            "--gpus gives each training one GPU, and --processes wants more for each; leave one of them out."
        )
    names = jobs.machines_of(settings.machines) if settings.machines is not None else []
    run = open_run(settings, make="data" in settings.shared)
    for name in (str(run.folder), os.getcwd()):
        if not name.isprintable():
            raise UserError(f"the name {show(name)} cannot stand in a script; rename the folder.")
    tasks, numbers = SYSTEMS[run.system(settings)], parse_folds(settings.folds, run.folds)
    numbers = [number for number in numbers if number != run.leave_out]
    work = {name: getattr(settings, name) for name in WorkSettings.__dataclass_fields__}
    if settings.gpus is not None and settings.share == 1:
        work["share"] = settings.gpus
    if "face_model" in settings.shared:  # which is not recorded once a training has begun
        work["face_model"] = settings.shared["face_model"]
    found = jobs.jobs_of(run, tasks, numbers, settings.training, work)
    finished = len(tasks) * len(numbers) - len(found)
    print(
        "\n".join(["#!/bin/bash", *_told(settings, run, len(found), finished), *_script(settings, run, found, names)])
    )
    return {"trainings": len(found), "finished": finished}


def _program() -> list[str]:
    """How this program is called from anywhere."""
    return [os.path.abspath(sys.argv[0])] if called() == COMMAND else [sys.executable, "-m", "pipeline"]


def _told(settings: Commands, run: Run, left: int, finished: int) -> list[str]:
    """What the script is, as comments."""
    system = ["--system", settings.system] if settings.system else []
    then = shlex.join([*_program(), "predict", "--run", str(run.folder), *system])
    told = [f"# {left} trainings of {run.folder}, beside {finished} that are finished."]
    if left:
        told += ["# Any line may be given as often and wherever you like: finished ones return, others go on."]
    if left and settings.slurm:
        told += [
            f"# For sbatch; options of your cluster, such as --gpus {settings.processes} or --time, go before this "
            f"file's name."
        ]
    if left and settings.machines:
        told += ["# Stopped here, the machines go on with what they train; end it there (pkill -f 'pipeline train')."]
    return [*told, f"# Afterwards: {then}"]


def _script(settings: Commands, run: Run, found: Sequence[jobs.Job], names: Sequence[str]) -> list[str]:
    program, folder = _program(), os.getcwd()
    if not found:
        return []
    if names:
        return jobs.on_machines(found, program, folder, names)
    if settings.slurm:
        return jobs.for_slurm(found, program, folder, f"face18-{run.folder.name}")
    if settings.gpus is not None:
        return jobs.on_gpus(found, program, folder, settings.gpus)
    return jobs.here(found, program, folder)
