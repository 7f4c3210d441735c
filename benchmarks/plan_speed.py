"""What justifies the plan for a machine (pipeline/runtime/machine.py): a step under it and under what it is not.

    python benchmarks/plan_speed.py --preset base
    python benchmarks/plan_speed.py --preset small --threads 1

The trainer's own step on a batch that lies ready, the ways in turn; ratios are taken within a turn, above 1 where the
plan is faster. Each way differs from the plan in one thing. bfloat16 is left out where the machine has no instructions
for it: a step would take minutes. --compiled adds torch.compile of timm's own layers, with what its start takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from benchmarks.measures import DEVICE, hardware, ratios, summary, table, versions
from benchmarks.speed import now, settings_of
from models import backbone
from models.cpu import faster
from models.tasks import build_task
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import machine
from pipeline.training.trainer import Trainer, TrainingData

PLAN = "the plan"
LABELS = {"mask": 3, "gender": 2, "age": 60}
"""How many targets a task is given, from 0."""


@dataclass(frozen=True)
class Way:
    """plain: with timm's own layers in place of those of models/cpu/faster.py."""

    plan: machine.Plan
    plain: bool = False
    compiled: bool = False


def ways(made: TrainingSettings, threads: int | None, compiled: bool) -> dict[str, Way]:
    """The plan for a task's settings, and what differs from it in one thing, by name."""
    plan = machine.plan(made.backbone, size=(made.height, made.width), threads=threads)
    found = {PLAN: Way(plan)}
    found[f"channels {'first' if plan.channels_last else 'last'}"] = Way(
        replace(plan, channels_last=not plan.channels_last)
    )
    if machine.has_bfloat16() or DEVICE == "cuda":
        other = {"float32": "bfloat16", "bfloat16": "float32"}
        if made.width >= machine.NARROWEST:
            found[other[plan.precision]] = Way(replace(plan, precision=other[plan.precision]))
        if made.optimizer == "muon":
            found["Muon in float32"] = Way(replace(plan, muon_precision="float32"))
    if DEVICE == "cpu":
        found["timm's layers"] = Way(plan, plain=True)
    if compiled:
        found["compiled"] = Way(plan, plain=True, compiled=True)
    return found


class Step:
    """A training step of a task in one way; `started` is the seconds of its first two."""

    def __init__(self, task: str, made: TrainingSettings, way: Way):
        torch.manual_seed(0)
        one = build_task(task, made)
        network = backbone.build(made, one.num_logits)
        if way.plain:
            faster.give_back(network)
        if way.compiled:
            network.compile()
        stream, rows = np.random.default_rng(0), np.arange(made.batch_size)
        pixels = stream.integers(0, 256, (len(rows), made.height, made.width, 3), np.uint8)
        targets = stream.integers(0, LABELS[task], len(rows)).astype(np.float32)
        folder = Path(tempfile.mkdtemp(dir="."))
        self.trainer = Trainer(
            one, network, TrainingData(pixels, targets, rows, rows, rows), made, way.plan, folder, task
        )
        self.given = torch.from_numpy(pixels).to(self.trainer.accelerator.device), torch.from_numpy(rows)
        self.started = self.seconds() + self.seconds()

    def seconds(self) -> float:
        machine.settle(self.trainer.plan)
        started = now()
        self.trainer.train_step(*self.given)
        return now() - started


def measure(task: str, made: TrainingSettings, given: argparse.Namespace) -> dict[str, Any]:
    steps = {name: Step(task, made, way) for name, way in ways(made, given.threads, given.compiled).items()}
    turns: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(given.repeats):
        print(f"{task}: turn {turn + 1} of {given.repeats}", file=sys.stderr)
        for name, step in steps.items():
            turns[name].append(step.seconds())
    return {
        name: {
            "seconds a step": summary(took),
            "the plan is faster by": summary(ratios(took, turns[PLAN])),
            "first two steps": steps[name].started,
        }
        for name, took in turns.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["base", "small", "lite"], default="base")
    parser.add_argument("--threads", type=int, help="of a step (default: all cores)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="with tiny networks, to see that it runs")
    given = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="face18-plan-") as folder, contextlib.chdir(folder):
        found = {task: measure(task, made, given) for task, made in settings_of(given.preset, given.smoke).items()}
    rows = [
        (task, name, *(f"{one['median']:.3g} ({one['low']:.3g} to {one['high']:.3g})" for one in list(of.values())[:2]))
        for task, by_name in found.items()
        for name, of in by_name.items()
    ]
    print(table(("task", "way", "seconds a step", "the plan is faster by"), rows), file=sys.stderr)
    about = {"hardware": hardware(), "versions": versions(), "seconds": time.perf_counter() - started}
    print(json.dumps(about | {"given": vars(given)} | found, indent=1))


if __name__ == "__main__":
    main()
