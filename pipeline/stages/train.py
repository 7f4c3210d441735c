"""python -m pipeline train mask|gender|age|joint|multihead: train one network."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

from models.errors import UserError
from pipeline.run import presets, records, setting_rules
from pipeline.run.folder import FOLD_FILES, Fold, Run, open_run
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.runtime.machine import Plan
from pipeline.scoring.caveats import CAVEAT_SENTENCES, caveat_suffix


def train(settings: Train) -> dict[str, Any]:
    """Train a network on some folds; a fold that is finished stays, one that was interrupted goes on."""
    run = open_run(settings)
    given = setting_rules.given(settings, settings.task, run)
    numbers = parse_folds(settings.folds, run.folds)
    if run.leave_out in numbers:
        raise UserError(
            f"--leave-out {run.leave_out}: the people of this fold are left out, so it cannot train itself."
        )
    if settings.plan:
        return _tell_plan(run, settings, given, numbers)
    from pipeline.dataset.folds import folds_of
    from pipeline.dataset.run_data import data_of, photo_fingerprints, train_rows

    data = data_of(run)
    columns = list(presets.columns_of(settings.task))
    rows = train_rows(data, settings.task)
    if rows.empty:
        what = f"label {columns[0]}" if len(columns) == 1 else f"labels {', '.join(columns)} together"
        raise UserError(f"no train photo of {run.data} carries the {what}; there is nothing to learn.")
    folds = folds_of(run, data.train)
    inputs = photo_fingerprints(data, rows) | {
        "labels": store.fingerprint((rows[columns[0]] if len(columns) == 1 else rows[columns].to_numpy()).tolist()),
        "folds": store.fingerprint(folds.astype(str).to_numpy().tolist()),
    }
    if run.split == "photo" and not any(run.folder.glob("*/fold*/settings.json")):
        print(f"train {settings.task}: {CAVEAT_SENTENCES['leaky']}")
    metrics: dict[str, Any] = {}
    for number in numbers:
        folder = run.folder / settings.task / f"fold{number}"
        fold = Fold(number, folder, setting_rules.of_fold(run, settings.task, folder, given, settings.restart), inputs)
        if number in run.finished_folds(settings.task) and not settings.restart:
            setting_rules.check_same(fold.folder, fold.inputs, given)
            records.check(folder, "train", FOLD_FILES)
            log = store.read_json(folder / "done" / "train.json")["metrics"]
            print(
                f"train {settings.task}: fold {number} is finished, macro-F1 {log['macro_f1']:.3f}{caveat_suffix(log)}"
            )
        else:
            _check_beside(run, fold, settings)
            first = os.environ.get("RANK", "0") == "0"  # of several processes, the first holds the lock
            lock = store.locked(folder.with_suffix(".lock"), f"train {settings.task}, fold {number},")
            with lock if first else nullcontext():
                from pipeline.training.fold import train_fold

                log = train_fold(run, data, rows, folds, fold, given, settings)
        metrics[f"fold{number}"] = log
    return metrics


def _check_beside(run: Run, fold: Fold, settings: Train) -> None:
    """Raises UserError where a new fold would learn from other inputs than the fold whose settings it takes over."""
    begun = [folder for folder in run.fold_folders(settings.task).values() if (folder / "settings.json").is_file()]
    if begun and fold.folder not in begun and not settings.restart:
        setting_rules.check_same(begun[0], fold.inputs, {})


def parse_folds(text: str, folds: int) -> list[int]:
    """all of so many folds, or numbers with commas between them; raises UserError for anything else."""
    if text == "all":
        return list(range(folds))
    numbers = text.split(",")
    if not all(number.strip().isdigit() and int(number) < folds for number in numbers):
        raise UserError(f"FOLDS={text}: say all, or numbers from 0 to {folds - 1} with commas between them.")
    return sorted({int(number) for number in numbers})


def _tell_plan(run: Run, settings: Train, given: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    """The plan of each fold: the recorded one where it has begun."""
    from pipeline.training.plan import kept_plan, plan_of

    told = {}
    for number in numbers:
        folder = run.folder / settings.task / f"fold{number}"
        resolved = setting_rules.of_fold(run, settings.task, folder, given, settings.restart)
        begun = (folder / "settings.json").is_file() and not settings.restart
        recorded = store.read_json(folder / "settings.json")["plan"] if begun else None
        plan = plan_of(settings, resolved)
        if recorded:
            plan = kept_plan(f"train {settings.task} fold {number}", Plan(**recorded), plan, settings, print)
        told[f"fold{number}"] = plan.as_dict()
        kinds = [f"in {plan.precision}"]
        kinds += [f"Muon in {plan.muon_precision}"] if resolved["optimizer"] == "muon" else []
        kinds += ["channels last"] if plan.channels_last else []
        print(
            f"train {settings.task} fold {number}: {resolved['backbone']} on {plan.device} {', '.join(kinds)}, "
            f"{plan.threads} threads, {plan.workers} loader processes"
        )
    return told
