"""A lock that one process holds alone, or several hold together."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.runtime import holder, store


class SharedLock:
    """A held lock file; it dies with its owner, and a process forked off does not hold it.

    alone: whether nobody else holds it, and nobody can come in.
    """

    def __init__(self, file: IO[bytes], what: str, alone: bool):
        self._file, self._what, self.alone = file, what, alone

    def share(self) -> None:
        """Let others in; for a moment between, somebody else may have been alone."""
        self._take(alone=False)

    def become_alone(self) -> None:
        """Leave the others, and wait until they have left too."""
        self._take(alone=True)

    def try_alone(self) -> bool:
        """Be alone, if nobody else holds it; whether that is so."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        if store.try_lock(self._file):
            self._note()
            self.alone = True
        else:
            self.share()
        return self.alone

    def _take(self, alone: bool) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        store.take(self._file, self._what, lambda: store.try_lock(self._file, together=not alone), wait=True)
        self._note()
        self.alone = alone

    def _note(self) -> None:
        if self._file.writable():
            holder.write(self._file)


@contextmanager
def shared(path: Path, what: str, *, joining: bool = False) -> Iterator[SharedLock]:
    """Hold a lock file: alone where nobody does, else together with those who do.

    Where another process is alone, wait for it, and say so after a moment. joining: be never alone.
    """
    with store.opened_lock(path) as file:
        alone = not joining and store.try_lock(file)
        if not alone:
            store.take(file, what, lambda: store.try_lock(file, together=True), wait=True)
        lock = SharedLock(file, what, alone)
        lock._note()
        yield lock
