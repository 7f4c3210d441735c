"""The settings of one training: which may be given, what a fold trains with, and whether it still does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError, listed, nearest
from pipeline.run import presets, recipes
from pipeline.run.settings import given_settings
from pipeline.runtime import store

if TYPE_CHECKING:
    from pipeline.run.folder import Run
    from pipeline.run.settings import RunSettings

TINY = 1e-12  # above zero
RANGES: dict[str, tuple[float, float | None]] = {
    "batch_size": (1, None),
    **dict.fromkeys(("height", "width"), (8, 4096)),
    **dict.fromkeys(("epochs", "lr", "max_grad_norm", "age_spread", "age_scale"), (TINY, None)),
    **dict.fromkeys(("dropout", "drop_path", "smoothing"), (0, 0.999)),
    **dict.fromkeys(("warmup", "class_balance", "rare_ages"), (0, 1)),
    "seed": (0, 1e15),
    **dict.fromkeys(("weight_decay", "undersample", "period", "patience", "focal_gamma"), (0, None)),
    **dict.fromkeys(("mask_weight", "gender_weight", "age_weight"), (0, None)),
    **dict.fromkeys(("layer_decay", "gamma"), (TINY, 1)),
}
"""What numbers may be."""
OF_THE_WORK: dict[str, tuple[float, float | None]] = {
    **dict.fromkeys(("threads", "share", "checkpoint_steps", "seeds", "jobs"), (1, None)),
    "workers": (0, None),
    **dict.fromkeys(("checkpoint_seconds", "cost", "tune_share"), (TINY, None)),
}
"""What those may be that are not of a network but of the work: how it is done, and how much of it."""
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("muon", "adamw", "adam", "radam"),
    "loss": ("cross_entropy", "focal", "soft_f1"),
    "schedule": ("cosine", "step", "constant"),
    "sampling": ("all", "balanced"),
    "age_loss": ("distribution", "l1", "mse"),
    "age_head": ("years", "bands"),
    "head_balance": ("uncertainty", "sum"),
}
"""What words may be."""
OURS = {
    "drop_rate": "--dropout",
    "drop_path_rate": "--drop-path",
    "img_size": "--height and --width",
    "num_classes": "what the network predicts",
}
"""Options of timm's backbones that settings of ours decide."""
_INPUTS = {
    "photos": "the train photos (names or sizes)",
    "boxes": "the face boxes",
    "labels": "the labels",
    "folds": "the folds of people",
}


def defaults(run: Run, task: str) -> dict[str, Any]:
    """What a task trains with unless it is told otherwise: the preset's settings, and the recipe's over them."""
    told = recipes.RECIPES[run.recipe].settings if run.recipe else {}
    return presets.PRESETS[run.preset][task] | told.get(task, {})


def tasks_of(run: Run) -> tuple[str, ...]:
    """The networks a run trains: those of its recipe's system, the three specialists without a recipe."""
    return presets.SYSTEMS[run.usual_system]


def given(settings: RunSettings, task: str, run: Run) -> dict[str, Any]:
    """The training settings the user gave.

    Raises UserError for one that the task does not know or cannot take, and for a task that is not of the recipe.
    """
    if run.recipe and task not in tasks_of(run):
        theirs = tasks_of(run)
        raise UserError(
            f"the recipe {run.recipe} has no network {task}; it trains {listed(theirs)} "
            f"(make train-{theirs[0]} RECIPE={run.recipe})."
        )
    known = presets.PRESETS[run.preset][task]
    ours = {name for preset in presets.PRESETS.values() for table in preset.values() for name in table}
    ours |= RANGES.keys() | CHOICES.keys()
    chosen = {name: value for name, value in given_settings(settings).items() if name in ours}
    for name in chosen:
        if name not in known:
            others = presets.tasks_with(name)
            hint = f"; train {listed(others)} {'has' if len(others) == 1 else 'have'} it" if others else ""
            raise UserError(f"train {task} has no setting --{name.replace('_', '-')}{hint}.")
    if "backbone_options" in chosen:
        try:
            chosen["backbone_options"] = dict(json.loads(chosen["backbone_options"]))
        except (ValueError, TypeError):
            raise UserError(f"--backbone-options {chosen['backbone_options']}: it must be a JSON object.") from None
        for name in OURS.keys() & chosen["backbone_options"].keys():
            raise UserError(f"--backbone-options: {name} is set by {OURS[name]}.")
    elif "backbone" in chosen and chosen["backbone"] != defaults(run, task)["backbone"]:
        chosen["backbone_options"] = {}  # the preset's belong to the preset's backbone
    check_values(chosen)
    return chosen


def check_values(chosen: dict[str, Any]) -> None:
    """Raises UserError for a number out of its range, and for a word that is none of its choices."""
    for name, value in chosen.items():
        option = f"--{name.replace('_', '-')} {f'{value:g}' if isinstance(value, float) else value}"
        if name in CHOICES and value not in CHOICES[name]:
            near = nearest(str(value), CHOICES[name])
            raise UserError(f"{option}: it must be one of {listed(CHOICES[name], 'or')}{f'; {near}' if near else ''}.")
        allowed = (RANGES | OF_THE_WORK).get(name)
        if allowed and not _fits(value, *allowed):
            raise UserError(f"{option}: it must be {_allowed(*allowed)}.")


def _fits(value: float, low: float, high: float | None) -> bool:
    return low <= value <= (math.inf if high is None else high) and math.isfinite(value)


def _allowed(low: float, high: float | None) -> str:
    if low == TINY:
        return "above 0" if high is None else f"above 0 and at most {high:g}"
    return f"{low:g} or more" if high is None else f"from {low:g} to {high:g}"


def of_fold(run: Run, task: str, folder: Path, chosen: dict[str, Any], restart: bool) -> dict[str, Any]:
    """What a fold trains with: what is given, else as recorded for it or another fold, else the recipe or preset."""
    recorded: dict[str, Any] = {}
    for made in [folder, *run.fold_folders(task).values()]:
        if (made / "settings.json").is_file() and not (restart and made == folder):
            recorded = store.read_json(made / "settings.json")["settings"]
            break
    return defaults(run, task) | recorded | chosen


def check_same(folder: Path, inputs: dict[str, str], chosen: dict[str, Any]) -> None:
    """Raises UserError where a fold was begun on other inputs (fingerprints by name), or with other settings."""
    made = store.read_json(folder / "settings.json")
    differences = [
        f"  {name}: {made['settings'].get(name)} then, {value} now"
        for name, value in chosen.items()
        if made["settings"].get(name) != value
    ]
    differences += [
        f"  {_INPUTS[name]} have changed" for name, fingerprint in inputs.items() if made["inputs"][name] != fingerprint
    ]
    if differences:
        raise UserError(
            f"{folder} was trained otherwise; train into another run (RUN=other), or begin anew with "
            f"--restart, which keeps the old folder:\n" + "\n".join(differences)
        )
