"""Other mixes on real predictions: sets of people drawn from out-of-fold tables, their mix estimated and their score.

    python benchmarks/resampled_mixes.py TABLE.csv ... --draws 200 --jobs 2
    python benchmarks/resampled_mixes.py --run runs/faces-small --draws 200 --jobs 2

A table holds a row a photo: photo, person, fold, the true mask, gender and age, and the predictions of networks that
did not see the person (as validation.csv has them, or --run collects them). In each draw half of its people calibrate,
and of the other half as many as can be had in a random mix are the eval people: the old are U(0.02, 0.5) of all, the
young U(0.3, 0.6) of the rest, persons whole, their truth shut. With --few a fifth calibrates, and the eval people come
from the rest. Prints one JSON document.
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
from mix_trials import run_all, trial

from pipeline.answers import Known, known
from pipeline.calibration import Eval
from pipeline.self_test import in_mix, of_people

HALF, FEW = 2, 5
"""One of so many people calibrates."""


def split(rows: Known, seed: int, part: int) -> tuple[Known, Known]:
    """The people who calibrate, one in `part` stratified on gender x band, and eval people of the others."""
    rng, first = np.random.default_rng(seed), rows.first
    order = np.lexsort((rng.random(rows.people), rows.gender[first] * 3 + rows.band[first]))
    calibrating = np.empty(rows.people, bool)
    calibrating[order] = (np.arange(rows.people) + rng.integers(part)) % part == 0
    old = rng.uniform(0.02, 0.5)
    young = rng.uniform(0.3, 0.6) * (1 - old)
    mix = np.array([young, 1 - old - young, old])
    chosen = in_mix(rows.band[first], np.flatnonzero(~calibrating), mix, rng)
    return of_people(rows, np.flatnonzero(calibrating)), of_people(rows, chosen)


def draw_of(rows: Known, part: int, seed: int) -> tuple[Known, Eval, Known, np.ndarray]:
    """One draw: the people who calibrate, eval predictions without persons, the truth, the eval mix."""
    calibrating, truth = split(rows, seed, part)
    photos_per_person = len(calibrating.person) / calibrating.people
    eval = Eval(truth.answer[:, None], truth.cell[:, None] % 2, photos_per_person)
    return calibrating, eval, truth, truth.counts / truth.people


def one(rows: Known, part: int, seed: int) -> dict:
    """All figures of one draw."""
    calibrating, eval, truth, _ = draw_of(rows, part, seed)
    return trial(calibrating, eval, truth, seed)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("tables", type=Path, nargs="*")
    reader.add_argument("--run", type=Path, nargs="*", default=[])
    reader.add_argument("--few", action="store_true", help="a fifth of the people calibrates instead of half")
    reader.add_argument("--draws", type=int, default=200)
    reader.add_argument("--jobs", type=int, default=1)
    reader.add_argument("--keep", type=Path, help="file that keeps each draw: what is in it is not run again")
    given = reader.parse_args()
    tables = {table.stem: pd.read_csv(table) for table in given.tables}
    if given.run:
        from pipeline.inputs import gather
        from pipeline.runs import RunSettings, open_run

        tables |= {run.name: gather(open_run(RunSettings(run=run), make=False)) for run in given.run}
    if not tables:
        reader.error("name a table, or a run with --run")
    part = FEW if given.few else HALF
    worlds = {name + (", few" if given.few else ""): partial(one, known(table), part) for name, table in tables.items()}
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}; {given.jobs} processes of one thread",
        "tables": run_all(worlds, given.draws, given.jobs, given.keep),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
