"""Fails every write of a run in turn, and looks at what is left: `make test-faults`.

In turn the file may grow no further (as on a full disk: the system itself refuses), and the flush to the disk
reports an error. Each time the command must say one sentence and end with status 2, no half file may stand under
a final name, and the same commands must end in the same bytes.
"""

import errno
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from whole_runs import RUN, Home, in_child, predictions

from models.errors import UserError
from pipeline.run.remembered import FILE
from pipeline.runtime import store


class Writes:
    """Counts the writes in this process; the `wanted` one fails."""

    def __init__(self, wanted: int | None):
        self.wanted, self.count, self.watching = wanted, 0, False

    def enter(self, _: str) -> None:
        if not self.watching:
            self.watching = True
            store.replacing = self._failing(store.replacing)

    def _failing(self, replacing: Callable) -> Callable:
        @contextmanager
        def watched(path: Path, **given: object) -> Iterator[Path]:
            self.count += 1
            fails = self.count - 1 == self.wanted
            with full_disk() if fails and self.count % 2 else broken_disk(fails), replacing(path, **given) as part:
                yield part

        return watched


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def broken_disk(broken: bool = True) -> Iterator[None]:
    """Flushing a file to the disk reports an error."""

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    flush = os.fsync
    os.fsync = refuse if broken else flush
    try:
        yield
    finally:
        os.fsync = flush


def counted(folder: Path) -> tuple[Home, int]:
    """A home, and how many writes its run has, from the preparing of its photos to its submission."""
    writes = Writes(None)
    home = Home(folder, writes.enter, lambda: writes.count)
    return home, json.loads(home.told)


def fail(home: Home, wanted: int, name: str) -> str:
    """Fail one write of a run and give the commands again; returns what went wrong, or nothing."""
    writes, folder = Writes(wanted), home.folder(name)
    _, status = in_child(folder, home.data, writes.enter, lambda: None, b"")
    log = (folder / "log.txt").read_text()
    told = [line for line in log.splitlines() if line.startswith("face18: ")]
    if status != 2 or len(told) != 1 or "Traceback" in log:
        return f"it ended with {status} and said:\n{log}"
    found = predictions(folder / RUN)
    half = [name for name, content in found.items() if name != "run.json" and content != home.expected.get(name)]
    half = [name for name in half if not name.endswith("log.csv") and "chunks-" not in name]  # whole, but of less
    half = [name for name in half if name != FILE or not remembers_less(folder / RUN, home.whole / RUN)]
    half += [str(path) for path in (folder / "data").rglob(".*.part")]
    if half:
        return f"left half: {', '.join(half)}"
    return home.fault_after(folder)


def remembers_less(run: Path, whole: Path) -> bool:
    """Whether a run's settings.json is whole and holds what predict remembers, and not yet what calibrate adds."""
    try:
        return store.read_json(run / FILE).items() < store.read_json(whole / FILE).items()
    except UserError:  # its fingerprint is not its content's
        return False


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        (home, total), bad = counted(Path(folder)), 0
        print(f"{total} writes in a run, each fails in turn", flush=True)
        for wanted in range(total):
            wrong = fail(home, wanted, f"write-{wanted}")
            bad += bool(wrong)
            if wrong:
                print(f"write {wanted}: {wrong}", flush=True)
            if wanted % 10 == 9:
                print(f"{wanted + 1} of {total}", flush=True)
        print(f"{total - bad} of {total} resumed to the same bytes")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
