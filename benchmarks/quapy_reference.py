"""The age mix as QuaPy's methods estimate it, in the worlds and on the tables of the scripts beside: from outside.

    python -m pip install quapy      # in an environment of its own: it is no dependency
    python benchmarks/quapy_reference.py --keep draws.jsonl --draws 30 --tables portraits-lite0.csv

draws.jsonl is what `label_shift.py --keep` or `resampled_priors.py --keep` wrote about the same draws; the tables are
those of the latter. QuaPy's methods see the predicted age of each photo (as a logistic regression on its powers) and no
persons. Prints one JSON document: the largest share error, mean over draws, and how much larger it is than ours with a
95 % interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from label_shift import SCENARIOS, draw
from prior_trials import interval, kept
from quapy.method.aggregative import EMQ, KDEyML
from resampled_priors import FEW, HALF, draw_of
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from pipeline.prediction.labelled import labelled_predictions


def classifier():
    return make_pipeline(PolynomialFeatures(3), StandardScaler(), LogisticRegression(C=100.0, max_iter=500))


METHODS = {
    "EMQ (Saerens et al. 2002)": lambda: EMQ(classifier()),
    "EMQ, BCTS (Alexandari et al. 2020)": lambda: EMQ(classifier(), val_split=5, calib="bcts"),
    "KDEy-ML (Moreo et al. 2024)": lambda: KDEyML(classifier(), random_state=0),
}


def worlds(tables: list[Path]) -> dict[str, Callable[[int], tuple]]:
    """How to draw (rows, eval, truth, prior) by a number, for each name that a kept draw may have."""

    def of_scenario(name: str) -> Callable[[int], tuple]:
        return lambda seed: draw(seed, **SCENARIOS[name])

    def of_table(path: Path, one_in: int) -> Callable[[int], tuple]:
        rows = labelled_predictions(pd.read_csv(path))
        return lambda seed: draw_of(rows, one_in, seed)

    found = {name: of_scenario(name) for name in SCENARIOS}
    for path in tables:
        found |= {path.stem: of_table(path, HALF), f"{path.stem}, few": of_table(path, FEW)}
    return found


def main() -> None:
    """Estimate the prior of each draw by every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--tables", type=Path, nargs="*", default=[])
    parser.add_argument("--keep", type=Path, required=True, help="the draws of the scripts beside")
    settings = parser.parse_args()
    ours, drawers = kept(settings.keep), worlds(settings.tables)
    result = {"quapy": version("quapy"), "draws": settings.draws}
    for name in dict.fromkeys(name for name, _ in ours):
        if name not in drawers:
            parser.error(f"{settings.keep} holds draws of {name}, which is no scenario: name its table with --tables")
        errors: dict[str, list[float]] = {"ours": []}
        started = time.perf_counter()
        for seed in range(settings.draws):
            rows, eval, _, prior = drawers[name](seed)
            predictions, seen = rows.predicted_age[:, None] / 10, eval.predicted_age.mean(1)[:, None] / 10
            errors["ours"].append(np.abs(np.array(ours[name, seed]["share"]["estimate"]) - prior).max())
            for method, build in METHODS.items():
                shares = build().fit(predictions, rows.band).predict(seen)
                errors.setdefault(method, []).append(np.abs(shares - prior).max())
        result[name] = {
            method: {
                "mean": round(float(np.mean(values)), 4),
                "more than ours": interval(np.subtract(values, errors["ours"])),
            }
            for method, values in errors.items()
        } | {"seconds a draw": round((time.perf_counter() - started) / settings.draws, 1)}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
