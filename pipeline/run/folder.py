"""A run folder: the settings that concern the whole run, and where its files lie.

The first stage of a run writes `run.json`. From then on a setting that is not given means the recorded one, and one
that is given must be the recorded one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.run import recipes
from pipeline.run.settings import (
    DRAWN,
    HELD_OUT,
    EvalSettings,
    RunSettings,
    SystemSettings,
    check_run_settings,
    run_defaults,
)
from pipeline.runtime import store

RECORDED = ("data", "recipe", "preset", "weights", "fixes", "crop", "split", "held_out", "split_seed",
            "skip_bad_photos", "follow_links", "leave_out")  # fmt: skip
SCHEMA = 1
"""Of everything that a run leaves; run.json holds it."""
EVAL_FOLDER = "folder.json"
"""In the place of a folder given as EVAL: which folder that is."""
FOLD_FILES = ("settings.json", "weights.safetensors", "validation.csv")
"""What a finished fold stands on."""
BEGUN = ("*/fold*/settings.json", "compare*/settings.json")
"""Where a run has one of these, a training or a comparison has begun under its settings."""


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
        record = place / EVAL_FOLDER
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
        """The folds of a network whose predictions stand."""
        return {
            fold: folder
            for fold, folder in self.fold_folders(task).items()
            if (folder / "done" / "train.json").is_file()
        }


@dataclass(frozen=True)
class Fold:
    """One fold's work: where, with what settings, on which data (fingerprints by name)."""

    number: int
    folder: Path
    settings: dict[str, Any]
    inputs: dict[str, str]


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
        from pipeline.runtime.problems import Problems, check_folder, show

        check_folder(given.data, Problems(f"The data set {show(given.data)}"))
    with store.locked(folder / "run.lock", f"the run {folder}", wait=True):
        recorded = _recorded(path)
        unchosen = {"recipe": None, "preset": run_defaults(recorded | {"preset": None})["preset"]}
        usual = run_defaults(recorded) | unchosen
        chosen = {name: value for name, value in recorded.items() if value != usual.get(name)}
        chosen |= {name: value for name in RECORDED if (value := _plain(getattr(given, name))) is not None}
        settings = run_defaults(chosen) | chosen
        begun = any(any(folder.glob(made)) for made in BEGUN)
        for name in RECORDED:
            if begun and recorded and name != "follow_links" and not _same(name, settings[name], recorded[name]):
                raise UserError(
                    f"the run {folder} was trained with {name.replace('_', '-')} {recorded[name]}, not "
                    f"{settings[name]}; leave the setting out, or name another run with RUN=folder (--run)."
                )
        if begun and "data" in recorded:
            settings["data"] = recorded["data"]
        check_run_settings(settings["held_out"], settings["split"], settings["recipe"])
        folds, left_out = HELD_OUT[settings["held_out"]], settings["leave_out"]
        if left_out is not None and not 0 <= left_out < folds:
            raise UserError(f"--leave-out {left_out}: the folds are numbered from 0 to {folds - 1}.")
        if settings != recorded:
            store.write_json(path, settings | {"schema": SCHEMA})
    return Run(folder=folder, **(settings | {"data": Path(settings["data"])}))


def _recorded(path: Path) -> dict[str, Any]:
    """The settings in a run.json; none where there is no such file. Raises UserError for one of another schema."""
    if not path.is_file():
        return {}
    recorded = store.read_json(path)
    if recorded.pop("schema", None) != SCHEMA:
        raise UserError(
            f"the run {path.parent} was made by another version of face18, whose files this one does not read; name "
            f"another run with RUN=folder (--run), or move that folder away."
        )
    return recorded


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
