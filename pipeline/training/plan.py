"""How the machine at hand is used for a training: as planned now, or as the training was begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.errors import UserError
from pipeline.run.train_settings import Train, TrainingSettings
from pipeline.runtime import machine, ranks
from pipeline.runtime.machine import Plan
from pipeline.runtime.plan_table import LAYERS


def plan_of(settings: Train, resolved: TrainingSettings) -> Plan:
    """The plan for now: of a process of several, or of those that this one would begin."""
    several = (ranks.processes(), ranks.on_this_machine()) if ranks.is_worker() else (settings.processes,) * 2
    made = machine.plan(
        resolved.backbone,
        (resolved.height, resolved.width),
        share=settings.share * several[1],
        threads=settings.threads,
        workers=settings.workers,
        precision=settings.precision,
        muon_precision=settings.muon_precision,
        channels_last=settings.channels_last,
        layers={None: None, "timm": (), "faster": LAYERS}[settings.layers],
        processes=several[0],
    )
    if made.device == "cpu" and made.precision == "bfloat16" and resolved.width < machine.NARROWEST:
        raise UserError(
            f"--precision bfloat16: processors train wrongly in it on photos less than {machine.NARROWEST} pixels "
            f"wide; use float32."
        )
    return made


def kept_plan(name: str, begun: Plan, plan: Plan, settings: Train, say: Callable[..., None]) -> Plan:
    """The plan to go on by: the one begun with, but on the device and by the processes that are here, and with the
    loaders asked for."""
    if begun.processes != plan.processes:
        say(
            f"{name}: was last trained by {_processes(begun)}; it goes on by {_processes(plan)}, whose dropout, "
            f"threads and, on processors, batch statistics are others"
        )
        begun = replace(begun, processes=plan.processes, threads=plan.threads, workers=plan.workers)
    if begun.device != plan.device:
        say(f"{name}: was begun on {begun.device}; it goes on with {plan.device}")
        return plan
    given = settings.given().keys() & begun.as_dict().keys() - {"workers", "processes"}
    differing = {name for name in given if getattr(begun, name) != getattr(plan, name)}
    for field in sorted(differing):
        stays = f"stay {begun.layers_told}" if field == "layers" else f"stays {getattr(begun, field)}"
        say(f"{name}: {field.replace('_', ' ')} {stays}, as begun; to change it, --restart")
    return begun if settings.workers is None else replace(begun, workers=settings.workers)


def _processes(plan: Plan) -> str:
    return f"{plan.processes} process{'es' if plan.processes > 1 else ''}"
