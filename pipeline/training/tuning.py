"""Which way of using a processor trains a network fastest, found by timing its steps."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from models import backbone
from models.cpu import faster
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import machine
from pipeline.runtime.machine import Plan
from pipeline.runtime.plan_table import Way
from pipeline.training.timed_step import TimedStep

HOPELESS = 1.3
"""Times the best way's step, at which a way is given up after one."""
FASTER = 0.97
"""Of the best way's step: a way must be faster than that, in the median of its turns, to take its place."""
TURNS = 5
"""Steps of either way in turn, by which two are compared."""


@dataclass(frozen=True)
class Timed:
    """A way, and its step's seconds over those of the best way it was compared with; None where time was up."""

    way: Way
    ratio: float | None


def candidates(made: TrainingSettings, plan: Plan) -> list[Way]:
    """What can be tried for a network: the plan's way first, then those that differ from it in ever more things."""
    precisions = list(machine.PRECISIONS if machine.has_bfloat16() else ("float32",))
    if made.width < machine.NARROWEST:
        precisions = ["float32"]
    ours = tuple(faster.used(backbone.build(made, 1)))
    first = Way(plan.precision, plan.channels_last, tuple(name for name in plan.layers if name in ours))
    layers = dict.fromkeys(((), ours, first.layers, *((name,) for name in ours)))
    ways = [Way(*one) for one in product(precisions, (True, False), layers)]
    ways = [one for one in ways if one != first and not (one.layers == ("depthwise",) and one.precision == "float32")]
    return [first, *sorted(ways, key=lambda one: _distance(one, first))]


def _distance(one: Way, other: Way) -> tuple[int, int]:
    """In how many things two ways differ; layers count last."""
    coarse = (one.precision != other.precision) + (one.channels_last != other.channels_last)
    return coarse + (one.layers != other.layers), coarse


def fastest(
    task: str, made: TrainingSettings, plan: Plan, seconds: float, tell: Callable[[Timed], None] = lambda one: None
) -> tuple[Way, list[Timed]]:
    """The fastest way to train a task's network, by so many seconds of timing, and what was timed; told one by one.

    The best way so far meets each other in turns, so that only two networks lie in memory and both see the same
    machine. The plan's own way is kept unless another is clearly faster.
    """
    ends = time.monotonic() + seconds
    best, *others = candidates(made, plan)
    timed = []
    with tempfile.TemporaryDirectory(prefix="face18-tune-") as folder:
        champion = TimedStep(task, made, plan.by(best), Path(folder))
        usual = champion.seconds()
        for one in others:
            if time.monotonic() > ends:
                timed.append(Timed(one, None))
                continue
            rival = TimedStep(task, made, plan.by(one), Path(folder))
            ratio = rival.seconds() / usual
            if ratio < HOPELESS:
                turns = [(rival.seconds(), champion.seconds()) for _ in range(TURNS)]
                ratio = statistics.median(mine / theirs for mine, theirs in turns)
                usual = statistics.median(theirs for _, theirs in turns)
            timed.append(Timed(one, ratio))
            tell(timed[-1])
            if ratio < FASTER:
                best, champion, usual = one, rival, ratio * usual
    return best, timed
