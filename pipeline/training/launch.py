"""Begins the processes of a training on this machine by torch's own agent, which begins them anew when one is lost."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.run.train_settings import Train
from pipeline.runtime import ranks, store
from pipeline.runtime.stopping import StoppedError
from pipeline.training.processes import FRESH, check_gpus, leave_others

RESTARTS = 3
"""How often all processes begin anew after one was lost."""
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
SHUTDOWN = 600
"""Seconds that processes have after a signal to end a step, or to judge an epoch, and to write a checkpoint."""
FAULT, LOST, LOST_TOLD = 1, 75, "lost.txt"
"""How a process ends that failed, and one that lost another, which tells in a file how."""
MOMENT = 5.0
"""Seconds within which processes that meet the same problem have all met it."""

Stage = Callable[[Train], dict[str, Any]]


def launch(stage: Stage, settings: Train) -> dict[str, Any]:
    """A stage by so many processes as its settings say; returns the first one's metrics.

    Raises what the processes raise for the user, and UserError when they are lost again and again.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    check_gpus(settings.processes)
    name = f"train {settings.task}"
    again = f"the same command{' without --restart' if settings.restart else ''} goes on from the last checkpoint"
    with tempfile.TemporaryDirectory(prefix="face18-") as made, _quietly(), _restored():
        folder = Path(made)
        os.environ |= {FRESH: "1", ranks.NOTES: made}
        os.environ.setdefault(*ranks.QUIET)
        os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN))
        heard = os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(_heard())
        newer = {"signals_to_handle": heard} if "signals_to_handle" in LaunchConfig.__dataclass_fields__ else {}
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=settings.processes, run_id=folder.name, rdzv_backend="c10d",
            rdzv_endpoint="localhost:0", local_addr="localhost", max_restarts=RESTARTS, monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "torch")), **newer,
        )  # fmt: skip
        try:
            metrics = elastic_launch(config, _work)(stage, settings, folder)
        except SignalException as stop:
            _raise_word(folder)
            number = signal.Signals(stop.sigval)
            raise StoppedError(f"{name}: stopped by {number.name}; {again}", number) from None
        except ChildFailedError as failed:
            _raise_word(folder)
            which, failure = failed.get_first_failure()
            ended = signal.Signals(-failure.exitcode).name if failure.exitcode < 0 else f"status {failure.exitcode}"
            if failure.exitcode == LOST:
                ended = (folder / LOST_TOLD).read_text("utf-8")
            if failure.exitcode == FAULT:
                raise RuntimeError(f"{name}: process {which} of {settings.processes} failed, as told above") from None
            raise UserError(
                f"{name}: process {which} of {settings.processes} ended ({ended}), after all had begun anew {RESTARTS} "
                f"times; {again}."
            ) from None
        _raise_word(folder)
    return metrics[0]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch's agent logs: of a lost process, tables and tracebacks of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _heard() -> list[str]:
    """The signals that end a training: not those that this process was begun to ignore, as nohup does."""
    return [one.name for one in HEARD if signal.getsignal(one) != signal.SIG_IGN]


@contextmanager
def _restored() -> Iterator[None]:
    """The environment and the signals' handlers stand afterwards as before; torch's agent sets its own."""
    variables = dict(os.environ)
    before = {one: signal.getsignal(one) for one in HEARD}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        os.environ.clear()
        os.environ.update(variables)


def _work(stage: Stage, settings: Train, folder: Path) -> dict[str, Any] | None:
    """What each process does. A problem for the user is left in the folder, in a file of its own: it would only come
    again, so processes that find one have nothing to do."""
    if any(folder.glob("*.json")):
        return None
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    anew = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if anew and ranks.rank() == 0:
        print(f"train {settings.task}: a process was lost; all begin anew ({anew} of {RESTARTS} times)", flush=True)
    status = FAULT
    try:
        return stage(settings)
    except StoppedError as problem:
        _leave_word(folder, problem)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except ranks.LostError as problem:  # the agent ends this one too, once it has seen which was lost
        time.sleep(MOMENT)
        (folder / LOST_TOLD).write_text(str(problem), "utf-8")
        status = LOST
    except Exception as problem:
        if isinstance(problem, UserError) or getattr(problem, "errno", None) is not None:
            _leave_word(folder, problem)
            if _all_say_so(folder):
                leave_others()
                return None
        else:
            traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)  # at once, as others may wait for this one; the agent ends them


def _all_say_so(folder: Path) -> bool:
    """Whether all processes have met a problem, within a moment."""
    until = time.monotonic() + MOMENT
    while time.monotonic() < until:
        if len(list(folder.glob("*.json"))) == ranks.processes():
            return True
        time.sleep(0.05)
    return False


def _leave_word(folder: Path, problem: UserError | OSError | StoppedError) -> None:
    word: dict[str, Any] = {"text": str(problem)}
    if isinstance(problem, StoppedError):
        word["number"] = problem.number
    elif isinstance(problem, OSError):
        filename = None if problem.filename is None else os.fsdecode(problem.filename)
        word["system"] = [problem.errno, problem.strerror, filename]
    try:
        store.write_json(folder / f"{ranks.rank()}.json", word)
    except OSError:  # the disk may be full here too
        print(f"face18: {problem}", file=sys.stderr)


def _raise_word(folder: Path) -> None:
    """Raises the problem that the first process has met, or else another one; none where none has."""
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        word = store.read_json(path)
        if "number" in word:
            raise StoppedError(word["text"], word["number"])
        raise OSError(*word["system"]) if "system" in word else UserError(word["text"])
