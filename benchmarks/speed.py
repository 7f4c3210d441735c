"""How fast training and prediction are, beside the scripts that people usually write (usual_scripts.py).

    python benchmarks/speed.py --preset base
    python benchmarks/speed.py --preset small --only cost

A section is measured in one process, the rivals in turn, on people drawn for it at the contest's 384 x 512 pixels;
ratios are taken within a turn. Rivals share networks, photo size, batch size and loss.

train: steps within an epoch. *ours* is the trainer with its loader, *network alone* its step on a batch that lies
ready. What starts up, and the fuller queues after a start, pass in steps before.
predict: a folder, by all three networks, which are loaded before. *ours* decodes a photo once.
cost: the predict stage on 10,000 and on 100,000 photos, each in a process of its own.

The trainer has glibc keep memory for the whole process, so the scripts train a little faster than by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import joblib
import numpy as np
import torch

from benchmarks.measures import (
    DEVICE,
    Seconds,
    Settings,
    engines,
    geometric_means,
    hardware,
    ratios,
    shown,
    summaries,
    summary,
    versions,
    write_run,
)
from benchmarks.prediction_cost import measure_cost
from benchmarks.usual_scripts import PhotoFiles, Script, transform_for
from models import backbone
from models.tasks import build_task
from pipeline.dataset.photos import DataSet, read_data_set
from pipeline.images.framing import View
from pipeline.images.photos import Photos, decode_all
from pipeline.images.prepared import prepare
from pipeline.prediction import ensemble, over_photos
from pipeline.prediction.engine import BATCH_SIZE, Engine
from pipeline.run.presets import PRESETS, TASKS
from pipeline.runtime import machine
from pipeline.runtime.progress import Progress
from pipeline.synthetic import data_set
from pipeline.training.trainer import Trainer, TrainingData

AMOUNTS = {
    "smoke": {"photos": 16, "steps": 2, "before": 1, "repeats": 1, "cost_photos": [100, 200]},
    "small": {"photos": 512, "steps": 20, "before": 5, "repeats": 3, "cost_photos": [10_000, 100_000]},
    "lite": {"photos": 512, "steps": 12, "before": 4, "repeats": 5, "cost_photos": [10_000, 100_000]},
    "base": {"photos": 192, "steps": 4, "before": 2, "repeats": 5, "cost_photos": [10_000, 100_000]},
    "gpu": {"photos": 2048, "steps": 100, "before": 50, "repeats": 3, "cost_photos": [10_000, 100_000]},
}
"""How much is measured unless the command line says otherwise; `before`: steps that do not count."""
SWIN = {"embed_dim": 32, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 4}
TINY = {
    "mask": {"backbone": "test_efficientnet", "backbone_options": {}},
    "gender": {"backbone": "swin_tiny_patch4_window7_224", "backbone_options": SWIN},
    "age": {"backbone": "test_convnext", "backbone_options": {}},
}
OFTEN = 16
"""How often the drawn photos follow each other in an epoch of training, so that it is as long as a real one."""
# --------------------------------------------------------------------------------------------------------- clocks


def now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch:
    """The seconds of `steps` steps after the first `before`."""

    def __init__(self, before: int, steps: int):
        self.before, self.steps, self.done = before, steps, 0
        self.started = self.seconds = math.nan

    def step(self) -> bool:
        """A step is done; returns whether it was the last."""
        self.done += 1
        if self.done == self.before:
            self.started = now()
        if self.done < self.before + self.steps:
            return False
        self.seconds = now() - self.started
        return True


class _EnoughError(Exception):
    """Enough steps were timed."""


class TimedTrainer(Trainer):
    """The trainer until its stopwatch stops; validation and checkpoints at the end of an epoch are left out."""

    watch: Stopwatch

    def train_step(self, pixels: torch.Tensor, rows: torch.Tensor) -> None:
        super().train_step(pixels, rows)
        self.ready = pixels, rows
        if self.watch.step():
            raise _EnoughError

    def end_epoch(self, progress: Progress) -> None:
        self.loss_sum.zero_()

    def end_to_end(self, watch: Stopwatch) -> float:
        """Seconds of the steps with all that comes between them."""
        self.watch = watch
        with contextlib.suppress(_EnoughError):
            self.run()
        return watch.seconds

    def alone(self, steps: int) -> float:
        """Seconds of as many steps on the last batch."""
        started = now()
        for _ in range(steps):
            super().train_step(*self.ready)
        return now() - started


# ---------------------------------------------------------------------------------------------------------- train


def measure_training(data: DataSet, settings: Settings, amount: argparse.Namespace) -> dict[str, Any]:
    found, compared = {}, {}
    for task, made in settings.items():
        seconds = _train_task(data, task, made, amount)
        compared[task] = {
            "end to end, of the network alone's speed": ratios(seconds["network alone"], seconds["ours"]),
            **{f"{name} / ours": ratios(seconds[name], seconds["ours"]) for name in Script.all(DEVICE)},
        }
        found[task] = summaries(seconds, compared[task])
    means = {what: geometric_means(one[what] for one in compared.values()) for what in compared["mask"]}
    return found | {"geometric mean": {"ratios": {what: summary(turns) for what, turns in means.items()}}}


def _train_task(data: DataSet, task: str, made: dict[str, Any], amount: argparse.Namespace) -> Seconds:
    one, view = build_task(task, made), View.of(made)
    network = backbone.build(made, one.num_logits)
    plan = machine.plan(made.backbone, size=view.size)
    names, labels = data.train["photo"].tolist(), data.train[task].to_numpy(np.float32)
    pixels = prepare(Photos(data.root, names), data.name, view, joblib.cpu_count()).pixels
    rows = np.arange(len(names))
    training_data = TrainingData(pixels, labels, np.tile(rows, OFTEN), rows, rows)
    files = PhotoFiles(
        [data.path(name) for name in names] * OFTEN,
        labels.tolist() * OFTEN,
        transform_for(network, view.size, one.augmentation),
    )
    steps, measured = amount.steps, amount.steps * made.batch_size
    long_enough = made | {"epochs": amount.before + steps}

    def ours() -> dict[str, float]:
        folder = Path(tempfile.mkdtemp(dir="."))
        trainer = TimedTrainer(
            one, copy.deepcopy(network), training_data, long_enough, plan, folder, task, (0, math.inf)
        )
        end_to_end = trainer.end_to_end(Stopwatch(amount.before, steps))
        return {"ours": end_to_end, "network alone": trainer.alone(steps)}

    def timed(script: Script) -> float:
        watch = Stopwatch(amount.before, steps)
        training = script.train(
            copy.deepcopy(network.backbone),
            lambda logits, targets: one.loss(logits, targets, torch.ones_like(targets)),
            files, made.batch_size, made.lr,
        )  # fmt: skip
        with contextlib.closing(training):
            for _ in training:
                if watch.step():
                    break
        return watch.seconds

    seconds: Seconds = {}
    for turn in range(amount.repeats):
        print(f"train {task}: turn {turn + 1} of {amount.repeats}", flush=True)
        for name, value in (ours() | {name: timed(script) for name, script in Script.all(DEVICE).items()}).items():
            seconds.setdefault(name, []).append(value / measured)
    return seconds


# -------------------------------------------------------------------------------------------------------- predict


def measure_prediction(data: DataSet, settings: Settings, amount: argparse.Namespace) -> dict[str, Any]:
    folds = write_run(Path("run"), settings, data)
    cores = joblib.cpu_count()
    names = data.eval["photo"].tolist()[: amount.photos]
    some = Photos(data.root, names[:BATCH_SIZE])
    views = [View.of(made) for made in settings.values()]
    decoded = list(decode_all(some, views, cores))
    stacks = {view: np.stack([pixels[view] for pixels in decoded]) for view in views}
    ready = {view: np.resize(stack, (BATCH_SIZE, *view.size, 3)) for view, stack in stacks.items()}
    # Half as many photos are enough for what has no start and no end.
    batches = max(1, len(names) // BATCH_SIZE // 2)

    def ours(members: list[ensemble.EnsembleMember], photos: Sequence[str]) -> int:
        with Progress("predict", len(photos), "photos", quiet=True) as progress:
            over_photos.predict(members, Photos(data.root, photos), cores, progress)
        return len(photos)

    def alone(members: list[ensemble.EnsembleMember], _: Sequence[str]) -> int:
        for member in members:
            for _ in range(batches):
                member.predict(ready[member.view])
        return batches * BATCH_SIZE

    def predict_by(script: Script, networks: list[backbone.Network], photos: Sequence[str]) -> int:
        paths = [data.path(photo) for photo in photos]
        for network, view in zip(networks, views, strict=True):
            files = PhotoFiles(paths, [0.0] * len(paths), transform_for(network, view.size))
            script.predict(network.backbone, files, BATCH_SIZE)
        return len(photos)

    rivals: dict[str, Callable[[Sequence[str]], int]] = {}
    for engine in engines():
        members = [ensemble.load(fold, DEVICE, cores, Engine.of(engine)) for fold in folds.values()]
        rivals[f"ours, {engine}"] = partial(ours, members)
        rivals[f"networks alone, {engine}"] = partial(alone, members)
    scripts = Script.all(DEVICE)
    for name, script in scripts.items():
        networks = [backbone.build(made, build_task(task, made).num_logits) for task, made in settings.items()]
        rivals[name] = partial(predict_by, script, networks)

    torch.set_num_threads(cores)
    for name, rival in rivals.items():
        print(f"predict: {name} starts up", flush=True)
        rival(names[: BATCH_SIZE + len(names) % BATCH_SIZE])  # every size of batch that a compiled network will meet
    seconds: Seconds = {name: [] for name in rivals}
    for turn in range(amount.repeats):
        for name, rival in rivals.items():
            print(f"predict: turn {turn + 1} of {amount.repeats}, {name}", flush=True)
            started = now()
            photos = rival(names)
            seconds[name].append((now() - started) / photos)
    compared = {}
    for engine in engines():
        mine = seconds[f"ours, {engine}"]
        compared |= {f"{name} / ours, {engine}": ratios(seconds[name], mine) for name in scripts}
        compared[f"ours / networks alone, {engine}"] = ratios(mine, seconds[f"networks alone, {engine}"])
    return {"three networks": summaries(seconds, compared)}


# ----------------------------------------------------------------------------------------------------------- main


MEASURES = {"train": measure_training, "predict": measure_prediction, "cost": measure_cost}


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the usual amounts where it names none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["base", "small", "lite"], default="base")
    parser.add_argument(
        "--only", choices=["train", "predict", "cost"], help="this section (default: train and predict)"
    )
    parser.add_argument("--photos", type=int, help="photos to draw for each section, all of which are predicted")
    parser.add_argument("--steps", type=int, help="training steps in a turn")
    parser.add_argument("--before", type=int, help="training steps before those, which do not count")
    parser.add_argument("--repeats", type=int, help="turns")
    parser.add_argument("--cost-photos", type=int, nargs=2, metavar="N", help="photos to predict for the cost")
    parser.add_argument("--smoke", action="store_true", help="every section with tiny networks, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("speed.json"))
    parser.add_argument("--section", choices=MEASURES, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    kind = "smoke" if given.smoke else "gpu" if DEVICE == "cuda" else given.preset
    for name, usual in AMOUNTS[kind].items():
        if getattr(given, name) is None:
            setattr(given, name, usual)
    return given


def settings_of(preset: str, smoke: bool) -> Settings:
    # Not narrower: a last stage one column wide comes out as garbage in bfloat16 (machine.plan).
    tiny = {"height": 64, "width": 64, "batch_size": 8} if smoke else {}
    return {task: PRESETS[preset][task] | tiny | (TINY[task] if smoke else {}) for task in TASKS}


def main() -> None:
    amount = options()
    out = amount.out.resolve()
    settings = settings_of(amount.preset, amount.smoke)
    if amount.section:
        with contextlib.redirect_stdout(sys.stderr):
            found = MEASURES[amount.section](read_data_set(Path("people").resolve()), settings, amount)
        out.write_text(json.dumps(found))
        return
    sections = [amount.only] if amount.only else list(MEASURES)[: 3 if amount.smoke else 2]
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "amounts": {name: value for name, value in vars(amount).items() if name not in ("out", "section")},
        "settings": {task: made.as_json(task) for task, made in settings.items()},
    }
    with tempfile.TemporaryDirectory(prefix="face18-speed-") as folder, contextlib.chdir(folder):
        crowd = max(data_set.FEWEST, math.ceil(amount.photos / len(data_set.PHOTOS)))
        data_set.draw(Path("people"), people=crowd, eval_people=crowd)
        for section in sections:
            # A process each: what training asks of glibc would reach prediction too. (Not one of multiprocessing's:
            # those took seconds to start the loader processes of the scripts.)
            found = Path(f"{section}.json")
            command = [
                sys.executable,
                str(ROOT / "benchmarks" / "speed.py"),
                *sys.argv[1:],
                "--section",
                section,
                "--out",
                str(found),
            ]
            if subprocess.run(command).returncode:
                raise SystemExit(f"the section {section} failed")
            result[section] = json.loads(found.read_text())
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(shown(result))


if __name__ == "__main__":
    main()
