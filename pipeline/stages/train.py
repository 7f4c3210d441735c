"""python -m pipeline train mask|gender|age|joint|multihead: train one network."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from models import presets
from models.errors import UserError, unknown
from pipeline import runs, store, training_settings
from pipeline.machine import PRECISIONS, Plan
from pipeline.progress import CAUTIONS, marked
from pipeline.runs import Flag, MaybeNumber, MaybeText, MaybeWhole, Run, RunSettings, open_run

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.photos import DataSet


@dataclass(frozen=True, kw_only=True)
class Train(RunSettings):
    task: Positional[Literal["mask", "gender", "age", "joint", "multihead"]]
    """The specialist: mask (EfficientNet), gender (Swin) or age (ConvNeXt); or a rival: joint or multihead."""
    folds: str = "0"
    """Which folds to train now: all, or numbers like 0,1."""
    restart: Flag = False
    """Begin these folds anew; what was there is kept under a dated name."""
    threads: MaybeWhole = None
    """Processor threads (default: all cores, shared out)."""
    share: MaybeWhole = None
    """How many trainings share this machine's cores (default: 1)."""
    workers: MaybeWhole = None
    """Loader processes beside the training one (default: by machine)."""
    precision: MaybeText = None
    """float32, or bfloat16 where the network allows it (default: by machine and backbone)."""
    muon_precision: MaybeText = None
    """float32 or bfloat16, of Muon's matrix products (default: by machine)."""
    channels_last: Annotated[Literal["yes", "no"] | None, arg(metavar="{yes,no}", help_behavior_hint="")] = None
    """Photos with their channels last in memory (default: by machine and backbone)."""
    plan: Flag = False
    """Say how the machine would be used, and stop."""
    checkpoint_steps: MaybeWhole = None
    """A checkpoint every so many steps (default: by time alone)."""
    checkpoint_seconds: MaybeNumber = None
    """And after so many seconds (default: 60), beside the one after each epoch."""
    epochs: MaybeNumber = None
    """How often each photo is seen; 6.5 is six epochs and a half."""
    batch: MaybeWhole = None
    """Photos a step."""
    sampling: MaybeText = None
    """all: every photo in its turn (and see --undersample). balanced: every class equally often, as many photos an
    epoch as there are; --undersample then does nothing."""
    lr: MaybeNumber = None
    """Largest learning rate."""
    warmup: MaybeNumber = None
    """Share of the steps over which the learning rate rises."""
    schedule: MaybeText = None
    """What the learning rate does then: cosine (falls to zero), step (falls by --gamma now and then) or constant."""
    period: MaybeNumber = None
    """Epochs from the cosine's top to zero (0: the run's length), or between two steps (0: a third of it)."""
    gamma: MaybeNumber = None
    """What each step of the schedule multiplies the learning rate by."""
    patience: MaybeWhole = None
    """Stop early, after so many epochs without a better macro-F1 of the people held out; their scores are then
    optimistic and marked so. 0: never."""
    weight_decay: MaybeNumber = None
    """On all but norms and biases."""
    optimizer: MaybeText = None
    """muon, adamw, adam or radam. Muon learns fastest from scratch, AdamW is usual for pretrained weights; each wants
    an --lr of its own."""
    layer_decay: MaybeNumber = None
    """Learning rate of a layer as a share of the next one's, for pretrained weights."""
    clip: MaybeNumber = None
    """Largest norm of the gradient."""
    dropout: MaybeNumber = None
    """Before the last layer."""
    drop_path: MaybeNumber = None
    """Stochastic depth."""
    backbone: MaybeText = None
    """Another timm backbone."""
    backbone_options: MaybeText = None
    """Settings of the timm backbone, as JSON."""
    height: MaybeWhole = None
    """Photo height in pixels."""
    width: MaybeWhole = None
    """Photo width in pixels."""
    seed: MaybeWhole = None
    """Of first weights, order and augmentation."""
    loss: MaybeText = None
    """Of classes: cross_entropy, focal (easy photos count little), or soft_f1 (macro-F1 of the batch)."""
    smoothing: MaybeNumber = None
    """Label smoothing, of cross_entropy and focal."""
    focal_gamma: MaybeNumber = None
    """How strongly focal turns from easy photos to hard ones; 0 is cross_entropy."""
    class_balance: MaybeNumber = None
    """Mask: 0 counts every photo of an epoch the same, 1 every class."""
    undersample: MaybeNumber = None
    """Mask: in an epoch, at most this many times the rarest class's photos; the others take turns. 0: all."""
    age_loss: MaybeText = None
    """Age: distribution (over the years), or plain regression: l1 or mse."""
    age_spread: MaybeNumber = None
    """Age: deviation in years of the soft labels."""
    rare_ages: MaybeNumber = None
    """Age: power of the weight for rare ages, 0 none to 1 full."""
    age_scale: MaybeNumber = None
    """Age: the unit, in years, in which plain regression learns."""
    age_head: MaybeText = None
    """Multihead: its age head answers years or bands."""
    head_balance: MaybeText = None
    """Multihead: its three losses add up by uncertainty (each with a weight that is learned), or as a plain sum."""
    mask_weight: MaybeNumber = None
    """Multihead: of the mask's loss."""
    gender_weight: MaybeNumber = None
    """Multihead: of gender's loss."""
    age_weight: MaybeNumber = None
    """Multihead: of the age's loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        training_settings.check_values(runs.given_settings(self))
        for name in ("precision", "muon_precision"):
            if (given := getattr(self, name)) is not None and given not in PRECISIONS:
                raise unknown(name.replace("_", "-"), given, PRECISIONS)


WROTE = ("settings.json", "weights.safetensors", "validation.csv")
"""What a finished fold stands on."""


@dataclass(frozen=True)
class _Fold:
    """One fold's work: where, with what settings, on which data."""

    number: int
    folder: Path
    settings: dict[str, Any]
    inputs: dict[str, str]


