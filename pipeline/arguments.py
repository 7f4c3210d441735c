"""The words of a command line, for a stage: its settings, or one sentence about the first that cannot be.

Options, checks and help come from the declarations of a stage's settings; argparse takes the words apart.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from models.declared import Setting, declared
from models.errors import UserError, listed, nearest
from pipeline.run import recipes
from pipeline.run.given import Stage, settings_of
from pipeline.run.settings import NETWORKS
from pipeline.runtime.spoken import called, in_its_words
from pipeline.told_defaults import SECTIONS, Defaults, section_of

STAGES = (
    "data",
    "prepare",
    "train",
    "commands",
    "predict",
    "calibrate",
    "submit",
    "score",
    "count",
    "label",
    "serve",
    "report",
    "export",
    "compare",
    "recipes",
    "tune",
)
NAMED = {"train": " NETWORK", "label": " PHOTO..."}
"""What a stage is told without an option's name."""
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
    several = next((one.name for one in declared(kind).values() if one.kind is tuple), None)
    words, after = (
        (words[: words.index("--")], words[words.index("--") + 1 :]) if several and "--" in words else (words, [])
    )
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
    if several:
        values[several], loose = (*loose, *after), []
    if loose:
        way = (
            "put a pattern in quotes, as --eval 'shards/*.tar'"
            if "eval" in values
            else "settings begin with two dashes"
        )
        raise UserError(f"{name} does not know what to do with {loose[0]}; {way}.")
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
        said, left = _parser(kind, name).parse_known_args(_joined(words, known))
    except argparse.ArgumentError as problem:
        option = str(problem.argument_name)
        if known[setting_of(option)].rules.flag:
            raise UserError(f"{option}: it takes no value; say {option} alone, or leave it out.") from None
        raise UserError(f"{option}: its value is missing.") from None
    for word in left:
        if word.startswith("--"):
            hint = (
                alike(setting_of(word), [one.name for one in known.values() if not one.rules.positional])
                or f"{called()} {name} --help lists them"
            )
            raise UserError(f"{name} has no setting {word.partition('=')[0]}; {hint}.")
    return vars(said), left


def _joined(words: Sequence[str], known: Mapping[str, Setting]) -> list[str]:
    """The words, each option with its value in one: argparse takes a value that begins with a dash for an option."""
    joined, left = [], list(words)
    while left:
        word = left.pop(0)
        one = known.get(setting_of(word)) if word.startswith("--") and "=" not in word else None
        takes_value = one is not None and not one.rules.flag and not one.rules.positional
        if takes_value and left and not left[0].startswith("--"):
            word = f"{word}={left.pop(0)}"
        joined.append(word)
    return joined


def _parser(
    kind: type[Stage], name: str, description: str = "", defaults: Defaults | None = None
) -> argparse.ArgumentParser:
    """The options of a stage; for its help with defaults, and without what the network asked about does not know."""
    parser = argparse.ArgumentParser(
        f"{called()} {name}",
        usage=f"{called()} {name}{NAMED.get(name, '')} [settings]",
        description=description,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=defaults is not None,
        exit_on_error=False,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for one in sorted(settings_of(kind).values(), key=lambda one: list(SECTIONS).index(section_of(one))):
        told = "" if defaults is None else defaults.told(one)
        if one.rules.positional and defaults is not None:
            many = {"nargs": "*"} if one.kind is tuple else {"choices": one.rules.choices}
            parser.add_argument(one.name, help=one.rules.help, **many)
        if told is None or one.rules.positional:
            continue
        shape: dict[str, Any] = {"action": "store_true"}
        if not one.rules.flag:
            choices = "{" + ",".join(map(str, one.rules.choices)) + "}"
            shape = {"type": one.parse, "metavar": choices if one.rules.choices else METAVARS[one.kind]}
        title = section_of(one)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        told = in_its_words(f"{one.rules.help}{told}").replace("%", "%%")
        groups[title].add_argument(one.option, dest=one.name, help=told, **shape)
    return parser
