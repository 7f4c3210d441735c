"""Which process this is of several that share one work, as torchrun and its like tell each by its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

QUIET = ("TORCH_CPP_LOG_LEVEL", "ERROR")
"""In the environment before torch is imported."""
NOTES = "FACE18_NOTES"
"""In the environment: the folder for notes."""

GONE = (
    "Connection closed", "Connection reset by peer", "Broken pipe", "Socket closed", "Connection was likely closed",
    "remote process exited", "communicator was aborted",
)  # fmt: skip
"""What torch says where another process has gone."""


class LostError(Exception):
    """Another process of the work has gone; what begins the processes may begin all anew."""


@contextmanager
def lost_told() -> Iterator[None]:
    """Raises LostError for what torch raises where another process has gone."""
    try:
        yield
    except RuntimeError as problem:
        if processes() == 1 or not any(word in str(problem) for word in GONE):
            raise
        said = (str(problem).splitlines() or [""])[0]
        raise LostError(f"process {rank()} has lost another one ({said})") from None


def is_worker() -> bool:
    """Whether this process was begun as one of several, or as the only one, by torchrun or its like."""
    return "RANK" in os.environ


def rank() -> int:
    """This process's number; the first one's is 0, and it alone writes."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def processes() -> int:
    """How many share the work, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_worker() else 1


def on_this_machine() -> int:
    """How many of them are of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes())) if is_worker() else 1


@contextmanager
def first_speaks() -> Iterator[None]:
    """What others than the first print goes nowhere; what is wrong is for stderr. Torch's warnings are kept down."""
    if is_worker():
        os.environ.setdefault(*QUIET)
    if rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


def tells(text: str) -> bool:
    """Whether it is for this process to tell what is wrong: of those of a machine that have the same to say, one is."""
    if processes() == 1:
        return True
    if "torch.distributed" not in sys.modules or not sys.modules["torch.distributed"].is_initialized():
        return os.environ.get("LOCAL_RANK", "0") == "0"  # it is the same for all until they work together
    from torch.distributed.distributed_c10d import _get_default_store

    try:
        return _get_default_store().add(f"face18 {os.environ.get('GROUP_RANK')} {text}", 1) == 1
    except RuntimeError:  # the first process, which keeps count, has told it and gone
        return rank() == 0


def note(what: str) -> None:
    """Leave a note for the processes that are begun anew in the place of these, where there is a folder for notes."""
    if NOTES in os.environ and rank() == 0:
        Path(os.environ[NOTES], f"{what}.note").touch()


def is_noted(what: str) -> bool:
    """Whether a process before this one has left such a note."""
    return NOTES in os.environ and Path(os.environ[NOTES], f"{what}.note").is_file()


def may_begin_anew() -> bool:
    """Whether processes may be begun anew in the place of these and find no note of theirs."""
    return NOTES not in os.environ and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
