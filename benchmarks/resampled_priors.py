"""Other age mixes on real predictions: people drawn from out-of-fold tables, their age mix estimated and their score.

    python benchmarks/resampled_priors.py TABLE.csv ... --draws 200 --jobs 2
    python benchmarks/resampled_priors.py --run runs/faces-small --draws 200 --jobs 2

A table holds a row a photo: photo, person, fold, the true mask, gender and age, and the predictions of networks that
did not see the person (as validation.csv has them, or --run collects them). In each draw half of its people calibrate,
and of the other half as many as can be had in a random age mix are the eval people: the old are U(0.02, 0.5) of all,
the young U(0.3, 0.6) of the rest, persons whole, their truth shut. With --few a fifth calibrates, and the eval people
come from the rest. With --rival the same predictions stand as label probabilities (the bands' by a logistic fit on
those who calibrate) and go through the rivals' combiner; likeliest labels stand where thresholds 30/60 do. Prints one
JSON document.
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
import pandas as pd
from prior_trials import band_probabilities, binned_em, run_all, trial

from models.labels import by_gender_first
from pipeline.combiner.label_combiner import LabelCombiner
from pipeline.combiner.self_test import in_prior, of_people
from pipeline.dataset.folds import deal
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.label_tables import LABEL_COLUMNS
from pipeline.prediction.labelled import LabelledPredictions, labelled_predictions
from pipeline.scoring.metrics import macro_f1

HALF, FEW = 2, 5
"""One of so many people calibrates."""


def split(rows: LabelledPredictions, seed: int, one_in: int) -> tuple[LabelledPredictions, LabelledPredictions]:
    """The people who calibrate, one in `one_in` stratified on gender x band, and eval people of the others."""
    rng, first = np.random.default_rng(seed), rows.first
    calibrating = deal(by_gender_first(rows.kind), rng.random(rows.people), one_in, int(rng.integers(one_in))) == 0
    old = rng.uniform(0.02, 0.5)
    young = rng.uniform(0.3, 0.6) * (1 - old)
    prior = np.array([young, 1 - old - young, old])
    chosen = in_prior(rows.band[first], np.flatnonzero(~calibrating), prior, rng)
    return of_people(rows, np.flatnonzero(calibrating)), of_people(rows, chosen)


def draw_of(
    rows: LabelledPredictions, one_in: int, seed: int
) -> tuple[LabelledPredictions, EvalPredictions, LabelledPredictions, np.ndarray]:
    """One draw: the people who calibrate, eval predictions without persons, the truth, the eval prior."""
    calibrating, truth = split(rows, seed, one_in)
    photos_per_person = len(calibrating.person) / calibrating.people
    eval = EvalPredictions(truth.predicted_age[:, None], truth.cell[:, None] % 2, photos_per_person)
    return calibrating, eval, truth, truth.counts / truth.people


def one(rows: LabelledPredictions, one_in: int, seed: int) -> dict:
    """All metrics of one draw."""
    calibrating, eval, truth, _ = draw_of(rows, one_in, seed)
    return trial(calibrating, eval, truth, seed)


def one_of_rival(rows: LabelledPredictions, one_in: int, seed: int) -> dict:
    """All metrics of one draw, of the rivals' combiner."""
    calibrating, _, truth, prior = draw_of(rows, one_in, seed)
    probabilities = band_probabilities(calibrating)
    tables = [as_labels(some, probabilities(some.predicted_age)) for some in (calibrating, truth)]
    tables[1] = tables[1].drop(columns=["person", "mask", "gender", "age"])

    def fitted(prior: str | np.ndarray) -> LabelCombiner:
        return LabelCombiner(prior if isinstance(prior, str) else tuple(prior), seed).fit(
            *tables, photos_per_person=7.0
        )

    train = calibrating.counts / calibrating.people
    auto, given = fitted("auto"), {"train age mix": train, "true age mix": prior}
    told = auto.report_["age_mix"]
    given |= {
        "estimate": np.array(told["estimate"]),
        "binned EM": binned_em(calibrating, draw_of(rows, one_in, seed)[1]),
    }
    scores = {name: macro_f1(truth.label, fitted(prior).predict(tables[1])["label"]) for name, prior in given.items()}
    plain = tables[1][list(LABEL_COLUMNS)].to_numpy().argmax(1)
    low, high = np.array(told["interval"]).T
    expected = [auto.report_["expected"]["macro_f1"], *(auto.report_["expected"]["interval"] or (None, None))]
    return {
        "age_mix": prior,
        "train": train,
        "people": truth.people,
        "score": {"30/60": macro_f1(truth.label, plain)}
        | scores
        | {"auto": macro_f1(truth.label, auto.predict(tables[1])["label"])},
        "share": {"estimate": given["estimate"], "binned EM": given["binned EM"]},
        "covers age mix": (low <= prior) & (prior <= high),
        "unlike": told["unlike"],
        "toward": {"train": 0.0}.get(told["kind"], 1.0 if np.allclose(told["used"], told["estimate"]) else 0.5),
        "expected": {"auto": expected, "estimate": [None] * 3},
        "seconds": 0.0,
    }


def as_labels(rows: LabelledPredictions, bands: np.ndarray) -> pd.DataFrame:
    """A table of label probabilities: the predicted mask and gender for sure, but for a tenth, and bands (n, 3)."""
    cells = np.full((len(bands), 6), 0.02)
    cells[np.arange(len(bands)), rows.cell] = 0.9
    labels = (cells[:, :, None] * bands[:, None, :]).reshape(len(bands), -1)
    truth = {"mask": rows.label // 6, "gender": rows.gender, "age": rows.age}
    table = pd.DataFrame({"photo": np.arange(len(bands)), "person": rows.person, "fold": 0} | truth)
    return pd.concat([table, pd.DataFrame(labels, columns=list(LABEL_COLUMNS))], axis=1)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("tables", type=Path, nargs="*")
    reader.add_argument("--run", type=Path, nargs="*", default=[])
    reader.add_argument("--few", action="store_true", help="a fifth of the people calibrates instead of half")
    reader.add_argument("--rival", action="store_true", help="by the rivals' combiner, from label probabilities")
    reader.add_argument("--draws", type=int, default=200)
    reader.add_argument("--jobs", type=int, default=1)
    reader.add_argument("--keep", type=Path, help="file that keeps each draw: what is in it is not run again")
    given = reader.parse_args()
    tables = {table.stem: pd.read_csv(table) for table in given.tables}
    if given.run:
        from pipeline.prediction.run_predictions import gather, networks_of
        from pipeline.run.folder import open_run
        from pipeline.run.settings import RunStage

        opened = {run.name: open_run(RunStage.of(run=run), make=False) for run in given.run}
        tables |= {name: gather(networks_of(run, "specialists")) for name, run in opened.items()}
    if not tables:
        reader.error("name a table, or a run with --run")
    one_in = FEW if given.few else HALF
    made = one_of_rival if given.rival else one
    also = ", few" * given.few + ", rival" * given.rival
    worlds = {name + also: partial(made, labelled_predictions(table), one_in) for name, table in tables.items()}
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}; {given.jobs} processes of one thread",
        "tables": run_all(worlds, given.draws, given.jobs, given.keep),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
