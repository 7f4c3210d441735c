"""Mask states that are not the train people's, on real predictions: their shares, and the score to expect.

    python benchmarks/street.py TABLE.csv --draws 60

A table holds a row a photo, as validation.csv has them. In each draw half of its people calibrate; the others are a
street: each photo stays with a probability of its mask state's own, drawn evenly over all shares, and with --by-band of
its person's age band too. A tenth of the badly worn masks is taken for worn ones with --confused. Truth is shut. Prints
one JSON document: errors of shares, plainly counted beside, what was reached, and what was expected, with the mask
states as estimated and as in train.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import joblib
import numpy as np
import pandas as pd
from measures import hardware

from models.labels import band, encode
from pipeline.combiner import threshold_combiner
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.tables import MASK_COLUMNS, TRUTH
from pipeline.scoring.metrics import macro_f1

ESTIMATED = threshold_combiner.masks_of


def main() -> None:
    """Runs the draws and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--by-band", action="store_true")
    parser.add_argument("--confused", action="store_true")
    given = parser.parse_args()
    table = pd.read_csv(given.table)
    found = joblib.Parallel(given.jobs)(
        joblib.delayed(one)(table, seed, given.by_band, given.confused) for seed in range(given.draws)
    )
    told = {"hardware": hardware(), "draws": given.draws, "by band": given.by_band, "confused": given.confused}
    for name in max(found, key=len):  # streets of fewer than 30 people have no mask states estimated
        values = np.array([draw[name] for draw in found if name in draw], float)
        told[name] = [round(float(values.mean()), 4), round(float(values.std(ddof=1) / len(values) ** 0.5), 4)]
    print(json.dumps(told, indent=1))


def one(table: pd.DataFrame, seed: int, by_band: bool, confused: bool) -> dict[str, float]:
    """A draw; each number is told as its mean over draws and that mean's error."""
    rng = np.random.default_rng(seed)
    if confused:
        taken = (table["mask"] == 1) & (rng.random(len(table)) < 0.1)
        table = table.copy()
        table.loc[taken, list(MASK_COLUMNS)] = [0.9, 0.06, 0.04]
    people = rng.permutation(table["person"].unique())
    held = table["person"].isin(people[: len(people) // 2])
    street = table[~held]
    stays = rng.dirichlet(np.ones(3), 3 if by_band else 1)
    stays = np.broadcast_to(stays / stays.max(1, keepdims=True), (3, 3))
    bands = band(street["age"])
    street = street[rng.random(len(street)) < stays[bands, street["mask"]]].reset_index(drop=True)
    truth = encode(street["mask"], street["gender"], band(street["age"]))
    shares = np.bincount(street["mask"], minlength=3) / len(street)
    eval = street.drop(columns=["person", *TRUTH])
    seen = np.bincount(eval[list(MASK_COLUMNS)].to_numpy().argmax(1), minlength=3) / len(street)
    result: dict[str, float] = {}
    for name, masks in (("estimated", ESTIMATED), ("as in train", lambda *given: None)):
        threshold_combiner.masks_of = masks
        fitted = ThresholdCombiner(draws=100, seed=seed).fit(
            table[held], eval, photos_per_person=len(street) / street["person"].nunique()
        )
        reached, expected = macro_f1(truth, fitted.predict(eval)["label"].to_numpy()), fitted.report_["expected"]
        result |= {f"{name}: {what}": value for what, value in told(reached, expected).items()}
        states: dict[str, Any] | None = fitted.report_["mask_states"]
        if states is not None:
            result["error of a mask state's share, the largest"] = np.abs(np.array(states["used"]) - shares).max()
            result["plainly counted"] = np.abs(seen - shares).max()
            result["95 % intervals of shares hold"] = np.mean(
                [low <= share <= high for (low, high), share in zip(states["interval"], shares, strict=True)]
            )
            result["age mixes by state used"] = "bands" in states
    return result


def told(reached: float, expected: dict[str, Any]) -> dict[str, float]:
    """Of one combiner: what was reached, and how near its two expected scores came, where both have intervals."""
    second = expected["second"]
    if second is None or expected["interval"] is None:
        return {"macro-F1": reached}
    return {
        "macro-F1": reached,
        "expected less reached": expected["macro_f1"] - reached,
        "expected, error": abs(expected["macro_f1"] - reached),
        "expected, 90 % interval holds": expected["interval"][0] <= reached <= expected["interval"][1],
        "second opinion less reached": second["macro_f1"] - reached,
        "second opinion, error": abs(second["macro_f1"] - reached),
        "second opinion, 90 % interval holds": second["interval"][0] <= reached <= second["interval"][1],
    }


if __name__ == "__main__":
    main()
