"""Counts against the truth, on real predictions of people in other mixes of age, gender and mask.

    python benchmarks/count_coverage.py TABLE.csv --draws 100

A table holds a row a photo, as validation.csv has them. In each draw half of its people are held out to learn what is
confused with what; the others are counted, in random shares of age bands and of mask states (photos left out), named or
not, their truth shut. With --confused, a tenth of the badly worn masks is taken for worn ones and the masks' shares are
anything. Prints one JSON document: coverage of 90 % intervals, mean error of shares, and that of plain counting.
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

from models.labels import band, encode, fused
from pipeline.combiner.counts import KINDS, Counting, HeldOutLabels
from pipeline.combiner.pooling import Pooling, shapes_of, states_of
from pipeline.prediction.labelled import labelled_predictions
from pipeline.prediction.tables import cell
from pipeline.scoring.surface import BinnedAges
from pipeline.scoring.thresholds import crossings


def main() -> None:
    """Runs the draws and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--named", action="store_true", help="persons of the counted photos are known")
    parser.add_argument("--confused", action="store_true")
    given = parser.parse_args()
    table = pd.read_csv(given.table)
    found = joblib.Parallel(given.jobs)(
        joblib.delayed(one)(table, seed, given.named, given.confused) for seed in range(given.draws)
    )
    told: dict[str, Any] = {
        "hardware": hardware(),
        "draws": given.draws,
        "named": given.named,
        "confused": given.confused,
    }
    for kind in KINDS:
        told[kind] = {name: float(np.mean([draw[kind][name] for draw in found])) for name in found[0][kind]}
    print(json.dumps(told))


def one(table: pd.DataFrame, seed: int, named: bool, confused: bool) -> dict[str, dict[str, float]]:
    """A draw: by kind, coverage, mean absolute error of a share, and that of plain counting."""
    rng = np.random.default_rng(seed)
    if confused:
        taken = (table["mask"] == 1) & (rng.random(len(table)) < 0.1)
        table = table.copy()
        table.loc[taken, ["mask_worn", "mask_wrong", "mask_none"]] = [0.9, 0.06, 0.04]
    people = rng.permutation(table["person"].unique())
    held = set(people[: len(people) // 2])
    ours = table[table["person"].isin(held)].reset_index(drop=True)
    rest = table[~table["person"].isin(held)]
    counted = in_other_shares(rest, rng, confused)
    person = pd.factorize(counted["person"])[0]
    if named:
        pooling, state = Pooling.fit(ours), states_of(counted)
        ours = pooling.alike(ours, shapes_of(person, state), seed).reset_index(drop=True)
        counted = pooling.pooled(counted.drop(columns="fold"), person, state)
    true = encode(counted["mask"], counted["gender"], band(counted["age"]))
    labels, thresholds = held_out(ours)
    predicted = fused(cell(counted), counted["age_years"].to_numpy(), thresholds)
    shares = Counting(labels, seed).shares(
        predicted, len(set(person)) if named else None, len(ours) / ours["person"].nunique()
    )
    result = {}
    for kind, values in KINDS.items():
        size = values.max() + 1
        truth, plain = (np.bincount(values[some], minlength=size) / len(some) for some in (true, predicted))
        share, low, high = shares.of(kind)
        result[kind] = {
            "covered": float(((low - 1e-9 <= truth) & (truth <= high + 1e-9)).mean()),
            "error": float(np.abs(share - truth).mean()),
            "plain_error": float(np.abs(plain - truth).mean()),
            "width": float((high - low).mean()),
        }
    return result


def held_out(rows: pd.DataFrame) -> tuple[HeldOutLabels, tuple[float, float]]:
    """The labels of held-out photos by the thresholds that they choose and by other people's; and the former."""
    known = labelled_predictions(rows)
    fold = np.random.default_rng(0).integers(0, 5, known.person.max() + 1)[known.person]

    def chosen(some: pd.DataFrame) -> tuple[float, float]:
        one = labelled_predictions(some)
        surface = BinnedAges(one.predicted_age, one.label, one.cell).surface()
        return surface.best(crossings(one.age, one.predicted_age))

    thresholds = chosen(rows)
    predicted = np.stack([fused(known.cell, known.predicted_age, thresholds)] * 2)
    for number in range(5):
        there = fold == number
        best = chosen(rows[~there].reset_index(drop=True))
        predicted[1, there] = fused(known.cell[there], known.predicted_age[there], best)
    return HeldOutLabels(known.label, predicted, known.person), thresholds


def in_other_shares(rows: pd.DataFrame, rng: np.random.Generator, anything: bool) -> pd.DataFrame:
    """People drawn in random shares of age bands, some of whose photos are left out by mask state."""
    age = rows.groupby("person")["age"].first()
    bands = band(age)
    wanted = rng.dirichlet(np.full(3, 2.0))
    size = int(min((bands == k).sum() / max(wanted[k], 0.02) for k in range(3)))
    size = max(size, 30)
    some = [age.index[bands == k][rng.permutation((bands == k).sum())[: round(size * wanted[k])]] for k in range(3)]
    kept = rows[rows["person"].isin(np.concatenate(some))]
    stays = rng.dirichlet(np.ones(3)) if anything else rng.uniform(0.3, 1, 3)
    stays = stays / stays.max()
    return kept[rng.random(len(kept)) < stays[kept["mask"]]].reset_index(drop=True)


if __name__ == "__main__":
    main()
