"""What the predict stage costs on many photos: seconds, start-up and memory; a section of speed.py."""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from benchmarks.measures import DEVICE, Settings, engines, summary, write_run
from pipeline.dataset.folds import fold_table
from pipeline.dataset.photos import DataSet
from pipeline.images.photos import Photos, decode_all
from pipeline.prediction import ensemble
from pipeline.prediction.engine import BATCH_SIZE, Engine
from pipeline.run import records
from pipeline.run.fold_records import VALIDATION, WROTE
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.runtime import store

ROOT = Path(__file__).resolve().parent.parent
WATCHED = """
import atexit, pathlib, runpy
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text()))
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""
"""Runs a stage and then tells its peak memory. (What wait4 tells of a process begins at its parent's.)"""


def finish_run(run: Path, data: DataSet, settings: Settings, preset: str) -> None:
    """Add what the predict stage asks of a run beside networks.

    The held-out predictions are the fastest engine's own: networks that have learned nothing predict for all photos so
    nearly the same that any other engine's would lead to other labels, and the engine would not be used.
    """
    open_run(RunStage.of(run=run, data=data.root, preset=preset, weights="none"))
    held_out = data.train.merge(fold_table(data.train), on="person").query("fold == 0")
    photos = Photos(data.root, held_out["photo"].tolist())
    for fold in write_run(run, settings, data).values():
        member = ensemble.load(fold, DEVICE, joblib.cpu_count(), Engine.of(engines()[-1]))
        decoded = decode_all(photos, [member.view], joblib.cpu_count())
        predictions = held_out[["photo", "person", "fold", "mask", "gender", "age"]].reset_index(drop=True)
        predictions[list(member.task.columns)] = member.predict(np.stack([pixels[member.view] for pixels in decoded]))
        store.write_csv(fold.folder / VALIDATION, predictions)
        records.record(fold.folder, "train", {}, WROTE, {"macro_f1": 0.0})


def measure_cost(data: DataSet, settings: Settings, amount: argparse.Namespace) -> dict[str, Any]:
    finish_run(Path("cost").resolve(), data, settings, amount.preset)
    _stage(data, BATCH_SIZE)  # chooses the engine, which a run does once
    found = {}
    for count in amount.cost_photos:
        print(f"cost: {count} photos", flush=True)
        found[count] = _stage(data, count)
    few, many = (found[count] for count in (min(found), max(found)))
    compared = {f"{what}, most / fewest photos": [many[what] / few[what]] for what in few}
    return {
        f"{count} photos": {"metrics": {what: summary([value]) for what, value in metrics.items()}}
        for count, metrics in found.items()
    } | {"both": {"ratios": {what: summary(values) for what, values in compared.items()}}}


def _stage(data: DataSet, count: int) -> dict[str, float]:
    """The predict stage on so many photos, which are links to the drawn ones."""
    folder = Path(f"photos-{count}").resolve()
    folder.mkdir()
    drawn_photos = data.eval["photo"].tolist()
    for number in range(count):
        os.link(data.path(drawn_photos[number % len(drawn_photos)]), folder / f"{number:07d}.jpg")
    command = ["predict", "--run", "cost", "--eval", str(folder), "--engine", engines()[-1]]
    started, lines, ready = time.perf_counter(), [], math.nan
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    ) as stage:  # fmt: skip
        for line in stage.stdout:
            if " networks on " in line:
                ready = time.perf_counter()
            lines.append(line)
    ended = time.perf_counter()
    shutil.rmtree(folder)
    told = "".join(lines)
    print(told.partition("Name:")[0], end="", flush=True)
    if stage.returncode:
        raise SystemExit(f"the predict stage ended with status {stage.returncode}")
    return {
        "seconds a photo": (ended - ready) / count,
        "seconds until the networks are ready": ready - started,
        "peak memory in MB": int(re.search(r"VmHWM:\s*(\d+) kB", told)[1]) / 1000,
    }
