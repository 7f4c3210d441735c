"""python -m pipeline data: draw people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.declared import Settings, setting
from models.errors import UserError
from pipeline.run.folder import settings_under
from pipeline.run.given import Given, Stage, some_of
from pipeline.run.settings import DRAWN, RunStage
from pipeline.runtime import store


@dataclass(frozen=True, kw_only=True)
class PeopleSettings(Settings):
    """Which people are drawn."""

    people: int = setting("Train people.", 400, least=10)
    eval_people: int = setting("Eval people.", 150, least=10)
    seed: int = setting("Another seed draws other people.", 0, least=0)
    difficulty: float = setting("How much the signs of gender and age overlap.", 1.0, least=0, most=3)


@dataclass(frozen=True, kw_only=True)
class Data(Stage):
    """What the stage data is told."""

    folder: Path = setting("Where the drawn data set goes.", DRAWN)
    run: Path | None = setting("Draw nothing where this run uses other photos.", None, usual="none")
    drawn: Given[PeopleSettings] = some_of(PeopleSettings)

    def __post_init__(self) -> None:
        """Raises UserError for a folder that nothing can be drawn into."""
        super().__post_init__()
        if self.folder.name in ("", ".."):
            raise UserError(f"--folder {self.folder}: it needs a name of its own, like {DRAWN}.")


def data(settings: Data) -> dict[str, Any]:
    """Draw a data set of people in the contest's layout, to try the pipeline without photos."""
    given, folder, run = settings.drawn, settings.folder, settings.run
    if run is not None and (run / "run.json").is_file():
        used = settings_under(RunStage(run=run)).data
        if os.path.realpath(used) != os.path.realpath(folder):
            print(f"data: {run} uses {used}")
            return {}
    stands = _drawn(folder, given)
    if stands is not None:  # looked for without the lock too: what stands may lie where nothing can be written
        return stands
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name another folder.") from error
    with store.locked(folder.with_name(f".{folder.name}.lock"), f"drawing {folder}", wait=True):
        stands = _drawn(folder, given)
        return _draw(folder, given) if stands is None else stands


def _record(folder: Path) -> Path:
    """Where it stands what was drawn into a folder: beside it, because the folder is a data set like any other."""
    return folder.with_name(f"{folder.name}.json")


def _drawn(folder: Path, given: Given[PeopleSettings]) -> dict[str, Any] | None:
    """The counts of a folder that is drawn already, with the settings given; else None."""
    if not (folder.is_dir() and _record(folder).is_file()):
        return None
    recorded = store.read_json(_record(folder))
    if "counts" not in recorded:
        raise UserError(
            f"{_record(folder)} was written by another version of face18; remove it and {folder}, and people are drawn "
            f"anew."
        )
    if any(recorded["settings"].get(name) != value for name, value in given.items()):
        return None
    print(f"data: {folder} is already drawn")
    return recorded["counts"]


def _draw(folder: Path, given: Given[PeopleSettings]) -> dict[str, Any]:
    from pipeline.runtime.progress import Progress
    from pipeline.synthetic import data_set

    people = PeopleSettings() | given
    data_set.sweep(folder)
    with Progress("data", people.people + people.eval_people, "people") as progress:
        drawn = data_set.draw(
            folder,
            **people.as_json(),
            progress=lambda done, _: progress.advance(done - progress.done),
            # Before the folder appears: a folder without its record would be taken for somebody else's.
            ready=lambda counts: store.write_json(_record(folder), {"settings": people.as_json(), "counts": counts}),
        )
    print(f"data: drew {people.people} train and {people.eval_people} eval people in {folder}")
    return drawn
