"""What justifies the plan for a machine (pipeline/runtime/machine.py): a step under it and under what it is not.

    python benchmarks/plan_speed.py --preset base
    python benchmarks/plan_speed.py --preset small --threads 1

The trainer's own step on a batch that lies ready, the ways in turn; ratios are taken within a turn, above 1 where the
plan is faster. Each way differs from the plan in one thing. bfloat16 is left out where the machine has no instructions
for it: a step would take minutes. --compiled adds torch.compile of timm's own layers, with what its start takes.
--held-to avx2 (or avx512, avx512_bf16) measures what cores without the newer instructions would do, but for their clock
and caches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

HELD_TO = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "avx512_bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
"""What holds torch and its libraries to older instructions; they look at their import."""
if "--held-to" in sys.argv[:-1]:
    os.environ.update(HELD_TO.get(sys.argv[sys.argv.index("--held-to") + 1], {}))

from benchmarks.measures import DEVICE, hardware, ratios, summary, table, versions
from benchmarks.speed import settings_of
from models import backbone
from models.cpu import faster
from pipeline.run.settings import TASKS
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import machine
from pipeline.runtime.instructions import instructions
from pipeline.training.timed_step import TimedStep

PLAN = "the plan"


@dataclass(frozen=True)
class Way:
    plan: machine.Plan
    compiled: bool = False


def ways(made: TrainingSettings, threads: int | None, compiled: bool) -> dict[str, Way]:
    """The plan for a task's settings, and what differs from it in one thing, by name."""
    plan = machine.plan(made.backbone, size=(made.height, made.width), threads=threads)
    found = {PLAN: plan}
    found[f"channels {'first' if plan.channels_last else 'last'}"] = replace(plan, channels_last=not plan.channels_last)
    if machine.has_bfloat16() or DEVICE == "cuda":
        other = {"float32": "bfloat16", "bfloat16": "float32"}[plan.precision]
        if made.width >= machine.NARROWEST:
            found[other] = replace(plan, precision=other)
        if made.optimizer == "muon":
            found["Muon in float32"] = replace(plan, muon_precision="float32")
    if DEVICE == "cpu":
        for name in faster.used(backbone.build(made, 1)):
            layers = set(plan.layers) ^ {name}
            found[f"{'with' if name in layers else 'without'} our {name}"] = replace(plan, layers=tuple(layers))
        if plan.layers:
            found["timm's layers"] = replace(plan, layers=())
    found = {name: Way(way) for name, way in found.items()}
    return found | ({"compiled": Way(replace(plan, layers=()), True)} if compiled else {})


def measure(task: str, made: TrainingSettings, given: argparse.Namespace) -> dict[str, Any]:
    steps = {
        name: TimedStep(task, made, way.plan, Path.cwd(), way.compiled)
        for name, way in ways(made, given.threads, given.compiled).items()
    }
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


def shown(task: str, by_name: dict[str, Any]) -> str:
    """What measure found, as a table."""
    spreads = [list(of.values())[:2] for of in by_name.values()]
    told = [[f"{one['median']:.3g} ({one['low']:.3g} to {one['high']:.3g})" for one in two] for two in spreads]
    rows = [(task, name, *two) for name, two in zip(by_name, told, strict=True)]
    return table(("task", "way", "seconds a step", "the plan is faster by"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--preset", choices=["base", "small", "lite"], default="base")
    parser.add_argument("--threads", type=int, help="of a step (default: all cores)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS), help="these networks")
    parser.add_argument("--held-to", choices=HELD_TO, help="use no newer instructions than these")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="with tiny networks, to see that it runs")
    given = parser.parse_args()
    if given.held_to not in (None, instructions()):
        parser.error(f"--held-to {given.held_to}: this processor is {instructions()}, or it was not said as two words")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="face18-plan-") as folder, contextlib.chdir(folder):
        settings, found = settings_of(given.preset, given.smoke), {}
        for task in given.only:
            found[task] = measure(task, settings[task], given)
            print(shown(task, found[task]), file=sys.stderr, flush=True)  # an impatient user keeps what there is
    about = {
        "hardware": hardware(),
        "instructions": instructions(),
        "versions": versions(),
        "seconds": time.perf_counter() - started,
    }
    print(json.dumps(about | {"given": vars(given)} | found, indent=1))


if __name__ == "__main__":
    main()
