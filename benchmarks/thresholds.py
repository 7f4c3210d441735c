"""How long the score surface takes, and how much memory; against the same grid through scikit-learn.

    python benchmarks/thresholds.py --jobs 2 > thresholds.json

Predicted ages 38 + 0.85 (age - 38) + N(0, 5), true ages drawn from 18 to 60; every pair of thresholds 0.1 year apart
over the range of the predicted ages, bandwidth 2. Times are medians, of one core unless said. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import f1_score

from models.labels import encode
from pipeline.scoring.surface import BinnedAges

PHOTOS = 7


def problem(photos, seed=0):
    """(predicted_age, label, cell) of so many photos, each (n,)."""
    rng = np.random.default_rng(seed)
    age = np.repeat(rng.integers(18, 61, -(-photos // PHOTOS)), PHOTOS)[:photos]
    mask, gender = rng.integers(0, 3, photos), rng.integers(0, 2, photos)
    label = encode(mask, gender, (age >= 30).astype(int) + (age >= 60))
    cell = np.where(rng.random(photos) < 0.95, mask * 2 + gender, rng.integers(0, 6, photos))
    return 38 + 0.85 * (age - 38) + rng.normal(0, 5, photos), label, cell


def timed(work, times):
    """The median seconds of a call."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def resampled(predictions, seeds, people, photos):
    """The best thresholds of some resamples of people."""
    person = np.repeat(np.arange(people), PHOTOS)[:photos]
    found = []
    for seed in seeds:
        drawn = np.random.default_rng(seed).integers(0, people, people)
        weights = np.bincount(drawn, minlength=people)[person].astype(float)
        found.append(predictions.surface(weights).best())
    return found


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=1000)
    settings = parser.parse_args()
    result = {"hardware": f"{os.cpu_count()} x {platform.processor() or platform.machine()}"}
    for photos, times in ((18_900, 9), (1_000_000, 3)):
        predicted_age, label, cell = problem(photos)
        surface = BinnedAges(predicted_age, label, cell, bandwidth=2.0).surface()
        result[f"{photos} photos"] = {
            "pairs": len(surface.grid) * (len(surface.grid) + 1) // 2,
            "seconds, bandwidth 2": timed(
                lambda a=predicted_age, b=label, c=cell: BinnedAges(a, b, c, bandwidth=2.0).surface().best(), times
            ),
            "seconds, bandwidth 0": timed(
                lambda a=predicted_age, b=label, c=cell: BinnedAges(a, b, c).surface().best(), times
            ),
            "peak memory of the process so far, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    predicted_age, label, cell = problem(18_900)
    predictions = BinnedAges(predicted_age, label, cell, bandwidth=2.0)
    shares = np.array_split(np.arange(settings.resamples), settings.jobs * 4)
    start = time.perf_counter()
    Parallel(settings.jobs)(delayed(resampled)(predictions, share, 2700, 18_900) for share in shares)
    result[f"seconds of {settings.resamples} resamples, {settings.jobs} processes"] = time.perf_counter() - start
    grid = predictions.grid
    rng = np.random.default_rng(0)
    pairs = [np.sort(rng.choice(grid, 2)) for _ in range(30)]

    def reference():
        for low, high in pairs:
            fused = cell * 3 + (predicted_age >= low) + (predicted_age >= high)
            f1_score(label, fused, labels=np.unique(label), average="macro", zero_division=0)

    pair = timed(reference, 3) / len(pairs)
    ours = result["18900 photos"]
    result["f1_score"] = {
        "pairs measured": len(pairs),
        "seconds for one": pair,
        "seconds for all pairs, scaled up": pair * ours["pairs"],
        "times as long as the surface": pair * ours["pairs"] / ours["seconds, bandwidth 0"],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
