"""From photos to a submission: ours, as a user types it, beside the script that people usually write.

    python benchmarks/whole.py --data ../shared/faces --work FOLDER --repeats 1

In turns, each in a new folder and with nothing prepared: `make submit PRESET=lite`, and usual_scripts.py, which trains
the same networks from the same weights for as many steps. Ours also finds faces, judges after each epoch, calibrates,
scores and writes its report. The truth is opened for each submission. Where ours spends its seconds is read off its
lines: those until a stage speaks for the first time are its start. --venv: the environment (default: that of Python).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

from benchmarks.measures import hardware, ratios, summary, versions
from pipeline.comparison.outcomes import person_of
from pipeline.dataset.truth import read_truth
from pipeline.scoring.bootstrap import resample_together
from pipeline.scoring.metrics import macro_f1


def timed(command: list[str], cwd: Path, log: Path) -> tuple[float, list[tuple[float, str]]]:
    """The seconds of a command, and the lines that it told, each with the second at which it came."""
    started, lines = time.perf_counter(), []
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            lines.append((time.perf_counter() - started, line.rstrip()))
            print(f"{lines[-1][0]:7.1f} {lines[-1][1]}", file=file, flush=True)
    seconds = time.perf_counter() - started
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed; {log} holds what it told")
    return seconds, lines


def ours(data: Path, preset: str, place: Path, venv: Path, root: Path = ROOT) -> tuple[float, list[tuple[float, str]]]:
    """make submit in a copy of the checkout, where nothing is prepared."""
    subprocess.run(["git", "clone", "--quiet", str(root), str(place)], check=True)
    make = ["make", "-o", f"{venv}/face18.txt", "submit", f"DATA={data}", f"PRESET={preset}", "RUN=runs/whole"]
    return timed([*make, f"VENV={venv}"], place, place.with_suffix(".log"))


def usual(data: Path, preset: str, place: Path) -> tuple[float, list[tuple[float, str]]]:
    place.mkdir()
    command = [sys.executable, str(ROOT / "benchmarks" / "usual_scripts.py"), "--data", str(data), "--preset", preset]
    return timed([*command, "--out", "submission.csv"], place, place.with_suffix(".log"))


def scores(data: Path, submissions: dict[str, Path]) -> dict[str, Any]:
    """Macro-F1 of each, and of their difference, with intervals by person; the truth is opened once for each."""
    truth = read_truth(data)
    labels = []
    for file in submissions.values():
        table = pd.read_csv(file).set_axis(["photo", "ans"], axis=1)
        table["photo"] = table["photo"].map(lambda name: Path(name).name)
        found = truth["photo"].map(lambda name: Path(name).name).to_frame().merge(table, "left", "photo")
        labels.append(found["ans"].to_numpy(np.int64))
    drawn = resample_together(truth["label"], np.stack(labels), person_of(truth), 7)
    span = lambda some: np.quantile(some, [0.025, 0.975]).round(3).tolist()  # noqa: E731
    told = {
        name: {"macro-F1": macro_f1(truth["label"], one), "95 %": span(drawn[:, i])}
        for i, (name, one) in enumerate(zip(submissions, labels, strict=True))
    }
    return told | {"difference": {"95 %": span(drawn[:, 0] - drawn[:, 1])}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="a new folder for what is made")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix))
    given = parser.parse_args()
    data, work = given.data.resolve(), given.work.resolve()
    work.mkdir(parents=True)
    seconds: dict[str, list[float]] = {"ours": [], "usual": []}
    for turn in range(given.repeats):
        print(f"turn {turn + 1} of {given.repeats}", file=sys.stderr)
        seconds["ours"].append(ours(data, given.preset, work / f"ours{turn}", given.venv)[0])
        seconds["usual"].append(usual(data, given.preset, work / f"usual{turn}")[0])
        print({name: round(turns[-1], 1) for name, turns in seconds.items()}, file=sys.stderr)
    written = {"ours": work / "ours0/runs/whole/submission.csv", "usual": work / "usual0/submission.csv"}
    found = {
        "seconds": {name: summary(turns) for name, turns in seconds.items()},
        "ours / usual": summary(ratios(seconds["ours"], seconds["usual"])),
        "scores": scores(data, written),
    }
    print(json.dumps({"hardware": hardware(), "versions": versions()} | found, indent=1))


if __name__ == "__main__":
    main()
