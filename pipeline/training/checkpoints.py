"""Checkpoints of a training: the two newest are kept, each with its checksum in its name.

`resume-000560-3fa9c1d2e4b5a697.pt` is that of step 560. A name that does not fit what the file holds gives away
half a file or a flipped bit before anything of it is used.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from models.errors import UserError
from pipeline.runtime import store
from pipeline.training.processes import by_first

KEPT = 2


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first, whole or not."""
    return sorted(folder.glob("resume-*.pt"))


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Add a checkpoint; of the older ones the newest stays, in case this one is damaged on disk."""
    with store.replacing(folder / f"resume-{step:06d}.pt", with_fingerprint=True) as path, path.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as problem:
            # A full disk, or a loader process that dies in the meantime: torch hides them behind an error of its own.
            if isinstance(problem.__context__, OSError | RuntimeError):
                raise problem.__context__ from None
            raise
    for old in found(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def newest(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint; None where there is none. Of several processes, the first alone may look.

    A damaged one after it is removed, which `say` is told. Raises UserError when every one is damaged.
    """
    paths = found(folder)
    whole = [path for path in paths if store.is_whole(path)]
    if paths and not whole:
        raise UserError(f"{paths[-1]} is damaged and so is every checkpoint before it; start again with --restart.")
    for path in paths[paths.index(whole[-1]) + 1 :] if whole else ():
        say(f"{path} is damaged and is passed over")
        path.unlink(missing_ok=True)
    return whole[-1] if whole else None


def agreed(folder: Path, accelerator: Accelerator, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The state that all processes of a training go on from; None where there is no checkpoint.

    The first process chooses, and the others take its word. Raises, in each of them, what `newest` and `load` do.
    """
    chosen = by_first(lambda: newest(folder, say))
    if chosen is None:
        return None
    state = load(chosen)
    accelerator.wait_for_everyone()  # a first process with nothing left to train would remove what others still read
    return state


def load(path: Path) -> dict[str, Any]:
    """The state in a whole checkpoint, in the processor's memory. Raises UserError for one that is not of ours."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as problem:
        told = (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")
        raise UserError(f"{path} is no checkpoint of ours ({told}); start again with --restart.") from None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a training that is finished."""
    for path in found(folder):
        path.unlink(missing_ok=True)
