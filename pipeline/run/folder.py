"""A run folder: the settings that concern the whole run, and where its files lie.

The first stage of a run writes `run.json`. From then on a setting that is not given means the recorded one, and one
that is given must be the recorded one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from models.declared import declared
from models.errors import UserError, listed
from pipeline.run import recipes
from pipeline.run.eval_place import names_of
from pipeline.run.fold_records import SETTINGS, FinishedFold, is_finished
from pipeline.run.given import Given
from pipeline.run.settings import (
    DRAWN,
    HELD_OUT,
    PRESETS,
    RECORDED,
    STARTS,
    EvalStage,
    RunSettings,
    RunStage,
    SystemStage,
)
from pipeline.runtime import store
from pipeline.runtime.gpu import has_gpu
from pipeline.runtime.problems import show
from pipeline.runtime.spoken import in_its_words

RECORD = "run.json"
SCHEMA = 5
"""Of everything that a run leaves; run.json holds it."""
EVAL_FOLDER = "folder.json"
"""In the place of photos given as EVAL: which folder, list, tar or pattern of tars that is."""
NOT_LEARNED = ("follow_links", "allow_duplicates", "face_model")
"""Settings that may change after a training has begun; which faces are found is compared where they are."""
BEGUN = (f"*/fold*/{SETTINGS}", "compare*/settings.json")
"""Where a run has one of these, a training or a comparison has begun under its settings."""


@dataclass(frozen=True, kw_only=True)
class Run(RunSettings):
    """A run's folder and its settings, resolved."""

    folder: Path

    @property
    def folds(self) -> int:
        """How many folds the people (or photos) are split into."""
        return HELD_OUT[self.held_out]

    @property
    def usual_system(self) -> str:
        """The recipe's system, or the specialists."""
        return "specialists" if self.recipe is None else recipes.named(self.recipe).system

    def system(self, given: SystemStage) -> str:
        """The system that is asked for."""
        return given.system or self.usual_system

    def home(self, system: str) -> Path:
        """The folder of a system: the specialists' is the run's own."""
        return self.folder if system == "specialists" else self.folder / system

    def place(self, given: EvalStage) -> Path:
        """Where predictions, combiner and submission go; folders of the same name have places of their own."""
        home = self.home(self.system(given))
        if given.eval is None:
            return home
        source = given.eval.resolve()
        ends = ("", f"-{store.fingerprint(str(source))[:6]}")
        places = [home / f"eval-{name}{end}" for name in names_of(given.eval) for end in ends]
        records = {place: place / EVAL_FOLDER for place in places}
        whose = {place: store.read_json(one)["folder"] for place, one in records.items() if one.is_file()}
        own = next((place for place in places if whose.get(place) == str(source)), None)
        return own or places[places[0] in whose]

    def fold_folders(self, task: str) -> dict[int, Path]:
        """The folds of a network that have a folder, finished or not."""
        found = {}
        for folder in (self.folder / task).glob("fold*"):
            number = whole_number(folder.name.removeprefix("fold"))
            if number is not None:
                found[number] = folder
        return dict(sorted(found.items()))

    def finished(self, task: str) -> dict[int, FinishedFold]:
        """The folds of a network whose predictions stand, as they are recorded: read here, and handed on."""
        folders = self.fold_folders(task)
        return {fold: FinishedFold.read(folder) for fold, folder in folders.items() if is_finished(folder)}


