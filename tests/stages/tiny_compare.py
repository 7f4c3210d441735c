"""python tests/stages/tiny_compare.py ARGUMENTS: python -m pipeline compare with tiny networks."""

import sys
from dataclasses import replace

from tiny_runs import TINY

from pipeline.__main__ import main
from pipeline.comparison import systems
from pipeline.comparison.systems import System

SIZE = {"height": 64, "width": 48, "batch_size": 16}
SYSTEMS = ("specialists", "joint-efficientnet", "multihead-years", "specialists-30-60")


def settings_of(task: str) -> dict:
    return {"backbone_options": {}} | SIZE | TINY.get(task, {"backbone": "test_efficientnet"})


def small(system: System) -> System:
    return replace(system, settings={task: own | settings_of(task) for task, own in system.settings.items()})


def shrink() -> None:
    """Give the systems tiny networks; they reach the trainings as settings on their command lines."""
    whole, leaking = systems.all_systems, systems.leaking
    systems.all_systems = lambda *of_run: {name: small(system) for name, system in whole(*of_run).items()}
    systems.leaking = lambda: {split: small(system) for split, system in leaking().items()}


if __name__ == "__main__":
    shrink()
    sys.exit(main(sys.argv[1:]))
