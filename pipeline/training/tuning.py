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
"""Times the best way's step, at which a way is given up after two."""
FASTER = 0.97
"""Of the best way's step: a way must be faster than that, in the median of its turns, to take its place."""
TURNS, FEWEST = 5, 3
"""Steps of either way in turn, by which two are compared, and how many there must be when time is up."""


@dataclass(frozen=True)
class Timed:
    """A way, and its step's seconds over those of the best way it was compared with; None where time was up."""

    way: Way
    ratio: float | None


def candidates(made: TrainingSettings, plan: Plan) -> list[Way]:
    """What can be tried for a network: the plan's way, as far as it concerns this network, then all others.

    Every precision and memory format, with none of our layers, one, all, or all but one; those that differ from the
    plan in one thing come first, and precision and memory format, which matter most, before layers.
    """
    precisions = machine.PRECISIONS if machine.has_bfloat16() and made.width >= machine.NARROWEST else ("float32",)
    ours = tuple(faster.used(backbone.build(made, 1)))
    first = Way(plan.precision, plan.channels_last, tuple(name for name in ours if name in plan.layers))
    some = [(name,) for name in ours] + [tuple(other for other in ours if other != name) for name in ours]
    ways = dict.fromkeys(Way(*one) for one in product(precisions, (True, False), ((), ours, first.layers, *some)))
    return [first, *sorted(ways.keys() - {first}, key=lambda one: (_distance(one, first), str(one)))]


def _distance(one: Way, other: Way) -> tuple[int, int]:
    """In how many things two ways differ; of as many, layers are the farthest."""
    coarse = (one.precision != other.precision) + (one.channels_last != other.channels_last)
    layers = len(set(one.layers) ^ set(other.layers))
    return coarse + (layers > 0), layers


def fastest(
    task: str, made: TrainingSettings, plan: Plan, seconds: float, tell: Callable[[Timed], None] = lambda one: None
) -> tuple[Way, list[Timed]]:
    """The fastest way to train a task's network, by so many seconds of timing, and what was timed; told one by one.

    The best way so far meets each other in turns, so that only two networks lie in memory and both see the same
    machine. The plan's own way is kept unless another is clearly faster. Once time is up no step is begun, but for the
    two by which a network warms up.
    """
    ends = time.monotonic() + seconds
    best, *others = candidates(made, plan)
    timed = []
    with tempfile.TemporaryDirectory(prefix="face18-tune-") as folder:
        champion = TimedStep(task, made, plan.by(best), Path(folder))
        usual = champion.seconds()
        for one in others:
            if time.monotonic() >= ends:
                timed.append(Timed(one, None))
                continue
            rival = TimedStep(task, made, plan.by(one), Path(folder))
            ratio = rival.seconds() / usual
            if ratio >= HOPELESS:  # or the machine was at something else
                ratio = min(ratio, rival.seconds() / usual)
            if ratio < HOPELESS:
                turns = _turns(rival, champion, ends)
                ratio = statistics.median(a / b for a, b in turns) if len(turns) >= FEWEST else None
                usual = statistics.median(b for _, b in turns) if turns else usual
            timed.append(Timed(one, ratio))
            tell(timed[-1])
            if ratio is not None and ratio < FASTER:
                best, champion, usual = one, rival, ratio * usual
    return best, timed


def _turns(rival: TimedStep, champion: TimedStep, ends: float) -> list[tuple[float, float]]:
    """The seconds of steps of both, in turn, until time is up."""
    found: list[tuple[float, float]] = []
    while len(found) < TURNS and time.monotonic() < ends:
        found.append((rival.seconds(), champion.seconds()))
    return found
