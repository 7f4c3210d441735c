"""The settings that concern a whole run: their fields are the command line, their docstrings the help."""

# ruff: noqa: UP045

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from tyro.conf import arg

from models.errors import UserError, unknown
from pipeline.run import presets, recipes

DRAWN = Path("data/drawn")
"""The data set that is drawn when the user names none."""
HELD_OUT = {0.2: 5, 0.1: 10, 0.05: 20}
"""The shares of the people that a fold may hold out, and how many folds there are then."""
SPLITS = ("person", "photo")


# Settings that may be left out; without these hints every help line would say "None" twice. Optional, because tyro
# imports typeguard, unittest and asyncio to understand X | None: a third of a help's time.
MaybePath = Annotated[Optional[Path], arg(metavar="PATH", help_behavior_hint="")]
MaybeText = Annotated[Optional[str], arg(metavar="TEXT", help_behavior_hint="")]
MaybeWhole = Annotated[Optional[int], arg(metavar="INT", help_behavior_hint="")]
MaybeNumber = Annotated[Optional[float], arg(metavar="FLOAT", help_behavior_hint="")]
Flag = Annotated[bool, arg(help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings every stage knows; written once to run.json, so they need to be given once only."""

    run: MaybePath = None
    """The run's folder (default: runs/<name of the data set>-<recipe, or else preset>)."""
    data: MaybePath = None
    """The data set's folder (default: data/drawn). Nothing is ever written into it."""
    preset: Annotated[
        Literal["small", "base", "large"] | None, arg(metavar="{small,base,large}", help_behavior_hint="")
    ] = None
    """small (default): from scratch on two cores in minutes. base, large: pretrained networks."""
    weights: MaybeText = None
    """Where networks start: hub (downloads), none, or a folder of <timm name>.safetensors files."""
    fixes: MaybeText = None
    """Label fixes: a CSV file (key,column,value), or contest for those most teams agree on."""
    crop: MaybeNumber = None
    """Share of the largest centred rectangle that is kept of photos without a face box (default: 1)."""
    split_seed: MaybeWhole = None
    """Another seed makes other folds of people (default: 0)."""
    skip_bad_photos: Flag = False
    """Train without the photos that cannot be decoded, instead of stopping."""
    follow_links: Flag = False
    """Follow links that lead out of the data set, instead of refusing them."""
    held_out: MaybeNumber = None
    """Share of the people a fold holds out for validation: 0.2 (default), 0.1 or 0.05; 5, 10 or 20 folds."""
    split: Annotated[Optional[str], arg(metavar="{person,photo}", help_behavior_hint="")] = None
    """person (default), or photo: the same faces on both sides, so validation scores leak and are shown as leaky."""
    recipe: MaybeText = None
    """A system of the notes (python -m pipeline recipes lists them); its settings stand beneath those given."""
    leave_out: MaybeWhole = None
    """A fold whose people have no part in the run, so that settings can be chosen without them, as compare does."""

    def __post_init__(self) -> None:
        """Raises UserError for a value that no run can have."""
        check_run_settings(self.held_out, self.split, self.recipe)
        if self.crop is not None and not 0.1 <= self.crop <= 1:
            raise UserError(f"--crop {self.crop}: the share kept of a photo lies between 0.1 and 1.")


@dataclass(frozen=True, kw_only=True)
class SystemSettings(RunSettings):
    """The settings of the stages that concern one of a run's systems."""

    system: MaybeText = None
    """What predicts: specialists (default), or the rivals joint or multihead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.system is not None and self.system not in presets.SYSTEMS:
            raise unknown("system", self.system, presets.SYSTEMS)


@dataclass(frozen=True, kw_only=True)
class EvalSettings(SystemSettings):
    """The settings of the stages after training."""

    eval: MaybePath = None
    """Label this folder of photos with the trained run, instead of the data set's eval photos."""


def check_run_settings(held_out: float | None, split: str | None, recipe: str | None) -> None:
    """Raises UserError for a value that cannot be; None is none."""
    if held_out is not None and held_out not in HELD_OUT:
        counts = ", ".join(map(str, HELD_OUT.values()))
        raise UserError(
            f"--held-out {held_out}: the share of the people held out is one of {', '.join(map(str, HELD_OUT))} "
            f"({counts} folds)."
        )
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if recipe is not None:
        recipes.named(recipe)


def run_defaults(chosen: dict[str, Any]) -> dict[str, Any]:
    """What holds beneath the settings chosen: the recipe's values where it has them, else the preset's and ours."""
    recipe = chosen.get("recipe")
    of_recipe = recipes.named(recipe).run if recipe is not None else {}
    preset = chosen.get("preset") or of_recipe.get("preset", "small")
    if preset not in presets.PRESETS:
        raise UserError(f"there is no preset {preset}; known are {', '.join(presets.PRESETS)}.")
    ours = {
        "data": str(DRAWN),
        "recipe": recipe,
        "preset": preset,
        "weights": presets.WEIGHTS[preset],
        "fixes": None,
        "crop": 1.0,
        "split": "person",
        "held_out": 0.2,
        "split_seed": 0,
        "skip_bad_photos": False,
        "follow_links": False,
        "leave_out": None,
    }
    return ours | of_recipe | {"preset": preset}


def given_settings(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass that the user gave: neither None nor an unset flag."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    # `is`, because a given 0 equals False.
    return {name: value for name, value in values.items() if value is not None and value is not False}
