"""Stages side by side: each a process of its own, whose lines go to a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from pipeline.runtime.progress import duration
from pipeline.runtime.stopping import StoppedError, Stopping

LOOK = 0.1
"""Seconds between two looks at which processes have ended."""
BEGIN = """
import ctypes, json, os, signal, sys
if hasattr(ctypes.CDLL(None), "prctl"):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl.h
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit(1)
from pipeline.__main__ import run_stages
run_stages(json.loads(sys.argv[1]))
"""
"""Stages in turn, in a process that ends with its parent: the parent's next start would meet its locks."""


@dataclass(frozen=True)
class Job:
    """Commands for python -m pipeline, in turn in one process; `log` is what they print, `cost` tells the time left."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    log: Path
    cost: float = 1.0


def run(jobs: Sequence[Job], at_once: int, what: str, told: Callable[[Job], str] = lambda job: "") -> None:
    """Run the jobs, so many at once, in their order; prints a line as each ends, `told` being what to say of it.

    When one fails, when this process is asked to stop or dies, the others end too: the same call goes on there.
    Raises UserError with the sentence of a job that failed, RuntimeError where it gave none, StoppedError.
    """
    waiting, running, started = list(jobs), _Running(), time.monotonic()
    total, spent, done = sum(job.cost for job in jobs), 0.0, 0
    with Stopping() as stop, running:
        while waiting or running.jobs:
            while waiting and len(running.jobs) < at_once:
                running.start(waiting.pop(0))
            time.sleep(LOOK)
            if stop.asked:  # before its jobs are looked at: they may have been asked too
                name = signal.Signals(stop.asked).name
                raise StoppedError(f"{what}: stopped by {name}; the same command goes on there", stop.asked)
            for job in running.ended():
                spent, done = spent + job.cost, done + 1
                left = (time.monotonic() - started) * (total / spent - 1)
                more = told(job)
                print(
                    f"{what}: {job.name}{f', {more}' if more else ''}; {done} of {len(jobs)}"
                    + (f", {duration(left)} left" if done < len(jobs) else ""),
                    flush=True,
                )


class _Running:
    """The processes at work; they end with the block."""

    def __init__(self) -> None:
        self.jobs: dict[subprocess.Popen, Job] = {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *problem: object) -> None:
        try:
            for process in self.jobs:
                process.terminate()  # a training leaves a checkpoint
            for process in self.jobs:
                process.wait()
        finally:  # asked to hurry
            for process in self.jobs:
                process.kill()

    def start(self, job: Job) -> None:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", BEGIN, str(os.getpid()), json.dumps(job.commands)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # unbuffered, or what was printed before a mistake would stand after it in the log
                env=os.environ
                | {"TTY_INTERACTIVE": "0", "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then asks each once
            )
        self.jobs[process] = job

    def ended(self) -> list[Job]:
        """The jobs that have ended since the last look. Raises what `run` raises of one that failed."""
        found = []
        for process in [process for process in self.jobs if process.poll() is not None]:
            job = self.jobs.pop(process)
            if process.returncode:
                raise _failure(job, process.returncode)
            found.append(job)
        return found


def _failure(job: Job, status: int) -> Exception:
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()
    if status == 2:
        first = max((i for i, line in enumerate(lines) if line.startswith("face18: ")), default=len(lines) - 1)
        return UserError(f"{job.name}: " + "\n".join(lines[first:]).removeprefix("face18: "))
    number = -status if status < 0 else status - 128  # a training that is asked to stop ends by itself
    if number in set(signal.Signals):
        return UserError(
            f"{job.name} was ended by {signal.Signals(number).name}, as when the machine's memory is full; the same "
            f"command goes on there, --jobs 1 needs less memory."
        )
    return RuntimeError(f"{job.name} failed with status {status}; the end of {job.log}:\n" + "\n".join(lines[-20:]))
