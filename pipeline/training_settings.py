"""The settings of one training: which may be given, what a fold trains with, and whether it still does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import presets
from models.errors import UserError
from pipeline import runs, store

if TYPE_CHECKING:
    from pipeline.runs import Run, RunSettings

TINY = 1e-12  # above zero
RANGES: dict[str, tuple[float, float | None]] = {
    **dict.fromkeys(("epochs", "batch"), (1, None)),
    **dict.fromkeys(("height", "width"), (8, 4096)),
    **dict.fromkeys(("lr", "clip", "age_spread"), (TINY, None)),
    **dict.fromkeys(("dropout", "drop_path", "smoothing"), (0, 0.999)),
    **dict.fromkeys(("warmup", "class_balance", "rare_ages"), (0, 1)),
    **dict.fromkeys(("weight_decay", "undersample", "seed"), (0, None)),
    "layer_decay": (TINY, 1),
}
"""What numbers may be."""
_INPUTS = {"photos": "the train photos (names or sizes)", "labels": "the labels", "folds": "the folds of people"}


def given(settings: RunSettings, task: str, run: Run) -> dict[str, Any]:
    """The training settings the user gave. Raises UserError for one that the task does not know or cannot take."""
    known = presets.PRESETS[run.preset][task]
    ours = {name for preset in presets.PRESETS.values() for table in preset.values() for name in table}
    chosen = {name: value for name, value in runs.given_settings(settings).items() if name in ours}
    for name in chosen:
        if name not in known:
            others = " and ".join(presets.tasks_with(name))
            raise UserError(f"train {task} has no setting --{name.replace('_', '-')}; train {others} has.")
    if "backbone_options" in chosen:
        try:
            chosen["backbone_options"] = dict(json.loads(chosen["backbone_options"]))
        except (ValueError, TypeError):
            raise UserError(f"--backbone-options {chosen['backbone_options']}: it must be a JSON object.") from None
    elif "backbone" in chosen:
        chosen["backbone_options"] = {}  # the preset's belong to the preset's backbone
    for name, value in chosen.items():
        low, high = RANGES.get(name, (None, None))
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            allowed = f"from {low:g} to {high:g}" if high is not None else f"{low:g} or more"
            raise UserError(f"--{name.replace('_', '-')} {value}: it must be {allowed}.")
    return chosen


def of_fold(run: Run, task: str, folder: Path, chosen: dict[str, Any], restart: bool) -> dict[str, Any]:
    """What a fold trains with: what is given, else as recorded for it or for another fold, else the preset's."""
    recorded: dict[str, Any] = {}
    for made in [folder, *run.fold_folders(task).values()]:
        if (made / "settings.json").is_file() and not (restart and made == folder):
            recorded = store.read_json(made / "settings.json")["settings"]
            break
    return presets.PRESETS[run.preset][task] | recorded | chosen


def check_same(folder: Path, inputs: dict[str, str], chosen: dict[str, Any]) -> None:
    """Raises UserError where a fold was begun on other inputs (fingerprints by name), or with other settings."""
    made = store.read_json(folder / "settings.json")
    differences = [
        f"  {name}: {made['settings'].get(name)} then, {value} now"
        for name, value in chosen.items()
        if made["settings"].get(name) != value
    ]
    differences += [f"  {_INPUTS[name]} have changed" for name, mark in inputs.items() if made["inputs"][name] != mark]
    if differences:
        raise UserError(
            f"{folder} was trained otherwise; train into another run (RUN=other), or begin anew with "
            f"--restart, which keeps the old folder:\n" + "\n".join(differences)
        )
