"""python -m pipeline compare: the specialists and their rivals, trained at the same cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed, nearest
from pipeline.comparison.settings import ComparisonSettings, check, chosen
from pipeline.dataset.run_data import data_of
from pipeline.run import records
from pipeline.run.folder import Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.settings import RECORDED, EvalStage, RunSettings, RunStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.report import DRAWINGS, PAGE, missing_packages, write_page
from pipeline.stages.submit import submit
from pipeline.stages.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.comparison.systems import System

STAGES = {"predict": (predict, Predict), "calibrate": (calibrate, Calibrate), "submit": (submit, EvalStage)}
"""What follows a training; `score` does not, so that the truth is opened once, at the end."""


@dataclass(frozen=True, kw_only=True)
class Compare(RunStage):
    """What the stage compare is told."""

    jobs: int | None = setting("Trainings side by side.", None, least=1, usual="as many as there are cores; 1 on a GPU")
    smoke: bool = setting(
        "One fold and hardly any training, in a folder of its own: does everything run?", False, flag=True
    )
    comparison: Given[ComparisonSettings] = some_of(ComparisonSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(self.shared)
        check(self.comparison)
        if "systems" in self.comparison:
            from pipeline.comparison.systems import every_name

            _names(self.comparison["systems"], every_name())


def compare(settings: Compare) -> dict[str, Any]:
    """Train the specialists and their rivals at the same cost, several times each, and compare them."""
    run = open_run(settings)
    _refuse(Given(RunSettings, **{name: getattr(run, name) for name in RECORDED}))
    place = run.folder / ("compare-smoke" if settings.smoke else "compare")
    asked = chosen(place, settings.comparison, settings.smoke).settled(run)
    from pipeline.comparison import systems
    from pipeline.comparison.systems import LEAK, usual_systems

    known = systems.all_systems(run.preset, run.weights)
    names = _names(asked.systems, [*known, LEAK]) if asked.systems else usual_systems(run.preset)
    data = data_of(run)
    inputs = {
        "settings": asked.as_json() | {"systems": names},
        "run": {name: str(getattr(run, name)) for name in RECORDED},
        "photos": store.photo_fingerprint(data.root, [*data.train["photo"], *data.eval["photo"]]),
        "labels": store.fingerprint(data.train[["person", "mask", "gender", "age"]].astype(str).to_numpy().tolist()),
        "tables": {name: _table(known[name], run) for name in names if name in known},
        "files": {name: store.file_fingerprint(data.root / name) for name in ("key.csv", "photos.csv", "boxes.csv")},
    }
    with store.locked(place / "compare.lock", f"compare in {place}"):
        store.sweep(place)
        done = records.finished(place, "compare", inputs)
        stands = done is not None
        if stands:
            print(f"compare: {' and '.join(str(place / f'{name}.csv') for name in done)} stand")
        else:
            from pipeline.comparison.comparison import Comparison

            done = Comparison(run, place, asked, names, data, settings.jobs, train, STAGES).compare(inputs)
        if not stands or not (place / PAGE).is_file():
            _show(place, list(done))
        return done


def _show(place: Path, tables: Sequence[str]) -> None:
    """Writes the page of the tables; they are no worse without."""
    missing = missing_packages()
    if missing:
        print(f"compare: no {PAGE}, which needs {listed(missing)}; make setup installs them")
        return
    from pipeline.report.comparison_page import comparison_sections

    sections = comparison_sections({name: store.read_csv(place / f"{name}.csv") for name in tables})
    made = "Made by face18 from the tables beside it."
    write_page(place / PAGE, place / DRAWINGS, f"Systems compared in {place.parent.name}", sections, made)


def _refuse(given: Given[RunSettings]) -> None:
    """Raises UserError for settings of a run that a comparison sees to by itself."""
    leave_out, recipe, extra = given.get("leave_out"), given.get("recipe"), given.get("extra")
    told = {
        f"--extra {extra}: extra photos cost what no budget of a comparison counts": extra not in (None, "none"),
        f"--leave-out {leave_out}: compare leaves out people by itself": leave_out is not None,
        f"--recipe {recipe}: compare has systems of its own": recipe is not None,
        "--split photo: compare splits by person, and shows the leak beside": given.get("split") == "photo",
    }
    for sentence, is_given in told.items():
        if is_given:
            raise UserError(f"{sentence}; leave it out, or where the run has it, name another (--run).")


def _table(system: System, run: Run) -> dict[str, Any]:
    """All that makes a system, for a fingerprint."""
    kept = {"name": system.name, "kind": system.kind, "run": dict(system.run), "same_as": system.same_as}
    return kept | {task: made.as_json(task) for task, made in system.resolved(run).items()}


def _names(asked: str, known: list[str]) -> list[str]:
    """The systems asked for, in the table's order. Raises UserError for one that there is not."""
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f"there are {', '.join(known)}"
            raise UserError(f"--systems {name}: there is no system of this name; {hint}.")
    return [name for name in known if name in names]
