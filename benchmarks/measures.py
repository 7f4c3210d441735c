"""What the timings share: the machine they run on, networks to time, medians and tables."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import joblib
import torch

from models import backbone
from models.tasks import build_task
from pipeline.dataset.photos import DataSet
from pipeline.dataset.run_data import photo_fingerprints, train_rows
from pipeline.run.fold_records import WEIGHTS, BegunFold
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import machine, store, tuned

os.environ[tuned.FOLDER] = os.devnull
"""Nothing that was tuned on this machine, here and in the processes that are begun: the plan is the table's."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Settings = dict[str, TrainingSettings]
"""Of each task, as in presets.py."""
Seconds = dict[str, list[float]]
"""Seconds a photo, a value for each turn."""


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median and spread of the turns."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "turns": list(values)}


def ratios(over: Iterable[float], under: Iterable[float]) -> list[float]:
    """Turn by turn."""
    return [a / b for a, b in zip(over, under, strict=True)]


def geometric_means(lists: Iterable[Sequence[float]]) -> list[float]:
    """Of several lists of turns, turn by turn."""
    return [statistics.geometric_mean(turn) for turn in zip(*lists, strict=True)]


def summaries(seconds: Seconds, compared: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "seconds a photo": {name: summary(turns) for name, turns in seconds.items()},
        "ratios": {name: summary(turns) for name, turns in compared.items()},
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns below each other, the first to the left and the others to the right."""
    lines = [head, *rows]
    wide = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(wide[0]), *(c.rjust(w) for c, w in zip(line[1:], wide[1:], strict=True))]).rstrip()
        for line in lines
    )


def shown(result: dict[str, Any]) -> str:
    """The metrics as tables."""
    rows = [
        (section, name, kind, what, f"{found['median']:.4g}", f"{found['low']:.4g} to {found['high']:.4g}")
        for section in ("train", "predict", "cost")
        for name, kinds in result.get(section, {}).items()
        for kind, metrics in kinds.items()
        for what, found in metrics.items()
    ]
    return table(("section", "of", "metric", "what", "median", "spread"), rows)


def engines() -> list[str]:
    """What can run networks in prediction on this machine."""
    if DEVICE == "cuda":
        return ["torch", "compiled"]
    return ["torch", "openvino", "openvino-bfloat16"] if importlib.util.find_spec("openvino") else ["torch"]


def write_run(run: Path, settings: Settings, data: DataSet) -> dict[str, BegunFold]:
    """The folds of three networks that have learned nothing of a data set, as training leaves them."""
    folds = {}
    for task, made in settings.items():
        network = backbone.build(made, build_task(task, made).num_logits)
        folds[task] = BegunFold(
            folder=run / task / "fold0",
            task=task,
            number=0,
            settings=made,
            inputs={"labels": "", "folds": "", "faces": ""} | photo_fingerprints(data, train_rows(data, task)),
            plan=machine.plan(made.backbone, size=(made.height, made.width)),
            pixels="",
            crop=1.0,
            weights="none",
            versions=machine.versions(),
        )
        folds[task].write()
        store.write_weights(folds[task].folder / WEIGHTS, network.state_dict())
    return folds


def hardware() -> dict[str, Any]:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:  # another system
        told = ""
    name = re.search(r"^model name\s*: (.*)", told, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)", told, re.MULTILINE)
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "processor": name[1] if name else platform.processor(),
        "cores": joblib.cpu_count(),
        "flags": [flag for flag in wanted if flags and flag in flags[1].split()],
        "gpu": torch.cuda.get_device_name() if DEVICE == "cuda" else None,
    }


def versions() -> dict[str, str]:
    with_openvino = {"openvino": importlib.metadata.version("openvino")} if importlib.util.find_spec("openvino") else {}
    return machine.versions() | with_openvino