def train(settings: Train) -> dict[str, Any]:
    """Train a network on some folds; a fold that is finished stays, one that was interrupted goes on."""
    run = open_run(settings)
    given = training_settings.given(settings, settings.task, run)
    numbers = parse_folds(settings.folds, run.folds)
    if run.leave_out in numbers:
        raise UserError(
            f"--leave-out {run.leave_out}: the people of this fold are left out, so it cannot train itself."
        )
    if settings.plan:
        return _tell_plan(run, settings, given, numbers)
    from pipeline.inputs import data_of, labelled, photo_marks
    from pipeline.people import folds_of

    data = data_of(run)
    columns = list(presets.columns_of(settings.task))
    rows = labelled(data, settings.task)
    if rows.empty:
        what = f"label {columns[0]}" if len(columns) == 1 else f"labels {', '.join(columns)} together"
        raise UserError(f"no train photo of {run.data} carries the {what}; there is nothing to learn.")
    folds = folds_of(run, data.train)
    inputs = photo_marks(data, rows) | {
        "labels": store.fingerprint((rows[columns[0]] if len(columns) == 1 else rows[columns].to_numpy()).tolist()),
        "folds": store.fingerprint(folds.astype(str).to_numpy().tolist()),
    }
    if run.split == "photo" and not any(run.folder.glob("*/fold*/settings.json")):
        print(f"train {settings.task}: {CAUTIONS['leaky']}")
    figures: dict[str, Any] = {}
    for number in numbers:
        folder = run.folder / settings.task / f"fold{number}"
        fold = _Fold(
            number, folder, training_settings.of_fold(run, settings.task, folder, given, settings.restart), inputs
        )
        if number in run.finished_folds(settings.task) and not settings.restart:
            training_settings.check_same(fold.folder, fold.inputs, given)
            runs.check(folder, "train", WROTE)
            log = store.read_json(folder / "done" / "train.json")["figures"]
            print(f"train {settings.task}: fold {number} is finished, macro-F1 {log['macro_f1']:.3f}{marked(log)}")
        else:
            _check_beside(run, fold, settings)
            first = os.environ.get("RANK", "0") == "0"  # of several processes, the first holds the lock
            lock = store.locked(folder.with_suffix(".lock"), f"train {settings.task}, fold {number},")
            with lock if first else nullcontext():
                log = _train_fold(run, data, rows, folds, fold, given, settings)
        figures[f"fold{number}"] = log
    return figures


def _check_beside(run: Run, fold: _Fold, settings: Train) -> None:
    """Raises UserError where a new fold would learn from other inputs than the fold whose settings it takes over."""
    begun = [folder for folder in run.fold_folders(settings.task).values() if (folder / "settings.json").is_file()]
    if begun and fold.folder not in begun and not settings.restart:
        training_settings.check_same(begun[0], fold.inputs, {})


def parse_folds(text: str, folds: int) -> list[int]:
    """all of so many folds, or numbers with commas between them; raises UserError for anything else."""
    if text == "all":
        return list(range(folds))
    numbers = text.split(",")
    if not all(number.strip().isdigit() and int(number) < folds for number in numbers):
        raise UserError(f"FOLDS={text}: say all, or numbers from 0 to {folds - 1} with commas between them.")
    return sorted({int(number) for number in numbers})


