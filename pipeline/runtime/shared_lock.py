"""A lock that one process holds alone, or several hold together.

Who has done its share and wants to be alone, to put together what all have done, claims that in a second file: while it
waits for the others to leave, nobody comes in, and nobody else can be alone first.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from pipeline.runtime import holder, store

GRACE = 1.0
"""Seconds after which a claim is somebody's who waits for others to leave, and no look of one who comes in."""


def never() -> bool:
    """Who enters a lock so is alone."""
    return False


class SharedLock:
    """A lock file that is held; it dies with its owner, and a process forked off does not hold it.

    alone: whether nobody else holds it, and nobody can come in.
    """

    def __init__(self, file: IO[bytes], claim: IO[bytes], what: str):
        self._file, self._claim, self._what, self.alone = file, claim, what, False

    def enter(self, together: Callable[[], bool] = lambda: True) -> None:
        """Hold it alone, or else together with others, where that may be; wait until one can be, and say so."""
        self._let_go()

        def attempt() -> bool:
            return self._unclaimed(lambda: self._try(alone=True) or (together() and self._try(alone=False)))

        store.take(self._file, self._what, attempt, wait=True)
        self._note()

    def join(self) -> None:
        """Hold it together with one that does so already, and stays until this process has left."""
        store.take(self._file, self._what, lambda: self._try(alone=False), wait=True)

    def share(self) -> None:
        """Let others in, who was alone."""
        store.take(self._claim, self._what, lambda: store.try_lock(self._claim), wait=True)
        self._let_go()
        self._try(alone=False)
        fcntl.flock(self._claim, fcntl.LOCK_UN)
        self._note()

    def become_alone(self) -> None:
        """Leave the others, and wait until they have left too."""
        until = time.monotonic() + GRACE
        while not (claimed := store.try_lock(self._claim)) and time.monotonic() < until:
            time.sleep(store.LOOK)
        self._let_go()
        if not claimed:  # another one waits for this one to leave, and will put together what there is
            self.enter(never)
            return
        store.take(self._file, f"the rest of {self._what}", lambda: self._try(alone=True), wait=True)
        fcntl.flock(self._claim, fcntl.LOCK_UN)
        self._note()

    def try_alone(self) -> bool:
        """Be alone, if nobody else is there; whether that is so."""

        def attempt() -> bool:
            self._let_go()
            return self._try(alone=True) or (self._try(alone=False) and False)

        alone = self._unclaimed(attempt)
        self._note()
        return alone

    def _unclaimed(self, attempt: Callable[[], bool]) -> bool:
        """Whether nobody claims to be alone next, and an attempt succeeds."""
        if not store.try_lock(self._claim):
            return False
        try:
            return attempt()
        finally:
            fcntl.flock(self._claim, fcntl.LOCK_UN)

    def _try(self, alone: bool) -> bool:
        held = store.try_lock(self._file, together=not alone)
        self.alone = held and alone
        return held

    def _let_go(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self.alone = False

    def _note(self) -> None:
        if self._file.writable():
            holder.write(self._file)


@contextmanager
def shared_lock(path: Path, what: str) -> Iterator[SharedLock]:
    """A lock file, to be entered; what is held of it is let go at the end."""
    with store.opened_lock(path) as file, _claim_of(path) as claim:
        yield SharedLock(file, claim, what)


def _claim_of(path: Path) -> AbstractContextManager[IO[bytes]]:
    """The file of claims; where none can be made, nobody can work either, and so nobody claims anything."""
    claims = path.with_name(f"{path.stem}-claim.lock")
    if claims.is_file() or os.access(path.parent, os.W_OK):
        return store.opened_lock(claims)
    return tempfile.TemporaryFile()
