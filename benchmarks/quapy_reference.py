"""The mix of ages as QuaPy's methods estimate it, in the worlds of label_shift.py: an outside reference.

    python -m pip install quapy      # in an environment of its own: it is no dependency
    python benchmarks/quapy_reference.py --draws 30 --keep draws.jsonl

draws.jsonl is what `label_shift.py --keep` wrote about the same draws. QuaPy's methods see the age answer of each
photo (as a logistic regression on its powers) and no persons. Prints one JSON document: the largest share error,
mean over draws, and how much larger it is than ours with a 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

from label_shift import SCENARIOS, draw  # first: it holds numpy to one thread
from mix_trials import interval, kept

import numpy as np  # isort: skip
from quapy.method.aggregative import EMQ, KDEyML  # isort: skip
from sklearn.linear_model import LogisticRegression  # isort: skip
from sklearn.pipeline import make_pipeline  # isort: skip
from sklearn.preprocessing import PolynomialFeatures, StandardScaler  # isort: skip


def classifier():
    return make_pipeline(PolynomialFeatures(3), StandardScaler(), LogisticRegression(C=100.0, max_iter=500))


METHODS = {
    "EMQ (Saerens et al. 2002)": lambda: EMQ(classifier()),
    "EMQ, BCTS (Alexandari et al. 2020)": lambda: EMQ(classifier(), val_split=5, calib="bcts"),
    "KDEy-ML (Moreo et al. 2024)": lambda: KDEyML(classifier(), random_state=0),
}


def main() -> None:
    """Estimate the mix of each draw by every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--scenarios", nargs="*", default=["540"], choices=list(SCENARIOS))
    parser.add_argument("--keep", type=Path, required=True, help="what label_shift.py --keep wrote")
    settings = parser.parse_args()
    ours = kept(settings.keep)
    result = {"quapy": version("quapy"), "draws": settings.draws}
    for name in settings.scenarios:
        errors: dict[str, list[float]] = {"ours": []}
        started = time.perf_counter()
        for seed in range(settings.draws):
            rows, eval, _, mix = draw(seed, **SCENARIOS[name])
            answers, seen = rows.answer[:, None] / 10, eval.answer.mean(1)[:, None] / 10
            errors["ours"].append(np.abs(np.array(ours[name, seed]["share"]["estimate"]) - mix).max())
            for method, build in METHODS.items():
                shares = build().fit(answers, rows.band).predict(seen)
                errors.setdefault(method, []).append(np.abs(shares - mix).max())
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