def _begin(
    run: Run, fold: _Fold, digest: str | None, given: dict[str, Any], settings: Train, say: Callable[..., None]
) -> None:
    """Leave a settings.json in the fold's folder: the one it was begun with, or a new one.

    digest: of the prepared photos. What a fold depends on knows photos by name and size alone, so that a finished one
    stands without a look into them; an unfinished one would go on with what else has changed.
    """
    from pipeline import machine

    path = fold.folder / "settings.json"
    plan = _plan(settings, fold.settings)  # before anything is moved, because it may be refused
    if settings.restart and fold.folder.exists():
        kept = fold.folder.with_name(f"{fold.folder.name}-{time.strftime('%Y-%m-%dT%H%M%S')}")
        fold.folder.rename(kept)
        say(f"{settings.task} fold {fold.number}: the old folder is kept as {kept}")
    if path.is_file():
        training_settings.check_same(fold.folder, fold.inputs, given)
        made = store.read_json(path)
        if None not in (digest, made.get("pixels")) and digest != made["pixels"]:
            raise UserError(
                f"{fold.folder} was begun on other pixels: train photos were altered, or only now can be decoded; "
                f"train into another run (RUN=other), or begin anew with --restart, which keeps the old folder."
            )
        plan = _kept(f"{settings.task} fold {fold.number}", Plan(**made["plan"]), plan, settings, say)
        if plan.as_dict() != made["plan"]:
            store.write_json(path, made | {"plan": plan.as_dict()})
        return
    made = {
        "task": settings.task,
        "fold": fold.number,
        "settings": fold.settings,
        "plan": plan.as_dict(),
        "inputs": fold.inputs,
        "pixels": digest,
        "crop": run.crop,
        "weights": run.weights,
        "versions": machine.versions(),
    }
    store.write_json(path, made)


