"""What half of the people are worth as an extra set that carries one label, beside the other half, complete.

    python benchmarks/extra_sets.py --data ../shared/faces --work FOLDER

The train people are split in two, each gender and age band in halves. *half*: lite learns from one of them alone.
*+ gender*, *+ age*, *+ mask*: that specialist learns from the other half too, as an extra set that carries nothing but
its label. Judged on the eval photos, whose truth is opened once, at the end; intervals resample people. What has been
trained in FOLDER stands.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from measures import hardware

from models.labels import GENDERS, MASKS, band
from pipeline.dataset.general import COLUMNS
from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth

TASKS = ("mask", "gender", "age")
RESAMPLES = 2000


def halves(data: Path, work: Path) -> None:
    """Writes the folders half (complete people, and the eval photos) and rest-<label> in the general layout."""
    one = read_data_set(data)
    people = one.train.groupby("person", sort=True)[["gender", "age"]].first()
    cells = people["gender"].astype(int) * 3 + band(people["age"])
    rng = np.random.default_rng(0)
    kept: set[str] = set()
    for cell in sorted(cells.unique()):
        kept |= set(rng.permutation(cells.index[cells == cell])[::2])
    half = one.train[one.train["person"].isin(kept)]
    rest = one.train[~one.train["person"].isin(kept)]
    write_general(work / "half", one.root, half, one.eval)
    for label in TASKS:
        write_general(work / f"rest-{label}", one.root, rest.assign(**{name: pd.NA for name in TASKS if name != label}))


def write_general(folder: Path, root: Path, train: pd.DataFrame, evaluated: pd.DataFrame | None = None) -> None:
    rows = pd.concat([train, evaluated], ignore_index=True)
    kinds = ["train"] * len(train) + ["eval"] * (len(rows) - len(train))
    for photo in rows["photo"]:
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(root / photo, folder / photo)
        except OSError:  # another disk
            shutil.copyfile(root / photo, folder / photo)
    words = rows.assign(
        mask=[pd.NA if pd.isna(one) else MASKS[int(one)] for one in rows["mask"]],
        gender=[pd.NA if pd.isna(one) else GENDERS[int(one)] for one in rows["gender"]],
    )
    words = pd.concat([words[["photo", "person", *TASKS]], pd.Series(kinds, words.index)], axis=1)
    words.columns = COLUMNS
    words.to_csv(folder / "photos.csv", index=False)


def run(work: Path, *words: str) -> None:
    """A stage, in the working folder; its words go to a log."""
    print(" ".join(words), flush=True)
    with (work / "log.txt").open("a") as log:
        subprocess.run([sys.executable, "-m", "pipeline", *words], cwd=work, env=_env(), check=True, stdout=log)


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def trained(work: Path, seed: int) -> dict[str, pd.DataFrame]:
    """The eval predictions with a seed: of half alone, and with each extra set."""
    predictions = {}
    base = work / f"runs/half-{seed}"
    for name, extra in {"half": None, **{task: f"rest-{task}" for task in TASKS}}.items():
        folder = base if extra is None else work / f"runs/{name}-{seed}"
        told = ["--run", str(folder), "--data", "half", "--preset", "lite", *(["--extra", extra] if extra else [])]
        for task in TASKS if extra is None else (name,):
            run(work, "train", task, *told, "--seed", str(seed))
        for task in TASKS:  # what learned nothing from the extra set is the same network
            if not (folder / task).exists():
                shutil.copytree(base / task, folder / task)
        run(work, "predict", "--run", str(folder))
        predictions[name] = pd.read_csv(folder / "predictions.csv", dtype={"photo": str})
    return predictions


def error_of(task: str, predictions: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Of each photo: 1 where the class is wrong, of the age the error in years."""
    if task == "age":
        return np.abs(predictions["age_years"] - truth["age"]).to_numpy()
    if task == "gender":
        return ((predictions["gender_female"] > 0.5).astype(int) != truth["gender"]).to_numpy(float)
    columns = [f"mask_{name}" for name in MASKS]
    return (predictions[columns].to_numpy().argmax(1) != truth["mask"].to_numpy()).astype(float)


def interval(errors: np.ndarray, people: np.ndarray) -> list[float]:
    """90 % of the mean error (photos x seeds), people resampled."""
    _, codes = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(codes, errors.mean(1)), np.bincount(codes)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    return np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [5, 95]).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "half").exists():
        halves(given.data, work)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    made = [trained(work, seed) for seed in seeds]
    truth = read_truth(given.data).set_index("photo")  # opened here, once
    told: dict[str, Any] = {"hardware": hardware(), "seeds": seeds, "eval people": int(truth["person"].nunique())}
    for task in TASKS:
        errors = {}
        for name in ("half", task):
            tables = [one[name].set_index("photo").loc[truth.index] for one in made]
            errors[name] = np.stack([error_of(task, table, truth) for table in tables], 1)
        people = truth["person"].to_numpy()
        told[task] = {
            "half": [errors["half"].mean(), *interval(errors["half"], people)],
            "with the extra set": [errors[task].mean(), *interval(errors[task], people)],
            "difference": [
                (errors[task] - errors["half"]).mean(),
                *interval(errors[task] - errors["half"], people),
            ],
            "by seed": {name: errors[name].mean(0).tolist() for name in errors},
        }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
