"""A run folder: the settings that concern the whole run, and which stage was run with what.

The first stage of a run writes `run.json`. From then on a setting that is not given means the recorded one,
and one that is given must be the recorded one. A finished stage leaves `done/STAGE.json`: the fingerprints of
what it read, of what it wrote, and its figures; with the same inputs it need not run again.
"""

# ruff: noqa: UP045

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from tyro.conf import arg

from models import presets, recipes
from models.errors import UserError, unknown
from pipeline import store

DRAWN = Path("data/drawn")
"""The data set that is drawn when the user names none."""
RECORDED = ("data", "recipe", "preset", "weights", "fixes", "crop", "split", "held_out", "split_seed",
            "skip_bad_photos", "follow_links", "leave_out")  # fmt: skip
HELD_OUT = {0.2: 5, 0.1: 10, 0.05: 20}
"""The shares of the people that a fold may hold out, and how many folds there are then."""
SPLITS = ("person", "photo")
LABELLED = "folder.json"
"""In the place of a folder given as EVAL: which folder that is."""
COMBINER_VERSION = 2
"""Of the method and of combiner.json: with another one calibrate runs again."""
BEGUN = ("*/fold*/settings.json", "compare*/settings.json")
"""Where a run has one of these, a training or a comparison has begun under its settings."""


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
    """person (default), or photo: the same faces on both sides, so validation scores leak and are marked leaky."""
    recipe: MaybeText = None
    """A system of the notes (python -m pipeline recipes lists them); its settings stand beneath those given."""
    leave_out: MaybeWhole = None
    """A fold whose people have no part in the run, so that settings can be chosen without them, as compare does."""

    def __post_init__(self) -> None:
        """Raises UserError for a value that no run can have."""
        _check(self.held_out, self.split, self.recipe)
        if self.crop is not None and not 0.1 <= self.crop <= 1:
            raise UserError(f"--crop {self.crop}: the share kept of a photo lies between 0.1 and 1.")


@dataclass(frozen=True, kw_only=True)
class SystemSettings(RunSettings):
    """The settings of the stages that concern one of a run's systems."""

    system: MaybeText = None
    """What answers: specialists (default), or the rivals joint or multihead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.system is not None and self.system not in presets.SYSTEMS:
            raise unknown("system", self.system, presets.SYSTEMS)


@dataclass(frozen=True, kw_only=True)
class EvalSettings(SystemSettings):
    """The settings of the stages after training."""

    eval: MaybePath = None
    """Label this folder of photos with the trained run, instead of the data set's eval photos."""


@dataclass(frozen=True)
class Run:
    """A run's folder and its settings, resolved."""

    folder: Path
    data: Path
    preset: str
    weights: str
    fixes: str | None
    crop: float
    split_seed: int
    skip_bad_photos: bool
    follow_links: bool
    held_out: float
    split: str
    recipe: str | None
    leave_out: int | None

    @property
    def folds(self) -> int:
        """How many folds the people (or photos) are split into."""
        return HELD_OUT[self.held_out]

    @property
    def usual_system(self) -> str:
        """The recipe's system, or the specialists."""
        return "specialists" if self.recipe is None else recipes.named(self.recipe).system

    def system(self, given: SystemSettings) -> str:
        """The system that is asked for."""
        return given.system or self.usual_system

    def home(self, system: str) -> Path:
        """The folder of a system: the specialists' is the run's own."""
        return self.folder if system == "specialists" else self.folder / system

    def place(self, given: EvalSettings) -> Path:
        """Where predictions, combiner and submission go; folders of the same name have places of their own."""
        home = self.home(self.system(given))
        if given.eval is None:
            return home
        folder = given.eval.resolve()
        place = home / f"eval-{folder.name}"
        record = place / LABELLED
        if record.is_file() and store.read_json(record)["folder"] != str(folder):
            return place.with_name(f"{place.name}-{store.fingerprint(str(folder))[:6]}")
        return place

    def fold_folders(self, task: str) -> dict[int, Path]:
        """The folds of a network that have a folder, finished or not."""
        found = {}
        for folder in (self.folder / task).glob("fold*"):
            number = folder.name.removeprefix("fold")
            if number.isdigit():
                found[int(number)] = folder
        return dict(sorted(found.items()))

    def finished_folds(self, task: str) -> dict[int, Path]:
        """The folds of a network whose answers stand."""
        return {
            fold: folder
            for fold, folder in self.fold_folders(task).items()
            if (folder / "done" / "train.json").is_file()
        }