def open_run(given: RunStage, *, make: bool = True) -> Run:
    """The run these settings name; writes its run.json where there is none and `make`.

    Until a specialist has begun, settings may still change, and what was recorded without being given follows the
    preset and the recipe. Raises UserError when a given setting differs from the recorded one after that, for one
    that cannot be, and when there is no such run and not `make`.
    """
    if "recipe" in given.shared:
        recipes.named(given.shared["recipe"])
    folder = given.run or _default_folder(given.shared)
    path = folder / RECORD
    if not make and not path.is_file():
        raise UserError(f"there is no run {folder} yet; train it first (make train-mask train-gender train-age).")
    if "data" in given.shared and not path.is_file():
        from pipeline.runtime.problems import Problems, check_folder

        check_folder(given.shared["data"], Problems(f"The data set {show(given.shared['data'])}"))
    if "weights" in given.shared and not path.is_file():  # now, not after all photos are decoded
        _check_weights_folder(given.shared["weights"])
    if "extra" in given.shared and not path.is_file():
        _check_extra(RunSettings(extra=given.shared["extra"], data=given.shared.get("data", DRAWN)))
    with store.locked(folder / "run.lock", f"the run {folder}", wait=True):
        recorded = _recorded(path)
        begun = recorded is not None and has_begun(folder)
        settings = _settled(recorded, given.shared)
        if begun:
            _check_recorded(folder, recorded, settings)
            kept = ("data", "weights", "extra", "face_model")
            settings = replace(settings, **{name: getattr(recorded, name) for name in kept})
        if not begun:  # what comes after training needs none of them
            _check_extra(settings)
        folds, left_out = HELD_OUT[settings.held_out], settings.leave_out
        if left_out is not None and not 0 <= left_out < folds:
            raise UserError(f"--leave-out {left_out}: the folds are numbered from 0 to {folds - 1}.")
        if settings != recorded:
            store.write_json(path, settings.as_json() | {"schema": SCHEMA})
            if recorded is None and not _same(settings.data, DRAWN) and not given.shared.keys() & {"preset", "recipe"}:
                # Make reads what a stage prints.
                print(f"face18: {folder}: {in_its_words(preset_told(settings.preset))}", file=sys.stderr, flush=True)
    if "face_model" in given.shared:  # for this call: where a file lies is no property of a run that has begun
        settings = replace(settings, face_model=given.shared["face_model"])
    return Run(folder=folder, **{name: getattr(settings, name) for name in RECORDED})


def _check_weights_folder(weights: str) -> None:
    """Raises UserError for weights that are neither a word nor a folder."""
    if weights not in STARTS and not os.path.isdir(weights):
        what = "it is a file" if os.path.lexists(weights) else "there is no such folder"
        raise UserError(
            f"--weights {weights}: {what}; give {listed(STARTS, 'or')}, a run's folder, or one with <timm "
            f"name>.safetensors files."
        )


def _check_extra(settings: RunSettings) -> None:
    """Raises UserError for extra sets that are no folders."""
    for folder in settings.extra_folders:
        if not folder.is_dir():
            what = "is a file" if os.path.lexists(folder) else "is not there"
            raise UserError(
                f"--extra {settings.extra}: {folder} {what}; give folders with commas between them, or none."
            )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / RECORD).is_file()


def recorded_run(folder: Path) -> Run:
    """The run of a folder that is one, as it is recorded; nothing is written. Raises UserError for another schema."""
    recorded = _recorded(folder / RECORD)
    return Run(folder=folder, **{name: getattr(recorded, name) for name in RECORDED})


def settings_under(given: RunStage) -> RunSettings:
    """The settings of the run that is named, or of a new one: nothing is checked against trainings, nothing written."""
    folder = given.run or (_default_folder(given.shared) if "data" in given.shared else None)
    return _settled(_recorded(folder / RECORD) if folder else None, given.shared)


def usual_settings(recipe: str | None = None, data: Path = DRAWN) -> RunSettings:
    """What a run has beneath the settings given: the recipe's values where it has them, else ours."""
    of_recipe = Given(RunSettings) if recipe is None else recipes.named(recipe).run
    return RunSettings(recipe=recipe, data=data, preset=usual_preset(data)) | of_recipe


def usual_preset(data: Path) -> str:
    """The preset for a data set where none is named: drawn people are there to try the pipeline on, in minutes."""
    if _same(data, DRAWN):
        return declared(RunSettings)["preset"].default
    return "base" if has_gpu() else "lite"


def preset_told(preset: str) -> str:
    """A preset that nobody named, with the way to the others."""
    if preset == "base":
        return (
            "preset base, as there is a GPU here (its weights are downloaded; PRESET=lite brings its own, PRESET=small "
            "is to try things, PRESET=large is slower)"
        )
    return (
        "preset lite, as there is no GPU here (its pretrained weights are installed; PRESET=small is to try things, "
        "PRESET=base and large download theirs and want a GPU)"
    )


