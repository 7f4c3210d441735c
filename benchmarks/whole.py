"""From photos to a submission: ours, as a user types it, beside the script that people usually write.

    python benchmarks/whole.py --data ../shared/faces --work FOLDER --repeats 1

In turns, each in a new folder and with nothing prepared: `make submit PRESET=lite`, and usual_scripts.py, which trains
the same networks from the same weights for as many steps. Ours also finds faces, judges after each epoch, calibrates,
scores and writes its report. What is committed of this checkout is timed. The truth is opened for each submission of
the first turn. Where ours spends its seconds is read off its lines; --read tells it of a log that was kept.
"""

from __future__ import annotations

import argparse
import json
import re
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


def by_stage(lines: list[tuple[float, str]], seconds: float) -> dict[str, float]:
    """The seconds from the end of what was told before a stage's first line to that of the next one's.

    A training tells its first line once it has read its photos; faces are found before prepare says how many.
    """
    found = {"start and data": 0.0}
    begins = [
        ("finding faces", "prepare: the run"),
        ("preparing photos", "prepare: faces found"),
        ("starting trainings", "prepare: labels that no"),
        ("training", "mask fold 0: tf|gender fold 0: tf|age fold 0: tf"),
        ("predicting", "predict:"),
        ("calibrating, labelling, scoring", "calibrate:"),
        ("report", "before the truth was opened"),
    ]
    last, name = 0.0, "start and data"
    for stage, words in begins:
        at = next((second for second, line in lines if re.match(words, line)), None)
        if at is not None:
            found[name], last, name = at - last, at, stage
    found[name] = seconds - last
    return {stage: round(took, 1) for stage, took in found.items()}


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
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, help="a new folder for what is made")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix), help="the environment of ours")
    parser.add_argument("--read", type=Path, metavar="LOG", help="tell the seconds of a log by stage, and time nothing")
    given = parser.parse_args()
    if given.read:
        lines = [(float(line[:7]), line[8:]) for line in given.read.read_text().splitlines()]
        print(json.dumps(by_stage(lines, lines[-1][0]), indent=1))
        return
    if not (given.data and given.work):
        parser.error("--data and --work are needed")
    data, work = given.data.resolve(), given.work.resolve()
    work.mkdir(parents=True)
    seconds: dict[str, list[float]] = {"ours": [], "usual": []}
    stages: list[dict[str, float]] = []
    for turn in range(given.repeats):
        print(f"turn {turn + 1} of {given.repeats}", file=sys.stderr)
        took, lines = ours(data, given.preset, work / f"ours{turn}", given.venv)
        seconds["ours"].append(took)
        stages.append(by_stage(lines, took))
        seconds["usual"].append(usual(data, given.preset, work / f"usual{turn}")[0])
        print({name: round(turns[-1], 1) for name, turns in seconds.items()}, file=sys.stderr)
    written = {"ours": work / "ours0/runs/whole/submission.csv", "usual": work / "usual0/submission.csv"}
    found = {
        "seconds": {name: summary(turns) for name, turns in seconds.items()},
        "ours by stage": stages,
        "ours / usual": summary(ratios(seconds["ours"], seconds["usual"])),
        "scores": scores(data, written),
    }
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(json.dumps({"commit": commit, "hardware": hardware(), "versions": versions()} | found, indent=1))


if __name__ == "__main__":
    main()
