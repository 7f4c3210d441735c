"""What help and guide tell of the settings: their headings, ranges and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from models.declared import NUMBERS, Setting, declared
from models.settings import ModelSettings
from pipeline.run.folder import settings_under
from pipeline.run.given import Stage, settings_of
from pipeline.run.setting_rules import defaults
from pipeline.run.settings import NETWORKS, TASKS, EvalStage, RunSettings, RunStage, SystemStage
from pipeline.run.train_settings import Train, TrainingSettings, WorkSettings

OWN = "this stage"
SECTIONS = {
    OWN: (),
    "the run": (RunStage, SystemStage, EvalStage, RunSettings),
    "the network and its loss": (ModelSettings,),
    "how it learns": (TrainingSettings,),
    "how the work is done": (WorkSettings,),
}
"""Headings of the help, and the classes whose settings stand beneath them; those of other classes are the stage's."""
KINDS = NUMBERS | {str: "text", Path: "a path", dict: "a JSON object", tuple: "words", bool: "yes or no"}


def section_of(one: Setting) -> str:
    """The heading over a setting."""
    return next(
        (title for title, owners in SECTIONS.items() if one.owner in [owner.__name__ for owner in owners]),
        next(iter(SECTIONS)),
    )


class Defaults:
    """What the help tells of a setting's range and default, under the run, recipe and preset that the words name."""

    def __init__(self, kind: type[Stage], values: Mapping[str, Any], loose: Sequence[str]):
        self.networks = [word for word in loose if word in NETWORKS] or list(TASKS)
        self.named = self.networks == list(loose)
        self.run = None
        if issubclass(kind, RunStage):
            mine = {name: value for name, value in values.items() if name in settings_of(RunStage)}
            self.run = settings_under(RunStage.of(**mine))

    def told(self, one: Setting) -> str | None:
        """In brackets; None where the network that is asked about does not know the setting."""
        if self.named and not any(map(one.known_by, self.networks)):
            return None
        default = self.default(one)
        pieces = [] if one.rules.choices or one.rules.flag or not one.allowed else [one.allowed]
        pieces += [f"default: {default}"] if default and not one.rules.flag else []
        return f" ({'; '.join(pieces)})" if pieces else ""

    def default(self, one: Setting) -> str:
        """In words; empty where there is none."""
        if self.run is not None and one == declared(RunSettings).get(one.name):  # tune has a preset of its own
            value = getattr(self.run, one.name)
            return one.rules.usual if value is None else one.said(value)
        if one.name in declared(TrainingSettings) and self.run is not None:
            networks = list(filter(one.known_by, self.networks)) or list(filter(one.known_by, NETWORKS))
            by = {task: one.said(getattr(defaults(self.run, task), one.name)) for task in networks}
            if len(by) == len(self.networks) and len(set(by.values())) == 1:
                return by[networks[0]]
            return ", ".join(f"{task} {value}" for task, value in by.items())
        return one.rules.usual if one.default in (None, MISSING) else one.said(one.default)


def settings_table(stages: Mapping[str, type[Stage]]) -> str:
    """All settings of all stages in Markdown, each once, under its heading; defaults are those of the preset small."""
    found: dict[str, dict[str, Setting]] = {}
    for name, kind in stages.items():
        for one in settings_of(kind).values():
            title = section_of(one)
            found.setdefault(name if title == OWN else title, {})[one.name] = one
    order = [*list(SECTIONS)[1:], *(name for name in stages if name in found)]
    return "\n\n".join(f"### {title.capitalize()}\n{_rows(found[title].values())}" for title in order)


def _rows(settings: Iterable[Setting]) -> str:
    told = Defaults(Train, {}, ())
    lines = ["| setting | it is | default | what it does |", "|---|---|---|---|"]
    for one in settings:
        name = one.name if one.rules.positional else one.option
        kind = "said alone" if one.rules.flag else one.allowed or KINDS[one.kind]
        default = "" if one.rules.flag or one.rules.positional else one.rules.usual or told.default(one)
        lines.append(f"| `{name}` | {kind} | {default} | {one.rules.help} |".replace("  ", " "))
    return "\n".join(lines)
