"""python -m pipeline tune: how this machine trains a preset's networks fastest, measured and remembered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.run import presets
from pipeline.run.given import Stage
from pipeline.run.settings import PRESETS, TASKS
from pipeline.runtime.gpu import has_gpu

if TYPE_CHECKING:
    from pipeline.runtime.plan_table import Way
    from pipeline.training.tuning import Timed


@dataclass(frozen=True, kw_only=True)
class Tune(Stage):
    """What the stage tune is told."""

    preset: str = setting("The preset whose specialists are timed.", "lite", choices=PRESETS)
    minutes: float = setting("How long to time them, all together.", 2.0, above=0, most=1440)
    threads: int | None = setting(
        "Processor threads of a training step.", None, least=1, usual="half the cores, as trainings side by side have"
    )


def tune(settings: Tune) -> dict[str, Any]:
    """Time the ways to train a preset's networks on this processor; later trainings here use the fastest."""
    if has_gpu():
        raise UserError(
            "tune: there is nothing to choose on a GPU, which trains in bfloat16 with channels last; it is for "
            "machines without one (CUDA_VISIBLE_DEVICES= hides it)."
        )
    from pipeline.runtime import machine, tuned
    from pipeline.runtime.instructions import instructions
    from pipeline.runtime.plan_table import NEAREST
    from pipeline.training.tuning import candidates, fastest

    file, asked, kind = tuned.check(), {}, instructions()
    for task in TASKS:
        made = presets.settings_of(settings.preset, task)
        asked.setdefault((made.backbone, (made.height, made.width)), (task, made))
    print(f"tune: {settings.preset} on {tuned.processor()} ({kind}), some {settings.minutes:g} minutes")
    if kind in NEAREST:
        print(f"tune: nothing was measured on such processors before; usually they train as {NEAREST[kind]}")
    ends, told = time.monotonic() + 60 * settings.minutes, {}
    for number, ((name, size), (task, made)) in enumerate(asked.items()):
        title = f"{name} at {size[0]}x{size[1]}"
        plan = machine.usual_plan(name, size, share=2, threads=settings.threads)
        usual, share = candidates(made, plan)[0], (ends - time.monotonic()) / (len(asked) - number)
        best, timed = fastest(task, made, plan, share, partial(_tell, title))
        untried = [in_words(one.way) for one in timed if one.ratio is None]
        if untried:
            print(f"tune: {title}: no time was left for {listed(untried)}; --minutes gives more")
        if len(untried) < len(timed):
            tuned.keep(name, size, best, plan.threads, time.strftime("%Y-%m-%d"))
            same = ", as usual" if best == usual else f"; usual was {in_words(usual)}"
            print(f"tune: {title}: {in_words(best)}{same} ({plan.threads} threads)", flush=True)
        told[title] = {"best": in_words(best), "usual": in_words(usual), "untried": len(untried)}
    if tuned.cache().is_file():
        print(f"tune: kept in {file}; trainings that begin on this machine now go by it, and deleting it undoes that")
    return told


def _tell(title: str, one: Timed) -> None:
    if one.ratio is not None:
        print(f"tune: {title}: {in_words(one.way)} takes {one.ratio:.2f} times as long as the best so far", flush=True)


def in_words(one: Way) -> str:
    """A way, as in "bfloat16, channels last, our swin"."""
    ours = f", our {listed(list(one.layers))}" if one.layers else ""
    return f"{one.precision}, channels {'last' if one.channels_last else 'first'}{ours}"
