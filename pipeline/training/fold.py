"""One fold's work: its settings.json, its training, its predictions about the people it held out, its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.backbone import Network
from models.errors import UserError
from models.labels import LABELS, MASKS, band, decode, encode
from models.task import Task
from models.tasks import build_task
from pipeline.dataset.folds import with_folds
from pipeline.dataset.photos import DataSet
from pipeline.dataset.run_data import labels_of
from pipeline.faces.face_framing import Framing
from pipeline.images.drawn_masks import NOTHING
from pipeline.images.extra_photos import LearnedPhotos, learned_photos
from pipeline.prediction import ensemble
from pipeline.prediction.tables import TRUTH
from pipeline.run import presets, records
from pipeline.run.fold_records import WEIGHTS, WROTE, BegunFold, Fold
from pipeline.run.folder import Run
from pipeline.run.given import Given
from pipeline.run.train_settings import Train, TrainingSettings
from pipeline.runtime import machine, ranks, store
from pipeline.scoring.caveats import UNSEEN
from pipeline.training import checkpoints
from pipeline.training.data import TrainingData, check_batch_size
from pipeline.training.drawn_rows import with_drawn_masks
from pipeline.training.epoch_line import silent
from pipeline.training.plan import kept_plan, plan_of
from pipeline.training.processes import by_first, differences, first_then_all, together
from pipeline.training.start import network_at_start, start_of
from pipeline.training.trainer import Trainer


def train_fold(
    run: Run,
    data: DataSet,
    extras: Sequence[DataSet],
    rows: pd.DataFrame,
    folds: pd.DataFrame,
    fold: Fold,
    own: BegunFold | None,
    given: Given[TrainingSettings],
    settings: Train,
) -> dict[str, Any]:
    """Train a fold's network to its end and write what the fold stands on; returns its metrics.

    extras: the extra sets; rows: the train rows that carry the task's labels; folds: the fold table; own: the fold as
    it began, where it did; given: the settings the user gave. Raises what `Trainer` raises, and UserError where nobody
    is on one side of the split.
    """
    name, processes = fold.name, together()
    say = print if processes.is_main_process else silent
    framing = Framing.from_json(fold.faces, fold.folder)
    photos = first_then_all(lambda: learned_photos(run, data, extras, fold.task, fold.settings, framing))
    rows = with_folds(rows[~rows["photo"].isin(list(photos.own.bad))], folds)
    if run.leave_out is not None:
        rows = rows[rows["fold"] != run.leave_out]
    held_out = (rows["fold"] == fold.number).to_numpy()
    if held_out.all() or not held_out.any():
        raise UserError(f"{name}: there are no people with the label {settings.task} on both sides of the split.")
    one = build_task(settings.task, fold.settings)
    training_data = _training_data(name, one, data, rows, held_out, photos, fold.settings, run.split)
    start = start_of(run, fold, own, data, rows[held_out])
    network = network_at_start(one, training_data, fold.settings, start)
    check_batch_size(name, fold.settings.batch_size, processes.num_processes)
    of_run = {"pixels": photos.digest, "crop": run.crop, "weights": start.weights, "versions": machine.versions()}
    begun = by_first(lambda: _begin(fold, own, of_run, given, settings, say))  # only now: all that can be refused was
    start_told = start.told(fold.settings.backbone, run.preset)
    say(_told(begun, start_told, network, training_data, rows, held_out), flush=True)
    leaky = {"leaky": True, "photos_per_person": len(rows) / rows["person"].nunique()} if run.split == "photo" else {}
    again = f"the same command{' without --restart' if settings.restart else ''}"
    caveats = ("leaky",) if leaky else ()
    trainer = Trainer(
        one, network, training_data, fold.settings, begun.plan, fold.folder, name, _often(settings), caveats, again,
        settings.log,
    )  # fmt: skip
    log = trainer.run()

    def finish() -> dict[str, Any]:
        shown = [rows[~held_out], *(one.rows for one in photos.extra), *_drawn_rows(training_data)]
        unseen = unseen_labels(settings.task, pd.concat(shown))
        beside = leaky | ({UNSEEN: unseen} if unseen else {})
        return _finish(begun, trainer, rows[held_out], {"seconds": float(log["seconds"].sum())} | beside)

    return by_first(finish)


def _told(
    begun: BegunFold,
    start: str,
    network: Network,
    training_data: TrainingData,
    rows: pd.DataFrame,
    held_out: NDArray[np.bool_],
) -> str:
    """What is about to be trained, on whom and how."""
    parameters = sum(p.numel() for p in network.parameters())
    first = training_data.train < len(training_data.targets) - len(training_data.again)
    extra = int((training_data.is_extra & first).sum())
    own = int(first.sum()) - extra
    told = f" and {extra} extra ones" if extra else ""
    if training_data.drawing is not None:
        drawn_on = int((training_data.drawing.states != NOTHING).sum()) - len(training_data.again)
        told += f" (masks are drawn on {drawn_on} bare faces)"
    unjudged = ""
    if len(training_data.again) and len(np.unique(training_data.targets[training_data.validation])) < len(MASKS):
        unjudged = " (not in every mask state, so that nothing tells how well those are recognised)"
    return (
        f"{begun.name}: {begun.settings.backbone}, {parameters / 1e6:.1f} M weights, {start}, {own} photos "
        f"of {rows[~held_out]['person'].nunique()} people{told} to learn from, {len(training_data.validation)} of "
        f"{rows[held_out]['person'].nunique()} held out{unjudged}; {begun.plan.precision}, {begun.plan.threads} "
        f"threads{begun.plan.by_tuning}; up to {parameters * 20 / 1e6:.0f} MB of disk"
        f"{differences(begun.plan.processes, begun.plan.device, network, begun.settings)}"
    )


def _training_data(
    name: str,
    one: Task,
    data: DataSet,
    rows: pd.DataFrame,
    held_out: NDArray[np.bool_],
    photos: LearnedPhotos,
    settings: TrainingSettings,
    split: str,
) -> TrainingData:
    """The rows to learn from and those held out, as rows of the prepared photos; those of extra sets come after."""
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    where = rows["photo"].map(place).to_numpy(np.int64)
    extra, after = [], len(data.train)
    for one_set in photos.extra:
        extra.append(after + np.array(one_set.places, np.int64))
        after += len(one_set.photos.pixels)
    learned = one.targets(labels_of([rows, *(one_set.rows for one_set in photos.extra)], one.name))
    targets = np.full((after, *learned.shape[1:]), np.nan, np.float32)
    targets[np.concatenate([where, *extra])] = learned
    train = np.concatenate([where[~held_out], *extra])
    checked = where[checked_rows(rows, held_out, split)]
    more = tuple(one_set.photos.pixels for one_set in photos.extra)
    made = TrainingData(photos.own.pixels, targets, train, where[held_out], checked, more)
    return made if photos.faces is None else with_drawn_masks(made, one.name, photos.faces, settings, name)


def _drawn_rows(training_data: TrainingData) -> list[pd.DataFrame]:
    """The rows of the masks that are drawn as photos of their own, in a table; none without any."""
    drawn = training_data.targets[len(training_data.targets) - len(training_data.again) :]
    return [pd.DataFrame({"mask": drawn})] if len(drawn) else []


def unseen_labels(task: str, rows: pd.DataFrame) -> list[int]:
    """The labels of the 18 that a network for the task cannot know, because its train rows show no such photo.

    A network of one attribute, or of one head for each, lacks those whose attribute nobody has; one with a head for the
    18 those that no photo shows.
    """
    columns = presets.columns_of(task)
    numbers = {column: rows[column].to_numpy() for column in columns}
    if "age" in columns:  # of ranges both ends
        numbers["age"] = band(labels_of([rows], "age") if task == "age" else numbers["age"])
    if task == "joint":
        shown = np.isin(np.arange(LABELS), encode(*(numbers[column] for column in TRUTH)))
    else:
        of_label = dict(zip(TRUTH, decode(np.arange(LABELS)), strict=True))
        shown = np.all([np.isin(of_label[column], numbers[column]) for column in columns], axis=0)
    return np.flatnonzero(~shown).tolist()


def _often(settings: Train) -> tuple[int, float]:
    """How often a checkpoint is written, in steps (0: by time alone) and in seconds."""
    return settings.checkpoint_steps or 0, settings.checkpoint_seconds


def _finish(fold: BegunFold, trainer: Trainer, held: pd.DataFrame, more: dict[str, Any]) -> dict[str, Any]:
    """Write weights, their predictions about the rows held out, and, last, the fold's record; returns its metrics."""
    store.write_weights(fold.folder / WEIGHTS, trainer.averaged.state_dict())
    # A GPU may choose other kernels for a network that is loaded anew, and so would one that was interrupted here.
    if trainer.validation_logits is not None and trainer.plan.device == "cpu":
        predictions = ensemble.predicted(trainer.task, trainer.validation_logits)
    else:
        member = ensemble.load(fold, trainer.plan.device, trainer.plan.threads)
        predictions = ensemble.predict_rows(member, trainer.data.pixels, trainer.data.validation)
    if not (len(predictions) == len(held) == held["photo"].nunique()):
        raise AssertionError("every validation photo is predicted exactly once")
    table = held[["photo", "person", "fold", "mask", "gender", "age"]].reset_index(drop=True)
    table[list(trainer.task.columns)] = predictions
    store.write_csv(fold.folder / "validation.csv", table)
    metrics = {name: value for name, value in trainer.row.items() if name != "epoch"} | more
    records.record(fold.folder, "train", dict(fold.inputs), WROTE, metrics)
    checkpoints.clear(fold.folder)
    return metrics