def _settled(recorded: RunSettings | None, given: Given[RunSettings]) -> RunSettings:
    """The recorded settings that had been chosen, those given, and the usual ones beneath both."""
    chosen = given
    if recorded is not None:
        unchosen = usual_settings(recorded.recipe, recorded.data) | {"recipe": None, "data": DRAWN}
        kept = {name: getattr(recorded, name) for name in RECORDED}
        chosen = Given(RunSettings, **{n: v for n, v in kept.items() if v != getattr(unchosen, n)}) | given
    return usual_settings(chosen.get("recipe"), chosen.get("data", DRAWN)) | chosen


def _check_recorded(folder: Path, recorded: RunSettings, settings: RunSettings) -> None:
    """Raises UserError where a run that has begun would go on with other settings."""
    for name in RECORDED:
        then, now = getattr(recorded, name), getattr(settings, name)
        is_folder = name == "data" or (name == "weights" and not {then, now} & {*STARTS})
        same = _same(then, now) if is_folder else then == now
        if name == "extra":
            same = list(map(os.path.realpath, recorded.extra_folders)) == list(
                map(os.path.realpath, settings.extra_folders)
            )
        if not same and name not in NOT_LEARNED:
            raise UserError(
                f"the run {folder} was trained with {name.replace('_', '-')} {_said(then)}, not {_said(now)}; leave "
                f"the setting out, or name another run with RUN=folder (--run)."
            )


def _said(value: object) -> object:
    """A setting's value as a user says it."""
    return "none" if value is None else value


def _recorded(path: Path) -> RunSettings | None:
    """The settings in a run.json; None where there is no such file. Raises UserError for one of another schema."""
    if not path.is_file():
        return None
    recorded = store.read_json(path)
    if recorded.pop("schema", None) != SCHEMA:
        raise UserError(
            f"the run {path.parent} was made by another version of face18, whose files this one does not read; name "
            f"another run with RUN=folder (--run), or move that folder away."
        )
    if recorded.get("recipe") is not None:
        recipes.named(recorded["recipe"])
    return RunSettings.from_json(recorded, path)


def _default_folder(given: Given[RunSettings]) -> Path:
    """The folder of a run that is named by its data set and its recipe or preset, or by its data set alone.

    Runs that have begun stand before those that were only set up, as by a preset whose weights cannot be had. Raises
    UserError where a data set has several runs, and nothing says which.
    """
    data = given.get("data", DRAWN)
    named = {name: Path("runs") / f"{data.resolve().name}-{name}" for name in PRESETS}
    word = given.get("recipe") or given.get("preset")
    if word is not None:
        return Path("runs") / f"{data.resolve().name}-{word}"
    if not _same(data, DRAWN):
        standing = [name for name, folder in named.items() if _uses(folder / RECORD, data)]
        standing = [name for name in standing if has_begun(named[name])] or standing
        if len(standing) > 1:
            raise UserError(
                f"there are {len(standing)} runs of {show(data)}, with the presets {listed(standing)}; say which is "
                f"meant: PRESET={standing[0]} (--preset), or RUN=folder (--run)."
            )
        if standing:
            return named[standing[0]]
    return named[usual_preset(data)]


def has_begun(folder: Path) -> bool:
    """Whether a training or a comparison has begun in a run."""
    return any(any(folder.glob(made)) for made in BEGUN)


def _uses(path: Path, data: Path) -> bool:
    """Whether a run.json is there and is of a data set."""
    return path.is_file() and _same(store.read_json(path).get("data", ""), data)


def _same(one: Path | str, other: Path | str) -> bool:
    """Whether two names are of the same folder."""
    return os.path.realpath(one) == os.path.realpath(other)


def whole_number(text: str) -> int | None:
    """The number of a text of digits; None for any other, such as a superscript, which `int` would refuse."""
    return int(text) if text.isascii() and text.isdigit() else None
