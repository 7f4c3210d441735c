"""What it is worth to know whose eval photos are: lite, people pooled against photo by photo.

    python benchmarks/named_persons.py --data ../shared/faces --work FOLDER --seeds 3

Copies a data set into the general layout, eval photos with their persons (of its key) and without any label, trains
lite's specialists once a seed, and labels the eval photos twice: with gender and age of people, and each photo alone.
The truth is opened once, at the end; intervals resample people. What has been trained in FOLDER stands.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from extra_sets import write_general
from measures import hardware

from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth
from pipeline.scoring.bootstrap import person_weights
from pipeline.scoring.metrics import macro_f1

WAYS = {"people": "auto", "photos": "off"}
RESAMPLES = 2000


def main() -> None:
    """Trains what is missing, labels in both ways, and prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    work = given.work.resolve()
    source = read_data_set(given.data)
    truth = read_truth(given.data)
    named = work / "named"
    if not (named / "photos.csv").is_file():
        persons = truth.set_index("photo")["person"]
        write_general(named, source.root, source.train, source.eval.assign(person=source.eval["photo"].map(persons)))
    made = [_labelled(work, seed) for seed in range(given.seeds)]
    judged = [_judged(truth, one) for one in made]
    print(
        json.dumps(
            {"hardware": hardware(), "people": int(truth["person"].nunique()), "photos": len(truth), "seeds": judged}
        )
    )


def _labelled(work: Path, seed: int) -> dict[str, Any]:
    """Labels and the score to expect of a seed, by way."""
    run = f"runs/seed{seed}"
    for task in ("mask", "gender", "age"):
        _stage(work, "train", task, "--run", run, "--data", "named", "--preset", "lite", "--seed", str(seed))
    _stage(work, "predict", "--run", run)
    found = {}
    for way, people in WAYS.items():
        _stage(work, "calibrate", "--run", run, "--people", people)
        _stage(work, "submit", "--run", run)
        kept = work / f"{run}-{way}"
        kept.mkdir(exist_ok=True)
        for name in ("combiner.json", "labels.csv", "submission.csv"):
            shutil.copy(work / run / name, kept)
        expected = json.loads((kept / "combiner.json").read_text())["report"]["expected"]
        found[way] = {"expected": expected, "labels": pd.read_csv(kept / "submission.csv").set_index("photo")["ans"]}
    return found


def _judged(truth: pd.DataFrame, made: dict[str, Any]) -> dict[str, Any]:
    """Macro-F1 of each way and of the difference, with 95 % intervals by person, beside what was expected."""
    label = truth["label"].to_numpy()
    person = pd.factorize(truth["person"])[0]
    kind = truth.groupby(person)["label"].first().to_numpy() % 6
    weights = person_weights(kind, RESAMPLES, np.random.default_rng(0))[:, person]
    labels = {way: one["labels"].reindex(truth["photo"]).to_numpy() for way, one in made.items()}
    drawn = {way: np.array([macro_f1(label, one, w) for w in weights]) for way, one in labels.items()}
    told: dict[str, Any] = {}
    for way, one in labels.items():
        expected = made[way]["expected"]
        told[way] = {"macro_f1": macro_f1(label, one), "interval": np.quantile(drawn[way], [0.025, 0.975]).tolist()}
        told[way] |= {"expected": expected["macro_f1"], "expected_interval": expected["interval"]}
    gain = drawn["people"] - drawn["photos"]
    told["gain"] = told["people"]["macro_f1"] - told["photos"]["macro_f1"]
    told["gain_interval"] = np.quantile(gain, [0.025, 0.975]).tolist()
    return told


def _stage(work: Path, *words: str) -> None:
    """A stage in the working folder; its words go to a log."""
    with (work / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", "pipeline", *words],
            cwd=work, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=True, stdout=log,
        )  # fmt: skip


if __name__ == "__main__":
    main()
