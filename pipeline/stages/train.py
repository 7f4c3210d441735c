"""python -m pipeline train mask|gender|age|joint|multihead: train one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from pipeline.run import presets, setting_rules
from pipeline.run.fold_records import WROTE, BegunFold, FinishedFold, Fold, begun_fold, is_finished
from pipeline.run.folder import Run, open_run, whole_number
from pipeline.run.given import Given
from pipeline.run.train_settings import Train, TrainingSettings
from pipeline.runtime import ranks, store
from pipeline.runtime.problems import show
from pipeline.scoring.caveats import CAVEAT_SENTENCES, caveat_suffix

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.runtime.machine import Plan


InputsOf = Callable[[TrainingSettings], dict[str, str]]
"""What a fold with some settings depends on: fingerprints by name."""


def train(settings: Train) -> dict[str, Any]:
    """Train a network on some folds; a fold that is finished stays, one that was interrupted goes on."""
    with ranks.first_speaks(), ranks.lost_told():
        return _train(settings)


def _train(settings: Train) -> dict[str, Any]:
    """What every process does."""
    from pipeline.training.processes import by_first, dissolve, first_then_all

    if settings.log is not None and find_spec(settings.log) is None:
        raise UserError(f"--log {settings.log} needs the package {settings.log}; pip install {settings.log} brings it.")
    run = by_first(lambda: open_run(settings))
    given = setting_rules.of_task(settings.training, settings.task, run)
    numbers = parse_folds(settings.folds, run.folds)
    if run.leave_out in numbers:
        raise UserError(
            f"--leave-out {run.leave_out}: the people of this fold are left out, so it cannot train itself."
        )
    _check_workers(settings)
    if settings.plan:
        return _tell_plan(run, settings, given, numbers)
    folders = [run.folder / settings.task / f"fold{number}" for number in numbers]
    finished = not settings.restart and all(map(is_finished, folders))
    if settings.processes > 1 and not (finished or ranks.is_worker()):
        from pipeline.training.launch import launch

        return launch(train, settings)
    from pipeline.dataset.folds import folds_fingerprint, folds_of
    from pipeline.dataset.run_data import data_of, extras_of, train_rows
    from pipeline.images.run_faces import run_faces

    data, extras = data_of(run), extras_of(run)
    columns = list(presets.columns_of(settings.task))
    rows = train_rows(data, settings.task)
    if rows.empty:
        what = f"label {columns[0]}" if len(columns) == 1 else f"labels {', '.join(columns)} together"
        alone = "; extra photos alone leave nobody to hold out" if extras else ""
        raise UserError(f"no train photo of {run.data} carries the {what}; there is nothing to learn{alone}.")
    folds = folds_of(run, data.train)
    framing = first_then_all(lambda: run_faces(run, data)).framing
    faces = framing and framing.as_json()
    inputs_of = _inputs_of(settings.task, data, extras, rows, store.fingerprint(faces), folds_fingerprint(folds))
    if run.split == "photo" and not any(run.folder.glob("*/fold*/settings.json")):
        print(f"train {settings.task}: {CAVEAT_SENTENCES['leaky']}")
    metrics: dict[str, Any] = {}
    by_first(lambda: None if finished else _check_duplicates(run, data, extras))
    for number, folder in zip(numbers, folders, strict=True):
        with ExitStack() as held:
            anew = settings.restart and not ranks.is_noted(f"{settings.task} fold {number} anew")
            if by_first(partial(_stands, settings.task, number, folder, anew, held)):
                metrics[f"fold{number}"] = by_first(partial(_standing, folder, inputs_of, given))
                continue
            fold, own = by_first(partial(_planned, run, settings.task, number, anew, inputs_of, given, faces))
            from pipeline.training.fold import train_fold

            metrics[f"fold{number}"] = train_fold(run, data, extras, rows, folds, fold, own, given, settings)
    dissolve()
    return metrics


def _stands(task: str, number: int, folder: Path, anew: bool, held: ExitStack) -> bool:
    """Whether a fold is finished and not to be begun anew; where not, its lock is held from now on."""
    if not anew and is_finished(folder):  # it may lie where nothing can be written
        return True
    held.enter_context(store.locked(folder.with_suffix(".lock"), f"train {task}, fold {number},"))
    return not anew and is_finished(folder)  # by another process, meanwhile


def _check_workers(settings: Train) -> None:
    """Raises UserError for what processes that torchrun began cannot do."""
    if settings.restart and ranks.may_begin_anew():
        raise UserError(
            "--restart: processes that torchrun begins anew would throw away what those before them learned; give "
            "--max-restarts 0, or train into another run (RUN=other)."
        )
    if ranks.is_worker() and settings.processes not in (1, ranks.processes()):
        raise UserError(
            f"--processes {settings.processes}: torchrun has begun {ranks.processes()} already; leave the setting out."
        )


def _inputs_of(
    task: str, data: DataSet, extras: Sequence[DataSet], rows: pd.DataFrame, faces: str, folds: str
) -> InputsOf:
    """What a fold of a task depends on; rows: its train rows; faces, folds: their fingerprints."""
    from pipeline.dataset.run_data import extra_fingerprint, photo_fingerprints
    from pipeline.images.extra_photos import drawn_fingerprint

    columns = list(presets.columns_of(task))
    labels = (rows[columns[0]] if len(columns) == 1 else rows[columns].to_numpy()).tolist()
    always = photo_fingerprints(data, rows) | {"faces": faces, "labels": store.fingerprint(labels), "folds": folds}
    return lambda made: (
        always
        | {
            "extra": extra_fingerprint(extras, task, made),
            "drawn": drawn_fingerprint([data, *extras], made),
        }
    )


def _check_duplicates(run: Run, data: DataSet, extras: Sequence[DataSet]) -> None:
    """Raises UserError for photos that would leak, where the stage prepare, which looks for them, did not run."""
    from pipeline.dataset.duplicates import check_duplicates, find_duplicates
    from pipeline.dataset.extra import check_apart
    from pipeline.dataset.record import OVERVIEW

    if not run.allow_duplicates and not (run.folder / OVERVIEW).is_file():
        check_duplicates(find_duplicates(data), f"The data set {show(data.root)}", allowed=False)
    check_apart(data, extras, run.allow_duplicates)  # that stage may have run without these


def _standing(folder: Path, inputs_of: InputsOf, given: Given[TrainingSettings]) -> Mapping[str, Any]:
    """The metrics of a finished fold. Raises UserError where it was trained otherwise, or its files have changed."""
    fold = FinishedFold.read(folder)
    fold.check_same(inputs_of(fold.settings), given)
    fold.check(*WROTE)
    print(
        f"train {fold.task}: fold {fold.number} is finished, macro-F1 {fold.metrics['macro_f1']:.3f}"
        f"{caveat_suffix(fold.metrics)}"
    )
    return fold.metrics


def _planned(
    run: Run,
    task: str,
    number: int,
    anew: bool,
    inputs_of: InputsOf,
    given: Given[TrainingSettings],
    faces: dict[str, Any] | None = None,
) -> tuple[Fold, BegunFold | None]:
    """A fold that is to be trained, and as it began: by the settings given, those of its beginning or of another fold.

    Raises UserError where a new fold would learn from other inputs than the fold whose settings it takes over.
    """
    folder = run.folder / task / f"fold{number}"
    own = None if anew else begun_fold(folder)
    taken = own
    if own is None:
        others = (begun_fold(other) for other in run.fold_folders(task).values() if other != folder)
        taken = next((other for other in others if other is not None), None)
        if taken is not None and not anew:
            taken.check_same(inputs_of(taken.settings), {})
    made = setting_rules.resolved(run, task, given, taken)
    inputs = inputs_of(made)
    return Fold(folder=folder, task=task, number=number, settings=made, inputs=inputs, faces=faces), own


def _source(plan: Plan, backbone: str) -> str:
    """Where a plan comes from, if that needs to be told."""
    from pipeline.runtime.machine import is_measured

    if plan.device == "cpu" and not plan.tuned and not is_measured(backbone):
        return " (not measured on such a processor: make tune does that)"
    return plan.by_tuning


def parse_folds(text: str, folds: int) -> list[int]:
    """all of so many folds, or numbers with commas between them; raises UserError for anything else."""
    if text == "all":
        return list(range(folds))
    numbers = [whole_number(number.strip()) for number in text.split(",")]
    if not all(number is not None and number < folds for number in numbers):
        raise UserError(f"FOLDS={text}: say all, or numbers from 0 to {folds - 1} with commas between them.")
    return sorted(set(numbers))


def _tell_plan(run: Run, settings: Train, given: Given[TrainingSettings], numbers: list[int]) -> dict[str, Any]:
    """The plan of each fold: the recorded one where it has begun."""
    from pipeline.training.plan import kept_plan, plan_of

    told = {}
    for number in numbers:
        fold, own = _planned(run, settings.task, number, settings.restart, lambda made: {}, given)
        plan = plan_of(settings, fold.settings)
        if own is not None:
            plan = kept_plan(f"train {fold.name}", own.plan, plan, settings, print)
        told[f"fold{number}"] = plan.as_dict()
        kinds = [f"in {plan.precision}"]
        kinds += [f"Muon in {plan.muon_precision}"] if fold.settings.optimizer == "muon" else []
        kinds += ["channels last"] if plan.channels_last else []
        kinds += [f"layers {plan.layers_told}"] if plan.device == "cpu" else []
        print(
            f"train {fold.name}: {fold.settings.backbone} on {plan.device} {', '.join(kinds)}, "
            f"{plan.threads} threads, {plan.workers} loader processes{_source(plan, fold.settings.backbone)}"
            f"{f' in each of {plan.processes} processes' if plan.processes > 1 else ''}"
        )
    return told
