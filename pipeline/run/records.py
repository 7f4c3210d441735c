"""Which stage was run here with what.

A finished stage leaves `done/STAGE.json`: the fingerprints of what it read, of what it wrote, and its metrics; with the
same inputs it need not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.runtime import store
from pipeline.runtime.shared_lock import SharedLock, never, shared_lock


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Be the only stage after training that works in a folder: wait for others, and say so.

    What a killed one left unfinished is removed. What a stage goes by is read inside: others may have written it.
    """
    with together(place, never):
        yield


@contextmanager
def together(place: Path, may: Callable[[], bool] = lambda: True) -> Iterator[SharedLock]:
    """As `alone`, for a stage that several processes may work at: the first is alone, until it shares the place."""
    with lock_of(place) as lock:
        lock.enter(may)
        store.sweep(place)
        yield lock


def lock_of(place: Path) -> AbstractContextManager[SharedLock]:
    """The lock of a folder that stages after training work in."""
    return shared_lock(place / "predict.lock", str(place))


@dataclass(frozen=True)
class Record:
    """What the last time a stage ran in a folder left behind: empty where it never did."""

    folder: Path
    stage: str
    inputs: str | None = None
    wrote: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def check(self, *names: str) -> None:
        """Raises UserError where a file that the stage wrote is missing, or no longer what it wrote."""
        for name in names:
            if name in self.wrote and store.file_fingerprint(self.folder / name) != self.wrote[name]:
                raise UserError(f"{self.folder / name} is missing, damaged or was changed; run {self.stage} again.")


def last(folder: Path, stage: str) -> Record:
    """The record of the last time a stage ran here, on whatever inputs. Raises UserError where it is damaged."""
    path = folder / "done" / f"{stage}.json"
    if not path.is_file():
        return Record(folder, stage)
    made = store.read_json(path)
    if made.keys() != {"inputs", "wrote", "metrics"} or not all(
        isinstance(made[name], dict) for name in ("wrote", "metrics")
    ):
        raise UserError(f"{path} is not what {stage} writes; remove it, and run {stage} again.")
    return Record(folder, stage, **made)


def finished(folder: Path, stage: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a stage that ran here with these inputs and whose files still stand; else None."""
    made = last(folder, stage)
    if made.inputs != store.fingerprint(inputs):
        return None
    stands = all(store.file_fingerprint(folder / name) == fingerprint for name, fingerprint in made.wrote.items())
    return dict(made.metrics) if stands else None


def record(
    folder: Path, stage: str, inputs: dict[str, Any], wrote: Iterable[str], metrics: dict[str, Any]
) -> dict[str, Any]:
    """Note that a stage ran with these inputs and wrote these files; returns the metrics."""
    store.write_json(
        folder / "done" / f"{stage}.json",
        {
            "inputs": store.fingerprint(inputs),
            "wrote": {name: store.file_fingerprint(folder / name) for name in wrote},
            "metrics": metrics,
        },
    )
    return metrics
