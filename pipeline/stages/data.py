"""python -m pipeline data: draw people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import store
from pipeline.runs import DRAWN, MaybeNumber, MaybePath, MaybeWhole, given_settings


@dataclass(frozen=True, kw_only=True)
class Data:
    folder: Path = DRAWN
    """Where the drawn data set goes."""
    run: MaybePath = None
    """Draw nothing where this run uses other photos."""
    people: MaybeWhole = None
    """Train people (default: 400)."""
    eval_people: MaybeWhole = None
    """Eval people (default: 150)."""
    seed: MaybeWhole = None
    """Another seed draws other people (default: 0)."""
    difficulty: MaybeNumber = None
    """How much the signs of gender and age overlap (default: 1)."""


def data(settings: Data) -> dict[str, Any]:
    """Draw a data set of people in the contest's layout, to try the pipeline without photos."""
    given = given_settings(settings)
    folder, run = given.pop("folder"), given.pop("run", None)
    if run is not None and (run / "run.json").is_file():
        used = store.read_json(run / "run.json")["data"]
        if os.path.realpath(used) != os.path.realpath(folder):
            print(f"data: {run} uses {used}")
            return {}
    made = folder.with_name(f"{folder.name}.json")
    if folder.is_dir() and made.is_file():
        recorded = store.read_json(made)
        if all(recorded["settings"].get(name) == value for name, value in given.items()):
            print(f"data: {folder} is already drawn")
            return recorded["figures"]
    from pipeline import drawn
    from pipeline.progress import Progress

    people = {"people": 400, "eval_people": 150, "seed": 0, "difficulty": 1.0} | given
    with Progress("data", people["people"] + people["eval_people"], "people") as progress:
        figures = drawn.draw(folder, **people, progress=lambda done, _: progress.advance(done - progress.done))
    store.write_json(made, {"settings": people, "figures": figures})
    print(f"data: drew {people['people']} train and {people['eval_people']} eval people in {folder}")
    return figures
