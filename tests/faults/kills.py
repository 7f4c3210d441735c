"""Kills whole runs at chosen moments, resumes them, and compares every byte: `make test-faults`.

A moment is before, within or after the n-th call of some function of a kind. The run says that it is there and
waits; then it is killed (SIGKILL), and the same commands are given again. Each kill is drawn from the seed and
its number: python tests/faults/kills.py --seed 7 --only 13 replays one.
"""

import argparse
import io
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from whole_runs import NETWORKS, Home, in_child, wait_to_be_killed

from pipeline.combiner import threshold_combiner
from pipeline.prediction import chunks, ensemble
from pipeline.run import records
from pipeline.runtime import store
from pipeline.training import checkpoints, evaluation, trainer

KINDS: dict[str, tuple[str, list[tuple[object, str]]]] = {
    "epoch": ("train", [(trainer.Trainer, "train_step")]),
    "checkpoint": ("train", [(checkpoints, "save"), (torch, "save")]),
    "validation": ("train", [(evaluation, "logits_of"), (ensemble, "predicted")]),
    "prediction": (
        "predict",
        [(ensemble.EnsembleMember, "predict"), (chunks.Chunks, "write"), (chunks.Chunks, "merge")],
    ),
    "calibration": (
        "calibrate",
        [
            (threshold_combiner, "choose_thresholds"),
            (threshold_combiner, "summary"),
            (threshold_combiner.ThresholdCombiner, "save"),
        ],
    ),
    "submission": (
        "submit",
        [(threshold_combiner.ThresholdCombiner, "predict"), (store, "write_csv"), (records, "record")],
    ),
}
"""The stage of each kind, and whose calls there are its moments."""


class Moments:
    """Counts the moments of a kind in this process; at the `wanted` one it waits to be killed."""

    def __init__(self, kind: str, wanted: int | None):
        self.kind, self.wanted = kind, wanted
        self.count, self.stage = 0, ""

    def watch(self) -> None:
        for place, name in KINDS[self.kind][1]:
            called = getattr(place, name)
            watched = self._halved(called) if place is torch else self._around(called, place is trainer.Trainer)
            setattr(place, name, watched)
        if self.kind in ("prediction", "calibration", "submission"):
            store.replacing = self._unrenamed(store.replacing)

    def enter(self, stage: str) -> None:
        if not self.stage:
            self.watch()
        self.stage = stage

    def _moment(self) -> None:
        if self.stage == KINDS[self.kind][0]:
            self.count += 1
            if self.count - 1 == self.wanted:
                wait_to_be_killed()

    def _around(self, called: Callable, step: bool) -> Callable:
        def watched(*given: object, **named: object) -> object:
            if not step or given[0].step % given[0].steps_per_epoch:  # steps: in the middle of an epoch
                self._moment()
            result = called(*given, **named)
            self._moment()
            return result

        return watched

    def _halved(self, called: Callable) -> Callable:
        def watched(state: object, file: io.BufferedWriter) -> None:
            whole = io.BytesIO()
            called(state, whole)
            content = whole.getvalue()
            file.write(content[: len(content) // 2])
            file.flush()
            self._moment()
            file.write(content[len(content) // 2 :])

        return watched

    def _unrenamed(self, replacing: Callable) -> Callable:
        @contextmanager
        def watched(path: Path, **given: object) -> Iterator[Path]:
            with replacing(path, **given) as part:
                yield part
                self._moment()

        return watched


def places(kind: str) -> list[str]:
    """Where a kind of moment is to be found: in the training of each specialist, or in one later stage."""
    stage = KINDS[kind][0]
    return list(NETWORKS) if stage == "train" else [stage]


def count(home: Home, kind: str, place: str) -> int:
    """How many moments of a kind there are in a place."""
    moments, folder = Moments(kind, None), home.folder(f"count-{kind}-{place}", place)
    told, status = in_child(folder, home.data, moments.enter, lambda: moments.count, b"")
    if status:
        raise AssertionError((folder / "log.txt").read_text())
    return json.loads(told)


def kill(home: Home, kind: str, place: str, wanted: int, name: str) -> str:
    """Kill a run at a moment and resume it; returns what went wrong, or nothing."""
    moments, folder = Moments(kind, wanted), home.folder(name, place)
    _, status = in_child(folder, home.data, moments.enter, lambda: None, b"here\n")
    if status != -signal.SIGKILL:
        return f"it was not killed but ended with {status}"
    return home.fault_after(folder)


def drawn_kills(kills: int, seed: int, moments: dict[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    """So many kills, as evenly as can be over the kinds, each at a moment drawn by the seed from its places."""
    rng, kinds = np.random.default_rng(seed), list(dict.fromkeys(kind for kind, _ in moments))
    chosen = []
    for number in range(kills):
        of_kind = [(k, place, n) for (k, place), n in moments.items() if k == kinds[number % len(kinds)]]
        kind, place, most = of_kind[rng.integers(len(of_kind))]
        chosen.append((kind, place, int(rng.integers(most))))
    return chosen


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--kills", type=int, default=200)
    reader.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    reader.add_argument("--only", type=int, help="replay this one")
    reader.add_argument("--part", default="0/1", help="0/2 and 1/2 share the kills between two processes")
    given = reader.parse_args()
    part, parts_in_all = map(int, given.part.split("/"))
    print(f"{given.kills} kills, seed {given.seed}, part {given.part}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        started, home = time.monotonic(), Home(Path(folder))
        moments = {(kind, place): count(home, kind, place) for kind in KINDS for place in places(kind)}
        print(f"moments of a run: {', '.join(f'{n} of {k} in {p}' for (k, p), n in moments.items())}", flush=True)
        good, bad = dict.fromkeys(KINDS, 0), 0
        for number, (kind, place, wanted) in enumerate(drawn_kills(given.kills, given.seed, moments)):
            if number % parts_in_all != part or given.only not in (None, number):
                continue
            wrong = kill(home, kind, place, wanted, f"kill-{number}")
            good[kind] += not wrong
            bad += bool(wrong)
            if wrong:
                print(f"kill {number} ({kind} in {place}, moment {wanted}): {wrong}", flush=True)
            if number // parts_in_all % 20 == 19:
                left = (time.monotonic() - started) / (number + 1) * (given.kills - number - 1) / 60
                print(f"{number + 1} of {given.kills} kills, {left:.0f} min left", flush=True)
        print(f"{sum(good.values())} of {sum(good.values()) + bad} byte-identical: {good}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
