"""A start from a run of one's own, unless its network has learned from people that are held out here."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from models.backbone import Network
from models.errors import UserError
from pipeline.dataset.duplicates import same_files
from pipeline.dataset.folds import folds_fingerprint, folds_of, with_folds
from pipeline.dataset.photos import DataSet
from pipeline.dataset.run_data import data_of, extra_fingerprint, extras_of, photo_fingerprints, train_rows
from pipeline.run.fold_records import WEIGHTS, FinishedFold, Fold, is_finished
from pipeline.run.folder import recorded_run, whole_number
from pipeline.run.settings import NETWORKS
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime.problems import show

Photos = dict[str, str]
"""The names of photos by where they lie, without the slash that this begins with, links followed."""

SAME = {"backbone": "--backbone", "backbone_options": "--backbone-options", "age_loss": "--age-loss"}
"""What a network must have in common with the one whose weights it takes, and how it is set."""


def own_start(folder: str, fold: Fold, data: DataSet, held_out: pd.DataFrame) -> FinishedFold:
    """The fold of another run whose network a fold starts from: of the same number, else the first that is finished.

    held_out: the rows of data whose people the fold holds out. Raises UserError where there is none, where it is of
    another kind, or damaged, and where it learned from photos that are held out or nobody can tell.
    """
    run = recorded_run(Path(folder))
    finished = run.finished(fold.task)
    if not finished:
        raise UserError(
            f"--weights {folder}: this run has no finished network {fold.task} to start from; train it first (make "
            f"train-{fold.task} RUN={folder}), or use other weights."
        )
    own = finished.get(fold.number, next(iter(finished.values())))
    for name, option in SAME.items():
        theirs, ours = getattr(own.settings, name), getattr(fold.settings, name)
        if theirs != ours:
            raise UserError(
                f"--weights {folder}: its network {own.name} has {option} {theirs}, and this one {ours}; give "
                f"PRESET={run.preset} or the same {option}, or use other weights."
            )
    own.check(WEIGHTS)
    both = _same_photos(_photos(data, held_out), _learned(folder, own))
    if both:
        raise UserError(
            f"--weights {folder}: its network {own.name} learned from {len(both)} of the {len(held_out)} photos that "
            f"{fold.name} holds out, {both[0]} the first of them, so no score could be trusted; train fold "
            f"{fold.number} of that run on the same folds of people, or start from a run of other people."
        )
    return own


def fold_started_from(weights: str) -> FinishedFold | None:
    """The fold of another run that a fold's record names as its start; None where it is a folder of weights.

    Raises UserError where that fold is damaged or gone.
    """
    folder = Path(weights)
    if is_finished(folder):
        own = FinishedFold.read(folder)
        own.check(WEIGHTS)
        return own
    if folder.parent.name in NETWORKS and whole_number(folder.name.removeprefix("fold")) is not None:
        raise UserError(
            f"{folder}, from which this training started, is finished no more; bring it back, or begin anew with "
            f"--restart and other weights."
        )
    return None


def check_shape(network: Network, settings: TrainingSettings, own: FinishedFold) -> None:
    """Raises UserError where a network of one's own is of another shape, as some are for photos of another size."""
    theirs, ours = load_file(own.folder / WEIGHTS), network.state_dict()
    if {name: one.shape for name, one in theirs.items()} != {name: one.shape for name, one in ours.items()}:
        raise UserError(
            f"--weights: {own.folder} holds a network of another shape, for photos of {own.settings.height}x"
            f"{own.settings.width}, and this one is for {settings.height}x{settings.width}; give --height "
            f"{own.settings.height} --width {own.settings.width}, and its other settings, or use other weights."
        )


def _learned(folder: str, own: FinishedFold) -> Photos:
    """The photos that a fold learned from, and all those that its network had started from, and theirs in turn."""
    learned: Photos = {}
    seen: set[Path] = set()
    here: FinishedFold | None = own
    while here is not None and here.folder.resolve() not in seen:
        seen.add(here.folder.resolve())
        learned = _learned_by(folder, here) | learned
        here = fold_started_from(here.weights)
    return learned


def _learned_by(folder: str, own: FinishedFold) -> Photos:
    """The photos that a fold of a run learned from, extra ones too, apart from what its network had started from."""
    run = recorded_run(own.folder.parent.parent)
    unknown = f"--weights {folder}: nobody can tell whether it learned from people held out here, as its photos"
    try:
        data, extras = data_of(run), extras_of(run)
    except UserError as problem:
        raise UserError(f"{unknown} ({show(run.data)}) cannot be read: {problem}") from None
    rows, folds = train_rows(data, own.task), folds_of(run, data.train)
    now = photo_fingerprints(data, rows) | {
        "folds": folds_fingerprint(folds),
        "extra": extra_fingerprint(extras, own.task, own.settings),
    }
    if any(own.inputs[name] != now[name] for name in ("photos", "folds", "extra")):
        raise UserError(
            f"{unknown} ({show(run.data)}) have changed since; bring the old ones back, or start from a run of other "
            f"people."
        )
    rows = with_folds(rows, folds)
    learned = _photos(data, rows[~rows["fold"].isin([own.number, run.leave_out])])
    for extra in extras:
        learned |= _photos(extra, train_rows(extra, own.task, own.settings.drawn_masks))
    return learned


def _photos(data: DataSet, rows: pd.DataFrame) -> Photos:
    """Photos as they are looked for in another data set."""
    root = os.path.realpath(data.root)
    return {f"{root}/{name}".removeprefix("/"): name for name in rows["photo"]}


def _same_photos(ours: Photos, theirs: Photos) -> list[str]:
    """The names, sorted, of those of ours that are also theirs: the same files, or files of the same bytes."""
    both = ours.keys() & theirs.keys()
    for group in same_files("", {**ours, **theirs}):
        if theirs.keys() & group:
            both |= ours.keys() & group
    return sorted(ours[path] for path in both)
