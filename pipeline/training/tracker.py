"""Following a training from outside, by one of accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from pipeline.training.processes import PATIENCE


def accelerator_of(device: str, folder: Path, log: str | None) -> Accelerator:
    """The accelerator of a training on a device; log: a tracker to tell of it too, in a folder of its name there."""
    # Else gradients are added up in another order from the second step on than in the first, and one that goes on, of
    # three processes or more, ends with other bytes.
    handlers = [InitProcessGroupKwargs(timeout=PATIENCE), DistributedDataParallelKwargs(find_unused_parameters=True)]
    if log is None:
        return Accelerator(cpu=device == "cpu", kwargs_handlers=handlers)
    accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=handlers, log_with=log, project_dir=folder)
    accelerator.init_trackers(log)
    return accelerator


def track(accelerator: Accelerator, row: Mapping[str, float], step: int) -> None:
    """Tells the trackers, where there are any, what came out after so many steps; caveats are no numbers."""
    accelerator.log({name: value for name, value in row.items() if not isinstance(value, bool)}, step=step)


def finish(accelerator: Accelerator) -> None:
    """Ends the trackers. (Accelerate's own end of a training would end the processes' group too.)"""
    for tracker in accelerator.trackers:
        tracker.finish()
