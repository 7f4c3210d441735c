"""Which stage was run here with what.

A finished stage leaves `done/STAGE.json`: the fingerprints of what it read, of what it wrote, and its metrics; with the
same inputs it need not run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.runtime import store


@contextmanager
def alone(place: Path, stage: str) -> Iterator[None]:
    """The only stage after training that works in a folder; what a killed one left unfinished is removed."""
    with store.locked(place / "predict.lock", f"{stage} in {place}"):
        store.sweep(place)
        yield


def finished(folder: Path, stage: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The metrics of a stage that ran here with these inputs and whose files still stand; else None."""
    path = folder / "done" / f"{stage}.json"
    if not path.is_file():
        return None
    record = store.read_json(path)
    stands = all(store.file_fingerprint(folder / name) == fingerprint for name, fingerprint in record["wrote"].items())
    return record["metrics"] if stands and record["inputs"] == store.fingerprint(inputs) else None


def metrics_of(folder: Path, stage: str) -> dict[str, Any]:
    """The metrics of the last time a stage ran here, on whatever inputs; none where it never did."""
    path = folder / "done" / f"{stage}.json"
    return store.read_json(path)["metrics"] if path.is_file() else {}


def check(folder: Path, stage: str, names: Iterable[str]) -> None:
    """Raises UserError where a file that a stage wrote here is missing, or no longer what the stage wrote."""
    path = folder / "done" / f"{stage}.json"
    wrote = store.read_json(path)["wrote"] if path.is_file() else {}
    for name in names:
        if name in wrote and store.file_fingerprint(folder / name) != wrote[name]:
            restart = " with --restart, which keeps the old folder" if stage == "train" else ""
            raise UserError(f"{folder / name} is missing, damaged or was changed; run {stage} again{restart}.")


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
