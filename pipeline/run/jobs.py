"""The trainings that a run still lacks, as commands for several GPUs, machines, or a cluster.

Any of the commands may be given any number of times, anywhere the run's folder is seen: what is finished returns at
once, what another process is at is refused, and what was interrupted goes on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import UserError
from pipeline.run import presets, setting_rules
from pipeline.run.fold_records import is_finished
from pipeline.run.folder import Run
from pipeline.run.given import Given
from pipeline.run.train_settings import Train, TrainingSettings


@dataclass(frozen=True)
class Job:
    """The training of one fold; cost: beside the others', to begin with the longest."""

    train: Train
    cost: float

    def words(self) -> list[str]:
        """The command line, without the program."""
        return ["train", *self.train.words()]


def jobs_of(
    run: Run,
    tasks: Sequence[str],
    numbers: Sequence[int],
    given: Given[TrainingSettings],
    work: Mapping[str, Any],
) -> list[Job]:
    """The trainings of some folds that are not finished, the longest first.

    given: training settings, each for the networks that know it; work: the settings of how each is done. Raises
    UserError for a setting that none of the networks knows.
    """
    jobs = []
    for task in tasks:
        theirs = setting_rules.of_task(_known_by(task, tasks, given), task, run)
        made = setting_rules.resolved(run, task, theirs)
        for number in numbers:
            if not is_finished(run.folder / task / f"fold{number}"):
                train = Train.of(task=task, run=run.folder, folds=str(number), **work, **theirs)
                jobs.append(Job(train, made.epochs * made.height * made.width))
    return sorted(jobs, key=lambda job: -job.cost)


def _known_by(task: str, tasks: Sequence[str], given: Given[TrainingSettings]) -> Given[TrainingSettings]:
    """The settings that a network knows, and those that none of the networks knows, to be refused."""
    owners = {name: set(tasks) & set(presets.tasks_with(name)) for name in given}
    known = {name: value for name, value in given.items() if task in owners[name] or not owners[name]}
    return Given(TrainingSettings, **known)


def here(jobs: Sequence[Job], program: Sequence[str], folder: str) -> list[str]:
    """A command a line, for a folder."""
    return [f"cd {shlex.quote(folder)} || exit", *(shlex.join([*program, *job.words()]) for job in jobs)]


def on_gpus(jobs: Sequence[Job], program: Sequence[str], folder: str, gpus: int) -> list[str]:
    """A script that keeps so many GPUs of one machine at work, of those that are visible, a training on each."""
    return [
        f"cd {shlex.quote(folder)} || exit",
        f'export GPUS="${{CUDA_VISIBLE_DEVICES:-{",".join(map(str, range(gpus)))}}}"',
        'IFS=, read -ra all <<<"$GPUS"',
        f'if [ ${{#all[@]}} -lt {gpus} ]; then echo "fewer GPUs are visible than {gpus}: $GPUS" >&2; exit 2; fi',
        # Without "|| exit 1" xargs would begin no more of them once one was killed.
        f"xargs -P {gpus} -L 1 --process-slot-var=SLOT bash -c "
        '\'IFS=, read -ra all <<<"$GPUS"; CUDA_VISIBLE_DEVICES=${all[SLOT]} "$@" || exit 1\' '
        f"bash {shlex.join(program)} <<'JOBS'",
        *(shlex.join(job.words()) for job in jobs),
        "JOBS",
    ]


def on_machines(jobs: Sequence[Job], program: Sequence[str], folder: str, names: Sequence[str]) -> list[str]:
    """A script that has machines train, reached by ssh: each its own share, and then what others have not begun.

    It fails where a machine cannot be reached, and ends its connections when it is stopped.
    """
    made = ["trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM"]
    for number, name in enumerate(names):
        own = jobs[number :: len(names)]
        others = [job for job in jobs if job not in own]
        # Between braces, because what trains could read the script's own lines.
        lines = ["{", *here([*own, *others], program, folder), "true", "} </dev/null"]
        made += [f"ssh {shlex.quote(name)} bash -s <<'JOBS' &", *lines, "JOBS"]
    return [*made, "status=0", 'for job in $(jobs -p); do wait "$job" || status=$?; done', "exit $status"]


def for_slurm(jobs: Sequence[Job], program: Sequence[str], folder: str, name: str) -> list[str]:
    """A job array for Slurm's sbatch, a training each."""
    head = [
        f"#SBATCH --job-name={re.sub(r'[^A-Za-z0-9_.-]', '-', name)}",
        f"#SBATCH --array=0-{len(jobs) - 1}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=TERM@90",  # a training that is told so leaves a checkpoint
        f"cd {shlex.quote(folder)} || exit",
    ]
    srun = 'srun ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"}'  # some versions' srun forgets it
    each = [f"{number}) {srun} {shlex.join([*program, *job.words()])} ;;" for number, job in enumerate(jobs)]
    return [*head, 'case "$SLURM_ARRAY_TASK_ID" in', *each, "esac"]


def machines_of(text: str) -> list[str]:
    """The names in a list with commas. Raises UserError for one that is blank, named twice, or no name."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not name or name.startswith("-") or names.count(name) > 1:
            what = "a name is blank" if not name else f"{name} is " + ("no name" if name[0] == "-" else "named twice")
            raise UserError(f"--machines {text}: {what}; give names as ssh takes them, with commas between them.")
    return names
