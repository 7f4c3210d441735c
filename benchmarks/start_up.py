"""How long do ten photos wait for their labels? predict, calibrate and submit as three commands, by two checkouts.

`python benchmarks/start_up.py OLD NEW` trains the specialists of `small` for a moment with each checkout on 60 drawn
people, then times the three commands on ten photos in turns, in a fresh process each, and tells the ratio NEW / OLD of
the sums: its median and range over the turns. `--repeats` turns (default 7), each after one that does not count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("predict", "calibrate", "submit")
RUN = ("--run", "runs/one")
EVAL = ("--eval", "ten")


class Checkout:
    """One of the two, at work in a folder of its own."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root.resolve(), folder
        folder.mkdir(parents=True)

    def stage(self, *words: str) -> float:
        """The seconds that a stage takes. Raises subprocess.CalledProcessError where it fails."""
        env = os.environ | {"PYTHONPATH": str(self.root)}
        started = time.perf_counter()
        command = [sys.executable, "-m", "pipeline", *words]
        subprocess.run(command, cwd=self.folder, env=env, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    def prepare(self) -> None:
        self.stage("data", "--people", "60", "--eval-people", "10")
        for task in ("mask", "gender", "age"):
            self.stage("train", task, *RUN, "--epochs", "0.1")
        (self.folder / "ten").mkdir()
        for photo in sorted((self.folder / "data/drawn/eval/images").glob("[!.]*"))[:10]:
            shutil.copyfile(photo, self.folder / "ten" / photo.name)

    def label(self) -> dict[str, float]:
        """Seconds by stage, with nothing of an earlier turn left."""
        shutil.rmtree(self.folder / "runs/one/eval-ten", ignore_errors=True)
        return {stage: self.stage(stage, *RUN, *EVAL) for stage in STAGES}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("old", type=Path)
    reader.add_argument("new", type=Path)
    reader.add_argument("--repeats", type=int, default=7)
    given = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        both = {name: Checkout(getattr(given, name), Path(folder) / name) for name in ("old", "new")}
        turns: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
        for checkout in both.values():
            checkout.prepare()
        for turn in range(-1, given.repeats):
            for name in ("old", "new") if turn % 2 else ("new", "old"):
                seconds = both[name].label()
                if turn >= 0:
                    turns[name].append(seconds)
    for name, found in turns.items():
        told = {stage: statistics.median(turn[stage] for turn in found) for stage in STAGES}
        whole = statistics.median(sum(turn.values()) for turn in found)
        print(f"{name}: {', '.join(f'{stage} {value:.2f} s' for stage, value in told.items())}; together {whole:.2f} s")
    ratios = [sum(b.values()) / sum(a.values()) for a, b in zip(turns["old"], turns["new"], strict=True)]
    print(f"new / old {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; {len(ratios)} turns)")


if __name__ == "__main__":
    main()
