"""The words of a command line, for a stage: its settings, or one sentence about the first that cannot be.

tyro makes the settings and the help out of a stage's dataclass. What it would refuse is refused before it, because it
answers with a box of alternatives; what values a stage can take, its dataclass tells as it is made.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from models.errors import UserError, listed, nearest, unknown
from pipeline.run import presets

STAGES = ("data", "prepare", "train", "predict", "calibrate", "submit", "score", "compare", "recipes")


def stage_named(name: str) -> tuple[Callable[[Any], dict[str, Any]], type]:
    """A stage's function and the dataclass of its settings."""
    function = getattr(import_module(f"pipeline.stages.{name}"), name)
    (settings,) = get_type_hints(function, include_extras=True).keys() - {"return"}
    return function, get_type_hints(function)[settings]


def parse(name: str, words: list[str]) -> tuple[Callable[[Any], dict[str, Any]], Any]:
    """The stage's function and its settings; raises as `read` does."""
    function, kind = stage_named(name)
    return function, read(kind, words, name, inspect.getdoc(function))


def read(kind: type, words: list[str], name: str, description: str | None = None) -> Any:
    """The settings of a dataclass, `~` in paths made the home folder.

    Raises UserError for a setting or value that cannot be, SystemExit after --help.
    """
    import tyro

    if not {"-h", "--help"} & set(words):
        _refuse(name, kind, words)
    given = tyro.cli(
        kind, args=words, prog=f"python -m pipeline {name}", description=description,
        config=(tyro.conf.FlagCreatePairsOff,), console_outputs=True,
    )  # fmt: skip
    return replace(given, **_at_home(given))


def setting_of(option: str) -> str:
    """The field that an option stands for: --weight-decay=0.1 is weight_decay."""
    return option.partition("=")[0].removeprefix("--").replace("-", "_")


def settings_of(name: str) -> set[str]:
    """The settings that a stage knows."""
    return {field.name for field in fields(stage_named(name)[1])}


def alike(setting: str, known: Iterable[str]) -> str:
    """Which known options a mistyped one may mean, for a message; nothing where none is near."""
    return nearest(setting.replace("_", "-"), [name.replace("_", "-") for name in sorted(known)], before="--")


def _refuse(name: str, kind: type, words: list[str]) -> None:
    """Raises UserError for a setting that there is not, a value that is missing or of another kind, a word too many."""
    hints = get_type_hints(kind)
    task = hints.pop("task", None)
    loose, left = [], list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            loose.append(word)
            continue
        option, has_value, value = word.partition("=")
        setting = setting_of(option)
        if setting not in hints:
            hint = alike(setting, hints) or f"python -m pipeline {name} --help lists them"
            raise UserError(f"{name} has no setting {option}; {hint}.")
        if hints[setting] is bool:
            if has_value:
                raise UserError(f"{word}: it takes no value; say {option} alone, or leave it out.")
            continue
        if not has_value:
            if not left or left[0].startswith("--"):
                raise UserError(f"{option}: its value is missing.")
            value = left.pop(0)
        _refuse_value(option, value, hints[setting])
    if task is not None and (len(loose) != 1 or loose[0] not in presets.NETWORKS):
        what = f"not {' '.join(loose)}" if loose else "and nothing was named"
        raise UserError(f"{name} trains one network: {listed(presets.NETWORKS, 'or')}, {what}.")
    if task is None and loose:
        raise UserError(f"{name} does not know what to do with {loose[0]}; settings begin with two dashes.")


def _refuse_value(option: str, value: str, hint: Any) -> None:
    kinds = get_args(hint) or (hint,)
    numbers = {int: "a whole number", float: "a number"}
    for kind in kinds:
        if kind in numbers:
            try:
                kind(value)
            except ValueError:
                raise UserError(f"{option} {value}: it must be {numbers[kind]}.") from None
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise unknown(option.removeprefix("--"), value, get_args(kind))


def _at_home(given: Any) -> dict[str, Any]:
    """The paths given that begin with ~, which not every shell expands in DATA=~/photos."""
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    paths = {name: value for name, value in values.items() if isinstance(value, str | Path)}
    return {name: type(value)(os.path.expanduser(value)) for name, value in paths.items() if str(value).startswith("~")}
