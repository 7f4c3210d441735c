"""python -m pipeline recipes: the systems of the notes that RECIPE=name rebuilds."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from pipeline.run.given import Given, Stage
from pipeline.run.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Recipes(Stage):
    """What the stage recipes is told: nothing."""


WIDTH, INDENT = 118, 35
"""Of the table, and of the settings in it."""


def recipes(settings: Recipes) -> dict[str, Any]:
    """List the systems of the notes, each with its settings and what its team saw."""
    print(f"{'RECIPE=':<22}{'system':<13}what the notes saw, and the settings that are not the base preset's")
    told = {}
    for name, recipe in RECIPES.items():
        print(f"{name:<22}{recipe.system:<13}{recipe.saw}")
        for table in (recipe.run, *recipe.settings.values()):
            print("\n".join(_lines(table)))
        settings_by_task = {task: dict(given) for task, given in recipe.settings.items()}
        told[name] = {"system": recipe.system, "saw": recipe.saw, "settings": settings_by_task, "run": dict(recipe.run)}
    return told


def _lines(settings: Given) -> list[str]:
    """Settings as the command line takes them; those that are empty are left out."""
    words = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if value != {})
    indent = " " * INDENT
    return wrap(words, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
