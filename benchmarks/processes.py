"""What training by several processes changes in the score: specialists by one process and by two, seed by seed.

    python benchmarks/processes.py --data ../shared/faces --work FOLDER --seeds 3

Trains the specialists of a preset (lite) once for each seed and number of processes, labels and scores the eval photos,
and prints a table: the score, and each specialist's macro-F1 of the people held out and its seconds. What has been
trained in FOLDER stands. Words after -- go to every training: `-- --epochs 0.5`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("mask", "gender", "age")
COLUMNS = ("score", *TASKS, *(f"{task}, s" for task in TASKS))


def main() -> None:
    """Trains and scores what is missing, and prints the table, rows of means and of differences last."""
    words = sys.argv[1:]
    words, more = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--processes", type=int, nargs=2, default=(1, 2), help="the two numbers to compare")
    given = parser.parse_args(words)
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    made = {
        count: [scored(work, given.data.resolve(), given.preset, seed, count, more) for seed in range(given.seeds)]
        for count in given.processes
    }
    print("\n".join(table(made)))


def scored(work: Path, data: Path, preset: str, seed: int, count: int, more: list[str]) -> list[float]:
    """The values of COLUMNS of a run by so many processes."""
    run = f"runs/seed{seed}-by{count}"
    of_run = ["--run", run, "--data", str(data), "--preset", preset]
    for task in TASKS:
        stage(work, "train", task, *of_run, "--seed", str(seed), "--processes", str(count), *more)
    for name in ("predict", "calibrate", "submit", "score"):
        stage(work, name, "--run", run)
    metrics = [json.loads((work / run / task / "fold0/done/train.json").read_text())["metrics"] for task in TASKS]
    score = json.loads((work / run / "score.json").read_text())["macro_f1"]
    return [score, *(one["macro_f1"] for one in metrics), *(one["seconds"] for one in metrics)]


def table(made: dict[int, list[list[float]]]) -> list[str]:
    """The lines of a table in Markdown; made: the values of COLUMNS by number of processes and seed."""
    one, other = made
    lines = ["| processes | seed | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for count, rows in made.items():
        lines += [row(str(count), str(seed), values) for seed, values in enumerate(rows)]
        lines.append(row(str(count), "mean", [statistics.fmean(values) for values in zip(*rows, strict=True)]))
    apart = [
        [b - a for a, b in zip(first, second, strict=True)]
        for first, second in zip(made[one], made[other], strict=True)
    ]
    by_column = list(zip(*apart, strict=True))
    lines.append(row(f"{other} - {one}", "mean", [statistics.fmean(values) for values in by_column]))
    if len(apart) > 1:
        lines.append(row(f"{other} - {one}", "deviation", [statistics.stdev(values) for values in by_column]))
    return lines


def row(count: str, seed: str, values: list[float]) -> str:
    """A line of the table: scores in thousandths, whole seconds."""
    told = [
        f"{value:.0f}" if name.endswith(", s") else f"{value:.3f}" for name, value in zip(COLUMNS, values, strict=True)
    ]
    return f"| {count} | {seed} | {' | '.join(told)} |"


def stage(work: Path, *words: str) -> None:
    """A stage in the working folder; its words go to a log."""
    with (work / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", "pipeline", *words],
            cwd=work, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, stdout=log,
        )  # fmt: skip


if __name__ == "__main__":
    main()