def open_run(given: RunSettings, *, make: bool = True) -> Run:
    """The run these settings name; writes its run.json where there is none and `make`.

    Until a specialist has begun, settings may still change, and what was recorded without being given follows the
    preset and the recipe. Raises UserError when a given setting differs from the recorded one after that, for one
    that cannot be, and when there is no such run and not `make`.
    """
    folder = given.run or _default_folder(given)
    path = folder / "run.json"
    if not make and not path.is_file():
        raise UserError(f"there is no run {folder} yet; train it first (make train-mask train-gender train-age).")
    if given.data is not None and not path.is_file():
        from pipeline.tables import Problems, check_folder, show

        check_folder(given.data, Problems(f"The data set {show(given.data)}"))
    with store.locked(folder / "run.lock", f"the run {folder}", wait=True):
        recorded = store.read_json(path) if path.is_file() else {}
        unchosen = {"recipe": None, "preset": _defaults(recorded | {"preset": None})["preset"]}
        usual = _defaults(recorded) | unchosen
        chosen = {name: value for name, value in recorded.items() if value != usual.get(name)}
        chosen |= {name: value for name in RECORDED if (value := _plain(getattr(given, name))) is not None}
        settings = _defaults(chosen) | chosen
        stood = usual | recorded if recorded else {}  # a run may be older than a setting
        begun = any(any(folder.glob(made)) for made in BEGUN)
        for name in RECORDED:
            if begun and stood and name != "follow_links" and not _same(name, settings[name], stood[name]):
                raise UserError(
                    f"the run {folder} was trained with {name.replace('_', '-')} {stood[name]}, not {settings[name]}; "
                    f"leave the setting out, or name another run with RUN=folder (--run)."
                )
        if begun and "data" in recorded:
            settings["data"] = recorded["data"]
        _check(settings["held_out"], settings["split"], settings["recipe"])
        folds, left_out = HELD_OUT[settings["held_out"]], settings["leave_out"]
        if left_out is not None and not 0 <= left_out < folds:
            raise UserError(f"--leave-out {left_out}: the folds are numbered from 0 to {folds - 1}.")
        if settings != stood:
            store.write_json(path, settings)
    return Run(folder=folder, **(settings | {"data": Path(settings["data"])}))


def _check(held_out: float | None, split: str | None, recipe: str | None) -> None:
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


def _defaults(chosen: dict[str, Any]) -> dict[str, Any]:
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


def _default_folder(given: RunSettings) -> Path:
    data = given.data or DRAWN
    return Path("runs") / f"{data.resolve().name}-{given.recipe or given.preset or 'small'}"


def _plain(value: Any) -> Any:
    """The value for JSON; an unset flag counts as not given."""
    if value is False:
        return None
    return str(value) if isinstance(value, Path) else value


def _same(name: str, given: Any, recorded: Any) -> bool:
    if name == "data":
        return os.path.realpath(given) == os.path.realpath(recorded)
    return given == recorded


@contextmanager
def alone(place: Path, stage: str) -> Iterator[None]:
    """The only stage after training that works in a folder; what a killed one left unfinished is removed."""
    with store.locked(place / "predict.lock", f"{stage} in {place}"):
        store.sweep(place)
        yield


def finished(folder: Path, stage: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The figures of a stage that ran here with these inputs and whose files still stand; else None."""
    path = folder / "done" / f"{stage}.json"
    if not path.is_file():
        return None
    record = store.read_json(path)
    stands = all(store.file_fingerprint(folder / name) == mark for name, mark in record["wrote"].items())
    return record["figures"] if stands and record["inputs"] == store.fingerprint(inputs) else None


def figures_of(folder: Path, stage: str) -> dict[str, Any]:
    """The figures of the last time a stage ran here, on whatever inputs; none where it never did."""
    path = folder / "done" / f"{stage}.json"
    return store.read_json(path)["figures"] if path.is_file() else {}


def check(folder: Path, stage: str, names: Iterable[str]) -> None:
    """Raises UserError where a file that a stage wrote here is missing, or no longer what the stage wrote."""
    path = folder / "done" / f"{stage}.json"
    wrote = store.read_json(path)["wrote"] if path.is_file() else {}
    for name in names:
        if name in wrote and store.file_fingerprint(folder / name) != wrote[name]:
            restart = " with --restart, which keeps the old folder" if stage == "train" else ""
            raise UserError(f"{folder / name} is missing, damaged or was changed; run {stage} again{restart}.")


def record(
    folder: Path, stage: str, inputs: dict[str, Any], wrote: Iterable[str], figures: dict[str, Any]
) -> dict[str, Any]:
    """Note that a stage ran with these inputs and wrote these files; returns the figures."""
    store.write_json(
        folder / "done" / f"{stage}.json",
        {
            "inputs": store.fingerprint(inputs),
            "wrote": {name: store.file_fingerprint(folder / name) for name in wrote},
            "figures": figures,
        },
    )
    return figures


def given_settings(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass that the user gave: neither None nor an unset flag."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    # `is`, because a given 0 equals False.
    return {name: value for name, value in values.items() if value is not None and value is not False}
