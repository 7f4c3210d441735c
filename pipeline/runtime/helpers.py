"""Processes that help this one with its work, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from multiprocessing import connection
from typing import Any

from models.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def helped(count: int, work: Callable[..., None], *given: Any) -> Iterator[None]:
    """Run `work` on what is given in so many more processes; on leaving, wait for them. They print nothing.

    A process that fails is told of, and no more: what it has not done is for others to do. If the block raises, the
    processes are ended. On a machine with several GPUs each process sees one, and this one goes on with the first.
    """
    spawn = multiprocessing.get_context("spawn")
    gpus = _gpus() if count else []
    processes = [
        spawn.Process(target=_help, args=(work, given, gpus[number % len(gpus)] if gpus else None), daemon=True)
        for number in range(1, count + 1)
    ]
    # Ctrl-C goes to all of them; the helping ones are ended by this one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    failed = sum(process.exitcode != 0 for process in processes)
    if failed:
        print(f"face18: {failed} of {count} helping processes ended early; the others did their work", file=sys.stderr)


def _gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE in os.environ:
        return [gpu for gpu in os.environ[VISIBLE].split(",") if gpu]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _help(work: Callable[..., None], given: tuple[Any, ...], gpu: str | None) -> None:
    """What a helping process does."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        try:
            work(*given)
        except (UserError, OSError) as problem:
            print(f"face18: a helping process: {problem}", file=sys.stderr)
            sys.exit(2)


def _end_with_parent() -> None:
    """A killed process ends none of its children; what these do would go on unseen."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
