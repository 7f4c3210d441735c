"""Label shift by simulation: what estimating the eval age mix recovers, and whether the forecast is true.

    python benchmarks/label_shift.py --draws 200 --jobs 2 > label_shift.json

Made-up worlds in the contest's proportions: ages from its list of people per age, predictions 38 + 0.85 (age - 38) and
noise of deviation 4 per person and 3 per photo, gender right for 97 % and mask for 99 % of photos, seven photos a
person. Where it says so the noise is no Gaussian, or other for the old, or the predictions of the older two lie on top
of each other. Eval people: the old are U(0.02, 0.40) of all, the young U(0.3, 0.6) of the rest. Persons of eval photos
are never shown to the code. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from functools import partial
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from prior_trials import run_all, trial

from models.labels import band
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions

PER_AGE = (
    [192, 407, 267, 41, 58, 72, 62, 82, 44, 15, 25, 16, 17, 3, 7, 5, 13, 19, 8, 3, 14, 6]
    + [20, 7, 13, 18, 13, 27, 14, 10, 39, 31, 80, 63, 78, 64, 82, 100, 123, 106, 159, 85, 192]
)  # fmt: skip
AGES = np.repeat(np.arange(18, 61), PER_AGE)
WOMEN = np.array([732 / 1281, 817 / 1227, 109 / 192])
PHOTOS = 7
SCENARIOS = {
    "2700": {},
    "540": {"people": 540},
    "no shift": {"shift": False},
    "flat ages": {"flat": True},
    "five networks": {"networks": 5},
    "540, no shift": {"people": 540, "shift": False},
    "540, flat ages": {"people": 540, "flat": True},
    "540, five networks": {"people": 540, "networks": 5},
    "540, skewed": {"people": 540, "kind": "skewed"},
    "540, by age": {"people": 540, "kind": "by age"},
    "540, heavy tails": {"people": 540, "kind": "heavy tails"},
    "540, saturated": {"people": 540, "kind": "saturated"},
    "540, saturated, flat ages": {"people": 540, "kind": "saturated", "flat": True},
    "162, saturated": {"people": 162, "kind": "saturated"},
}


def noise(rng, age, deviation, kind):
    """Noise of that deviation for people or photos of these ages."""
    if kind == "skewed":  # toward the middle: the young are taken for older, the old for younger
        return deviation * np.where(age < 39, 1, -1) * (rng.gamma(1, 1, len(age)) - 1)
    if kind == "by age":
        return deviation * np.interp(age, (18, 60), (0.6, 1.6)) * rng.normal(0, 1, len(age))
    if kind == "heavy tails":
        return deviation / np.sqrt(3) * rng.standard_t(3, len(age))
    return rng.normal(0, deviation, len(age))


def world(rng, ages, networks=1, own=0.0, kind=""):
    """Photos of people of these ages: (rows as LabelledPredictions, predicted ages (n, networks)).

    own: the share of each prediction's variance, of person and of photo, that belongs to the network; kind: of the
    noise, or "saturated": predictions end at 60, with most of the middle band just below.
    """
    person = np.repeat(np.arange(len(ages)), PHOTOS)
    gender = (rng.random(len(ages)) < WOMEN[band(ages)]).astype(int)[person]
    n, age = len(person), ages[person].astype(float)
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], len(ages))

    def off():
        return noise(rng, ages, 4, kind)[person] + noise(rng, age, 3, kind)

    shared = np.sqrt(1 - own) * off()
    predicted_age = 38 + 0.85 * (age - 38) + shared
    predictions = np.stack([predicted_age + (np.sqrt(own) * off() if own else 0) for _ in range(networks)], axis=1)
    if kind == "saturated":
        predictions = 18 + 42 / (1 + np.exp(-(predictions - 36) / 6))
    said = np.where(rng.random(n) < 0.97, gender, 1 - gender)
    seen = np.where(rng.random(n) < 0.99, mask, (mask + rng.integers(1, 3, n)) % 3)
    bands = band(age)
    label = mask * 6 + gender * 3 + bands
    rows = LabelledPredictions(person, age, predictions[:, 0], label, bands, gender, seen * 2 + said, len(ages), 5, 0)
    return rows, predictions


def draw(seed, people=2700, eval_people=1800, shift=True, flat=False, networks=1, kind=""):
    """One world: validation rows, eval predictions without persons, eval rows (the truth), the eval prior."""
    rng = np.random.default_rng([seed, people, shift, flat, networks])
    own = 0.5 if networks > 1 else 0.0
    rows, _ = world(rng, rng.permutation(AGES)[:people], own=own, kind=kind)
    prior = np.bincount(band(AGES)) / len(AGES)
    if shift:
        old = rng.uniform(0.02, 0.40)
        young = rng.uniform(0.3, 0.6) * (1 - old)
        prior = np.array([young, 1 - old - young, old])
    count = np.diff(np.rint(np.cumsum(prior) * eval_people).astype(int), prepend=0)
    ages = [rng.choice(AGES[band(AGES) == b], k) for b, k in enumerate(count)]
    if flat:
        ages[1] = rng.integers(30, 60, count[1])
    truth, predictions = world(rng, np.concatenate(ages), networks, own, kind)
    eval = EvalPredictions(predictions, np.repeat((truth.cell % 2)[:, None], networks, axis=1), float(PHOTOS))
    return rows, eval, truth, count / eval_people


def one(scenario, seed):
    """All metrics of one draw."""
    rows, eval, truth, _ = draw(seed, **SCENARIOS[scenario])
    return trial(rows, eval, truth, seed)


def main() -> None:
    """Run the scenarios, ten draws of each in turn, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--keep", type=Path, help="file that keeps each draw: what is in it is not run again")
    settings = parser.parse_args()
    worlds = {name: partial(one, name) for name in settings.scenarios}
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}; {settings.jobs} processes of one thread",
        "scenarios": run_all(worlds, settings.draws, settings.jobs, settings.keep),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