def _begin(
    fold: Fold,
    begun: BegunFold | None,
    of_run: Mapping[str, Any],
    given: Given[TrainingSettings],
    settings: Train,
    say: Callable[..., None],
) -> BegunFold:
    """Leave a settings.json in the fold's folder: the one it was begun with, or a new one; returns what it holds.

    of_run: what else it would begin with, the digest of the prepared photos among it. What a fold depends on knows
    photos by name and size alone, so that a finished one stands without a look into them; an unfinished one would go on
    with what else has changed.
    """
    plan = plan_of(settings, fold.settings)  # before anything is moved, because it may be refused
    if begun is None and settings.restart and fold.folder.exists():
        kept = fold.folder.with_name(f"{fold.folder.name}-{time.strftime('%Y-%m-%dT%H%M%S')}")
        fold.folder.rename(kept)
        say(f"{fold.name}: the old folder is kept as {kept}")
    if begun is None:
        begun = BegunFold(**vars(fold), plan=plan, **of_run)
        begun.write()
        if settings.restart:
            ranks.note(f"{fold.name} anew")
        return begun
    begun.check_same(fold.inputs, given)
    if of_run["pixels"] != begun.pixels:
        raise UserError(
            f"{fold.folder} was begun on other pixels: train photos were altered, or only now can be decoded; "
            f"train into another run (RUN=other), or begin anew with --restart, which keeps the old folder."
        )
    kept_on = replace(begun, plan=kept_plan(fold.name, begun.plan, plan, settings, say))
    if kept_on != begun:
        kept_on.write()
    return kept_on


def checked_rows(rows: pd.DataFrame, held_out: NDArray[np.bool_], split: str = "person") -> NDArray[np.bool_]:
    """Train rows for the generalization gap: half as many people as are held out, spread over all train people.

    Of a run that is split by photo, half as many photos.
    """
    people = sorted(rows[~held_out][split].unique())
    wanted = min(len(people), math.ceil(rows[held_out][split].nunique() / 2))
    chosen = {people[i * len(people) // wanted] for i in range(wanted)}
    return rows[split].isin(chosen).to_numpy() & ~held_out