def _plan(settings: Train, resolved: dict[str, Any]) -> Plan:
    from pipeline import machine

    made = machine.plan(
        resolved["backbone"],
        (resolved["height"], resolved["width"]),
        threads=settings.threads or max(1, machine.available_cores() // (settings.share or 1)),
        workers=settings.workers,
        precision=settings.precision,
        muon_precision=settings.muon_precision,
        channels_last={"yes": True, "no": False}[settings.channels_last] if settings.channels_last else None,
    )
    if made.device == "cpu" and made.precision == "bfloat16" and resolved["width"] < machine.NARROWEST:
        raise UserError(
            f"--precision bfloat16: processors train wrongly in it on photos less than {machine.NARROWEST} pixels "
            f"wide; use float32."
        )
    return made


def _kept(name: str, begun: Plan, plan: Plan, settings: Train, say: Callable[..., None]) -> Plan:
    """The plan to go on by: the one begun with, but on the device that is here and with the loaders asked for."""
    if begun.device != plan.device:
        say(f"{name}: was begun on {begun.device}; it goes on with {plan.device}")
        return plan
    given = runs.given_settings(settings).keys() & begun.as_dict().keys() - {"workers"}
    differing = {name for name in given if getattr(begun, name) != getattr(plan, name)}
    for field in sorted(differing):
        say(f"{name}: {field.replace('_', ' ')} stays {getattr(begun, field)}, as begun; to change it, --restart")
    return begun if settings.workers is None else replace(begun, workers=settings.workers)


def _tell_plan(run: Run, settings: Train, given: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    """The plan of each fold: the recorded one where it has begun."""
    told = {}
    for number in numbers:
        folder = run.folder / settings.task / f"fold{number}"
        resolved = training_settings.of_fold(run, settings.task, folder, given, settings.restart)
        begun = (folder / "settings.json").is_file() and not settings.restart
        recorded = store.read_json(folder / "settings.json")["plan"] if begun else None
        plan = _plan(settings, resolved)
        if recorded:
            plan = _kept(f"train {settings.task} fold {number}", Plan(**recorded), plan, settings, print)
        told[f"fold{number}"] = plan.as_dict()
        kinds = [f"in {plan.precision}"]
        kinds += [f"Muon in {plan.muon_precision}"] if resolved["optimizer"] == "muon" else []
        kinds += ["channels last"] if plan.channels_last else []
        print(
            f"train {settings.task} fold {number}: {resolved['backbone']} on {plan.device} {', '.join(kinds)}, "
            f"{plan.threads} threads, {plan.workers} loader processes"
        )
    return told


def _train_fold(
    run: Run,
    data: DataSet,
    rows: pd.DataFrame,
    folds: pd.DataFrame,
    fold: _Fold,
    given: dict[str, Any],
    settings: Train,
) -> dict[str, Any]:
    import numpy as np
    import torch
    from accelerate import PartialState

    from models import backbone, specialist
    from pipeline import checkpoints, machine, prediction
    from pipeline.inputs import prepared
    from pipeline.people import with_folds
    from pipeline.training import CHECKPOINTS, Part, Trainer, check_batch, silent

    name = f"{settings.task} fold {fold.number}"
    processes = PartialState(cpu=not torch.cuda.is_available())
    say = print if processes.is_main_process else silent
    photos = prepared(run, data, (fold.settings["height"], fold.settings["width"]))
    rows = with_folds(rows[~rows["photo"].isin(list(photos.bad))], folds)
    if run.leave_out is not None:
        rows = rows[rows["fold"] != run.leave_out]
    held_out = (rows["fold"] == fold.number).to_numpy()
    if held_out.all() or not held_out.any():
        raise UserError(f"{name}: there are no people with the label {settings.task} on both sides of the split.")
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    where = rows["photo"].map(place).to_numpy(np.int64)
    one = specialist.build(settings.task, fold.settings)
    learned = one.targets(rows[list(presets.columns_of(settings.task))].to_numpy(np.float32))
    targets = np.full((len(data.train), *learned.shape[1:]), np.nan, np.float32)
    targets[where] = learned
    part = Part(photos.pixels, targets, where[~held_out], where[held_out], where[_checked(rows, held_out, run.split)])

    torch.manual_seed(fold.settings["seed"])
    network = backbone.build(fold.settings, one.outputs, run.weights, one.learned)
    network.begin_at(one.first_bias(torch.from_numpy(targets[part.train])))
    check_batch(name, fold.settings["batch"], processes.num_processes)
    if processes.is_main_process:  # only now: nothing is written for what cannot be trained
        _begin(run, fold, photos.digest, given, settings, say)
    processes.wait_for_everyone()
    plan = machine.Plan(**store.read_json(fold.folder / "settings.json")["plan"])
    parameters = sum(p.numel() for p in network.parameters())
    say(
        f"{name}: {fold.settings['backbone']}, {parameters / 1e6:.1f} M weights, {len(part.train)} photos of "
        f"{rows[~held_out]['person'].nunique()} people to learn from, {len(part.validation)} of "
        f"{rows[held_out]['person'].nunique()} held out; {plan.precision}, {plan.threads} threads; "
        f"up to {parameters * 20 / 1e6:.0f} MB of disk",
        flush=True,
    )
    asked = (settings.checkpoint_steps, settings.checkpoint_seconds)
    often = tuple(usual if one is None else one for one, usual in zip(asked, CHECKPOINTS, strict=True))
    leaky = ("leaky",) if run.split == "photo" else ()
    again = f"the same command{' without --restart' if settings.restart else ''}"
    trainer = Trainer(one, network, part, fold.settings, plan, fold.folder, name, often, leaky, again)
    log = trainer.run()
    if processes.is_main_process:
        store.write_weights(fold.folder / "weights.safetensors", trainer.averaged.state_dict())
        member = prediction.load(fold.folder, plan.device, plan.threads)
        answers = prediction.answers_about(member, photos.pixels, part.validation)
        held = rows[held_out]
        if not (len(answers) == len(held) == held["photo"].nunique()):
            raise AssertionError("every validation photo is answered exactly once")
        table = held[["photo", "person", "fold", "mask", "gender", "age"]].reset_index(drop=True)
        table[list(one.answers)] = answers
        figures = {name: value for name, value in trainer.row.items() if name != "epoch"}
        figures["seconds"] = float(log["seconds"].sum())
        if leaky:
            figures |= {"leaky": True, "photos_per_person": len(rows) / rows["person"].nunique()}
        store.write_csv(fold.folder / "validation.csv", table)
        runs.record(fold.folder, "train", fold.inputs, WROTE, figures)  # last: with it the fold is finished
        checkpoints.clear(fold.folder)
    processes.wait_for_everyone()
    return store.read_json(fold.folder / "done" / "train.json")["figures"]


def _checked(rows: pd.DataFrame, held_out: Any, split: str = "person") -> Any:
    """Train rows for the generalization gap: half as many people as are held out, spread over all train people.

    Of a run that is split by photo, half as many photos.
    """
    people = sorted(rows[~held_out][split].unique())
    wanted = min(len(people), math.ceil(rows[held_out][split].nunique() / 2))
    chosen = {people[i * len(people) // wanted] for i in range(wanted)}
    return rows[split].isin(chosen).to_numpy() & ~held_out
