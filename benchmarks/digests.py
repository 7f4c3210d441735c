"""Do two checkouts give the same values? A change that only moves and renames must.

`python benchmarks/digests.py OLD NEW` runs both side by side, small (100 drawn people, one epoch, one thread each), and
compares digests of values: tensors of weights, cells of tables without their header, numbers of JSON files. Exit status
1 where any differ. A checkout that ran before may be given as the file of its digests, DIR/old.json of --keep DIR.
Words (messages, notes) are not compared; keys that were renamed on purpose stand in RENAMED.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

RENAMED: dict[str, str] = {}
"""Keys of JSON files, from today's word to the word before."""
GONE: tuple[str, ...] = ("fingerprint",)
"""Keys that are not compared, with all beneath them."""
SECONDS = ("seconds",)
"""Columns that differ from run to run."""
SPECIALISTS = ("mask", "gender", "age")
PRIORS = ("train", "0.42,0.28,0.30", "estimate", "auto")
ENGINES = ("compiled", "openvino", "openvino-bfloat16", "torch")
"""A machine without one of them falls back, both checkouts alike. The last one stays."""


class Checkout:
    """One of the two at work in a folder of its own; `digests` are by step and file."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root.resolve(), folder
        self.digests: dict[str, str] = {}
        folder.mkdir(parents=True)

    def stage(self, name: str, *words: str) -> None:
        """Run a stage on one thread. Raises RuntimeError with what it told where it fails."""
        threads = ["--threads", "1"] if name in ("train", "predict") else []
        command = [sys.executable, "-m", "pipeline", name, *words, *threads]
        env = os.environ | {"PYTHONPATH": str(self.root), "CUDA_VISIBLE_DEVICES": ""}
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"\n$ {' '.join(command[3:])}\n")
            log.flush()
            done = subprocess.run(command, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        if done.returncode:
            raise RuntimeError(f"{self.root}: {' '.join(command[3:])} failed; see {self.folder / 'log.txt'}")

    def note(self, step: str, folder: str) -> None:
        """Take the digests of what stands in a folder, under the name of a step."""
        for path in sorted((self.folder / folder).rglob("*")):
            values = list(values_of(path))
            if values:
                name = f"{step}: {path.relative_to(self.folder / folder)}"
                self.digests[name] = hashlib.sha256("\n".join(values).encode()).hexdigest()[:12]

    def run(self) -> dict[str, str]:
        self.stage("data", "--people", "100", "--eval-people", "40")
        self.note("data", "data/drawn")
        some = self.folder / "some"
        some.mkdir()
        for photo in sorted((self.folder / "data/drawn/eval/images").glob("*.jpg"))[:40]:
            shutil.copyfile(photo, some / photo.name)
        self.system("specialists", SPECIALISTS, "runs/a")
        self.engines("runs/a")
        self.system("joint", ("joint",), "runs/a")
        self.all_folds("joint", "runs/a")
        self.system("multihead", ("multihead",), "runs/a")
        self.all_folds("multihead", "runs/a")
        self.system("multihead", ("multihead",), "runs/bands", "--age-head", "bands")
        return self.digests

    def system(self, system: str, tasks: Sequence[str], run: str, *settings: str) -> None:
        """Train a system on one fold and then on two; answer with each, for every prior, flipped, and of a folder."""
        of_run = ("--run", run, "--system", system)
        for fold in ("0", "1"):
            for task in tasks:
                self.stage("train", task, "--run", run, "--folds", fold, "--epochs", "1", *settings)
            self.stage("predict", *of_run, "--engine", "torch")
            for prior in PRIORS:
                self.finish(f"{system} {settings} fold {fold} prior {prior}", run, *of_run[2:], prior=prior)
        self.stage("predict", *of_run, "--flip", "yes")
        self.finish(f"{system} {settings} flip", run, *of_run[2:])
        self.stage("predict", *of_run, "--flip", "no", "--eval", "some")
        self.finish(f"{system} {settings} folder", run, *of_run[2:], "--eval", "some")

    def all_folds(self, system: str, run: str) -> None:
        """The folds that are left, so that there are people enough to try the estimate of the age mix on."""
        self.stage("train", system, "--run", run, "--folds", "2,3,4", "--epochs", "1")
        self.stage("predict", "--run", run, "--system", system, "--engine", "torch", "--flip", "no")
        for prior in ("estimate", "auto"):
            self.finish(f"{system} all folds prior {prior}", run, "--system", system, prior=prior)

    def engines(self, run: str) -> None:
        for engine in ENGINES:
            self.stage("predict", "--run", run, "--engine", engine, "--flip", "no")
            with (self.folder / run / "predictions.csv").open(newline="") as file:
                used = next(csv.DictReader(file))["engine"]
            print(f"{self.root.name}: {engine} was asked for, {used} predicted", flush=True)
            self.finish(f"engine {engine}", run)

    def finish(self, step: str, run: str, *words: str, prior: str = "auto") -> None:
        """From predictions to a score, and the digests of all that the run holds by then."""
        self.stage("calibrate", "--run", run, *words, "--prior", prior)
        self.stage("submit", "--run", run, *words)
        if "--eval" not in words:
            self.stage("score", "--run", run, *words)
        self.note(step, run)


def values_of(path: Path) -> Iterator[str]:
    """The values in a file that are compared, as text; none of files that hold none."""
    if path.suffix == ".safetensors":
        for name, tensor in sorted(load_file(path).items()):
            yield f"{name} {tensor.shape} {tensor.dtype} {hashlib.sha256(tensor.tobytes()).hexdigest()}"
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        kept = [i for i, column in enumerate(rows[0] if rows else []) if column not in SECONDS]
        yield f"{len(rows)} rows of {len(kept)} columns"
        yield from (",".join(row[i] for i in kept) for row in rows[1:])
    elif path.name in ("combiner.json", "score.json"):
        yield from sorted(numbers(json.loads(path.read_text()), ()))
    elif path.suffix in (".jpg", ".jpeg", ".png"):
        yield hashlib.sha256(path.read_bytes()).hexdigest()


def numbers(value: Any, way: tuple[str, ...]) -> Iterator[str]:
    """The numbers, truth values and blanks in JSON, each with the way to it in the words before."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in GONE:
                yield from numbers(inner, (*way, RENAMED.get(key, key)))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, (*way, str(place)))
    elif not isinstance(value, str):
        yield f"{'/'.join(way)} {value!r}"


def told(old: dict[str, str], new: dict[str, str]) -> Iterable[str]:
    """A line for each file that either checkout left."""
    for name in sorted(old | new):
        pair = old.get(name, "missing"), new.get(name, "missing")
        yield f"{'same  ' if pair[0] == pair[1] else 'DIFFER'} {pair[0]:<12} {pair[1]:<12} {name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="leave the runs and their digests in this folder, which must not exist"
    )
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        folder = (given.keep or Path(scratch)).resolve()
        old, new = pool.map(digests, (given.old, given.new), (folder / "old", folder / "new"))
    print("\n".join(told(old, new)))
    differing = sum(old.get(name) != new.get(name) for name in old | new)
    print(f"{len(old | new)} files, {differing} differ; {(time.monotonic() - started) / 60:.0f} minutes")
    return 1 if differing else 0


def digests(checkout: Path, folder: Path) -> dict[str, str]:
    """Those of a checkout, which runs in the folder; or those that a file holds."""
    if checkout.is_file():
        return json.loads(checkout.read_text())
    found = Checkout(checkout, folder).run()
    folder.with_suffix(".json").write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    sys.exit(main())
