"""The words of a command line, for a stage: its settings, or one sentence about the first that cannot be.

Options, checks and help come from the declarations of a stage's settings; argparse takes the words apart.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from models.declared import Setting, declared
from models.errors import UserError, listed, nearest
from pipeline.run import recipes
from pipeline.run.folder import settings_under
from pipeline.run.given import Stage, settings_of
from pipeline.run.setting_rules import defaults
from pipeline.run.settings import NETWORKS, TASKS, RunSettings, RunStage
from pipeline.run.train_settings import TrainingSettings

STAGES = ("data", "prepare", "train", "predict", "calibrate", "submit", "score", "compare", "recipes")
SECTIONS = {
    "this stage": (),
    "the run": ("RunStage", "SystemStage", "EvalStage", "RunSettings"),
    "the network and its loss": ("ModelSettings",),
    "how it learns": ("TrainingSettings",),
    "how the work is done": ("WorkSettings",),
}
"""Headings of the help, and the classes whose settings stand beneath them; those of other classes are the stage's."""
METAVARS = {int: "N", float: "X", str: "WORD", Path: "PATH", dict: "JSON", bool: "{yes,no}"}


def stage_named(name: str) -> tuple[Callable[[Any], dict[str, Any]], type[Stage]]:
    """A stage's function and the dataclass of its settings."""
    function = getattr(import_module(f"pipeline.stages.{name}"), name)
    (settings,) = get_type_hints(function).keys() - {"return"}
    return function, get_type_hints(function)[settings]


def parse(name: str, words: list[str]) -> tuple[Callable[[Any], dict[str, Any]], Any]:
    """The stage's function and its settings; raises as `read` does."""
    function, kind = stage_named(name)
    return function, read(kind, words, name, inspect.getdoc(function) or "")


def read(kind: type[Stage], words: list[str], name: str, description: str = "") -> Any:
    """The settings that the words say.

    Raises UserError for a setting or value that cannot be, SystemExit after --help.
    """
    asked = bool({"-h", "--help"} & set(words))
    values, loose = _values(kind, name, [word for word in words if word not in ("-h", "--help")])
    if values.get("recipe") is not None:
        recipes.named(values["recipe"])
    if asked:
        _parser(kind, name, description, Defaults(kind, values, loose)).print_help()
        raise SystemExit(0)
    if "task" in declared(kind):
        if len(loose) != 1 or loose[0] not in NETWORKS:
            what = f"not {' '.join(loose)}" if loose else "and nothing was named"
            raise UserError(f"{name} trains one network: {listed(NETWORKS, 'or')}, {what}.")
        values["task"] = loose.pop()
    if loose:
        raise UserError(f"{name} does not know what to do with {loose[0]}; settings begin with two dashes.")
    return kind.of(**values)


def setting_of(option: str) -> str:
    """The field that an option stands for: --weight-decay=0.1 is weight_decay."""
    return option.partition("=")[0].removeprefix("--").replace("-", "_")


def alike(setting: str, known: Iterable[str]) -> str:
    """Which known options a mistyped one may mean, for a message; nothing where none is near."""
    return nearest(setting.replace("_", "-"), [name.replace("_", "-") for name in sorted(known)], before="--")


def _values(kind: type[Stage], name: str, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values said by name, and the words that are no option. Raises UserError for an option that there is not."""
    known = settings_of(kind)
    try:
        said, left = _parser(kind, name).parse_known_args(words)
    except argparse.ArgumentError as problem:
        option = str(problem.argument_name)
        if known[setting_of(option)].rules.flag:
            raise UserError(f"{option}: it takes no value; say {option} alone, or leave it out.") from None
        raise UserError(f"{option}: its value is missing.") from None
    for word in left:
        if word.startswith("--"):
            hint = alike(setting_of(word), known) or f"python -m pipeline {name} --help lists them"
            raise UserError(f"{name} has no setting {word.partition('=')[0]}; {hint}.")
    return vars(said), left


def _parser(
    kind: type[Stage], name: str, description: str = "", defaults: Defaults | None = None
) -> argparse.ArgumentParser:
    """The options of a stage; for its help with defaults, and without what the network asked about does not know."""
    parser = argparse.ArgumentParser(
        f"python -m pipeline {name}",
        usage=f"python -m pipeline {name}{' NETWORK' if 'task' in declared(kind) else ''} [settings]",
        description=description,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        exit_on_error=False,
    )
    sections = list(SECTIONS)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for one in sorted(settings_of(kind).values(), key=lambda one: sections.index(_section(one))):
        told = "" if defaults is None else defaults.told(one)
        if one.rules.positional and defaults is not None:
            parser.add_argument(one.name, choices=one.rules.choices, help=one.rules.help)
        if told is None or one.rules.positional:
            continue
        shape: dict[str, Any] = {"action": "store_true"}
        if not one.rules.flag:
            choices = "{" + ",".join(map(str, one.rules.choices)) + "}"
            shape = {"type": one.parse, "metavar": choices if one.rules.choices else METAVARS[one.kind]}
        title = _section(one)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        told = f"{one.rules.help}{told}".replace("%", "%%")
        groups[title].add_argument(one.option, dest=one.name, help=told, **shape)
    return parser


def _section(one: Setting) -> str:
    return next((title for title, owners in SECTIONS.items() if one.owner in owners), next(iter(SECTIONS)))


class Defaults:
    """What the help tells of a setting's range and default, under the run, recipe and preset that the words name."""

    def __init__(self, kind: type[Stage], values: dict[str, Any], loose: list[str]):
        self.networks = [word for word in loose if word in NETWORKS] or list(TASKS)
        self.named = self.networks == loose
        self.run = None
        if issubclass(kind, RunStage):
            mine = {name: value for name, value in values.items() if name in settings_of(RunStage)}
            self.run = settings_under(RunStage.of(**mine))

    def told(self, one: Setting) -> str | None:
        """In brackets; None where the network that is asked about does not know the setting."""
        if self.named and not any(map(one.known_by, self.networks)):
            return None
        default = self._default(one)
        pieces = [] if one.rules.choices or one.rules.flag or not one.allowed else [one.allowed]
        pieces += [f"default: {default}"] if default and not one.rules.flag else []
        return f" ({'; '.join(pieces)})" if pieces else ""

    def _default(self, one: Setting) -> str:
        if self.run is not None and one.name in declared(RunSettings):
            value = getattr(self.run, one.name)
            return one.rules.usual if value is None else one.said(value)
        if one.name in declared(TrainingSettings) and self.run is not None:
            networks = list(filter(one.known_by, self.networks)) or list(filter(one.known_by, NETWORKS))
            by = {task: one.said(getattr(defaults(self.run, task), one.name)) for task in networks}
            if len(set(by.values())) == 1:
                return by[networks[0]]
            return ", ".join(f"{task} {value}" for task, value in by.items())
        return one.rules.usual if one.default in (None, MISSING) else one.said(one.default)
