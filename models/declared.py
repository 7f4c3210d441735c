"""A setting is declared once, as a dataclass field: its type, range or choices, default, help, and who knows it.

From the declaration come the check of a value, its JSON, the command line, the help and the table of the guide.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from inspect import get_annotations
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from models.errors import UserError, listed, nearest

Value = bool | int | float | str | Path | Mapping[str, Any] | tuple[str, ...] | None
"""What a setting may be; a mapping is a JSON object."""
NUMBERS = {int: "a whole number", float: "a number"}
YES_OR_NO = {"yes": True, "no": False}


@dataclass(frozen=True)
class Rules:
    """What a declaration says beside a field's name, type and default; see `setting`."""

    help: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: Sequence[str | float] = ()
    networks: Sequence[str] = ()
    flag: bool = False
    positional: bool = False
    usual: str = ""


def setting(help: str, default: Any = MISSING, **rules: Any) -> Any:
    """The dataclass field of a setting.

    help: a sentence or two, without the range, the choices and the default. default: none where a preset decides.
    rules: `least`, `above`, `most` of a number; `choices`; `networks` that know it (default: all); `flag`: on the
    command line it takes no value; `positional`: it is said without its name;
    `usual`: what a default of None amounts to, in words.
    """
    return dataclasses.field(default=default, metadata={"rules": Rules(help, **rules)})


@dataclass(frozen=True)
class Setting:
    """A declared setting."""

    name: str
    kind: type
    """bool, int, float, str, Path, dict for a JSON object, or tuple for words that are said without a name."""
    default: Any
    """MISSING where a preset decides."""
    may_be_none: bool
    rules: Rules
    owner: str
    """The class that declares it."""

    @property
    def option(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def known_by(self, network: str) -> bool:
        return not self.rules.networks or network in self.rules.networks

    @property
    def allowed(self) -> str:
        """The range or the choices, as in "it must be ..."; empty where anything goes."""
        rules = self.rules
        if rules.choices:
            return f"one of {listed([_shown(choice) for choice in rules.choices], 'or')}"
        if rules.above is not None:
            return f"above {rules.above:g}" + ("" if rules.most is None else f" and at most {rules.most:g}")
        if rules.least is not None:
            return f"{rules.least} or more" if rules.most is None else f"from {rules.least} to {rules.most}"
        return ""

    def check(self, value: Value) -> None:
        """Raises UserError for a value of another type, out of the range, or none of the choices."""
        if value is None and self.may_be_none:
            return
        rules, told = self.rules, f"{self.option} {_shown(value)}"
        if not _is_of(value, self.kind):
            raise UserError(f"{told}: it must be {NUMBERS.get(self.kind, f'of type {self.kind.__name__}')}.")
        if rules.choices and value not in rules.choices:
            near = nearest(str(value), [choice for choice in rules.choices if isinstance(choice, str)])
            raise UserError(f"{told}: it must be {self.allowed}{f'; {near}' if near else ''}.")
        if self.kind in NUMBERS and not _fits(value, rules):
            raise UserError(f"{told}: it must be {self.allowed or 'finite'}.")

    def parse(self, text: str) -> Value:
        """The value that a word of the command line stands for, `~` made the home folder; raises as `check` does."""
        value: Value = text
        if self.kind is bool:
            if text not in YES_OR_NO:
                raise UserError(f"{self.option} {text}: say yes or no.")
            value = YES_OR_NO[text]
        elif self.kind in NUMBERS:
            try:
                value = self.kind(text)
            except ValueError:
                raise UserError(f"{self.option} {text}: it must be {NUMBERS[self.kind]}.") from None
        elif self.kind is dict:
            try:
                value = json.loads(text, parse_constant=_refuse_constant)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise UserError(f"{self.option} {text[:200]}: it must be a JSON object.")
        else:
            value = self.kind(os.path.expanduser(text))
        self.check(value)
        return value

    def words(self, value: Value) -> list[str]:
        """How the command line says a value; no words for one that is not said."""
        if value is None or (self.rules.flag and value is False):
            return []
        if self.kind is tuple:
            return list(value)
        if self.rules.flag or self.rules.positional:
            return [self.option if self.rules.flag else self.said(value)]
        return [self.option, self.said(value)]

    def said(self, value: Value) -> str:
        """A value as a word that `parse` reads."""
        if self.kind is bool:
            return "yes" if value else "no"
        return json.dumps(value) if self.kind is dict else _shown(value)


class Settings:
    """A frozen dataclass of declared settings, each checked as one is made: UserError as `Setting.check` raises it."""

    def __post_init__(self) -> None:
        for name, one in declared(type(self)).items():
            one.check(getattr(self, name))

    def __or__(self, others: Mapping[str, Any]) -> Self:
        """These settings, but for the others given."""
        return dataclasses.replace(self, **others)

    def as_json(self, network: str | None = None) -> dict[str, Any]:
        """The values for a JSON file, of a network those that it knows."""
        known = {name: one for name, one in declared(type(self)).items() if network is None or one.known_by(network)}
        values = {name: getattr(self, name) for name in known}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], file: Path, network: str | None = None) -> Self:
        """The settings that `as_json` wrote to a file.

        Raises UserError, naming the file, where it holds others, lacks some, or holds what no setting can be.
        """
        known = declared(cls)
        if not isinstance(values, Mapping):
            raise UserError(f"{file} holds no settings; the file was changed, or is of another version.")
        lacking = [name for name, one in known.items() if name not in values and (not network or one.known_by(network))]
        if lacking:
            raise UserError(f"{file} lacks the setting {lacking[0]}; the file was changed, or is of another version.")
        strange = sorted(values.keys() - known.keys())
        if strange:
            raise UserError(
                f"{file}: there is no setting {strange[0]}; the file was changed, or is of another version."
            )
        paths = {
            name: Path(value) for name, value in values.items() if known[name].kind is Path and isinstance(value, str)
        }
        try:
            return cls(**(dict(values) | paths))
        except UserError as problem:
            raise UserError(f"{file}: {problem}") from None


@cache
def declared(kind: type) -> dict[str, Setting]:
    """The settings of a dataclass by name; fields that declare none are left out."""
    hints, found = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        if "rules" in field.metadata:
            types = get_args(hints[field.name]) if isinstance(hints[field.name], UnionType) else (hints[field.name],)
            plain = {Mapping: dict, tuple: tuple}.get(get_origin(types[0]), types[0])
            owner = next(base for base in kind.__mro__ if field.name in get_annotations(base))
            found[field.name] = Setting(
                field.name, plain, field.default, NoneType in types, field.metadata["rules"], owner.__name__
            )
    return found


def _is_of(value: Value, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind is float else isinstance(value, Mapping if kind is dict else kind)


def _fits(value: float, rules: Rules) -> bool:
    low = -math.inf if rules.least is None else rules.least
    high = math.inf if rules.most is None else rules.most
    finite = isinstance(value, int) or math.isfinite(value)
    return finite and low <= value <= high and (rules.above is None or value > rules.above)


def _shown(value: Value) -> str:
    """As short as it stays exact."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value or value != value else repr(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
