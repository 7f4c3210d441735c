"""A million photos pooled over people, calibrated and counted: seconds and memory.

    python benchmarks/million.py TABLE.csv --photos 1000000

TABLE.csv holds a row a photo, as validation.csv has them. Half of its people calibrate; the others, each as often as it
takes and with ages moved a little, are the eval people, named, whose predictions are written and read as a run's are.
Prints one JSON document: seconds of each part, and the process's memory before, at its highest and of the table.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from measures import hardware

from pipeline.combiner.count_table import count_table
from pipeline.combiner.counts import Counting, HeldOutLabels
from pipeline.combiner.person_combiner import PersonCombiner
from pipeline.combiner.persons import persons_of
from pipeline.prediction.tables import TRUTH
from pipeline.runtime import store


def main() -> None:
    """Times each part in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--photos", type=int, default=1_000_000)
    given = parser.parse_args()
    table = pd.read_csv(given.table)
    held = table["person"].isin(table["person"].unique()[::2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.csv"
        many(table[~held], given.photos).to_csv(path, index=False, float_format="%.9g")
        before = memory()
        seconds, start = {}, time.perf_counter()

        def took(what: str) -> None:
            nonlocal start
            seconds[what] = round(time.perf_counter() - start, 2)
            start = time.perf_counter()

        predictions = store.read_csv(path)
        took("read")
        combiner = PersonCombiner().fit(table[held].reset_index(drop=True), predictions)
        took("pool and calibrate")
        labels = combiner.predict(predictions)["label"].to_numpy()
        took("label")
        rows = combiner.held_out_.merge(table[["photo", "person"]], on="photo")
        predicted = rows[["in_sample", "cross_fitted"]].to_numpy(np.int64).T
        weight = rows["weight"].to_numpy() if "weight" in rows else None
        held_out = HeldOutLabels(rows["label"].to_numpy(), predicted, pd.factorize(rows["person"])[0], weight)
        counting = Counting(held_out)
        people = persons_of(predictions.drop_duplicates("photo"), "auto")
        count_table(counting, labels, people, combiner.report_["photos_per_person"])
        took("count")
    told = {"hardware": hardware(), "photos": len(predictions), "people": int(people.max()) + 1, "seconds": seconds}
    told["all seconds"] = round(sum(seconds.values()), 1)
    own = predictions.memory_usage(deep=True).sum() / 2**20
    print(json.dumps(told | {"MB before": before, "MB of the table": round(own), "MB at most": memory()}, indent=1))


def many(rows: pd.DataFrame, photos: int) -> pd.DataFrame:
    """So many predictions about eval photos of named people."""
    times = -(-photos // len(rows))
    copies = [
        rows.assign(person=rows["person"].astype(str) + f"_{i}", photo=f"{i}/" + rows["photo"].astype(str))
        for i in range(times)
    ]
    made = pd.concat(copies, ignore_index=True)[:photos].drop(columns=list(TRUTH)).assign(fold=0)
    return made.assign(age_years=made["age_years"] + np.random.default_rng(0).normal(0, 1, photos))


def memory() -> int:
    """MB that this process has held at the most until now."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
