"""Whole runs with tiny networks: what tests call."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from models.labels import GENDERS, MASKS
from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth
from pipeline.run.settings import EvalStage
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train
from pipeline.training import trainer

SWIN = {"embed_dim": 32, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 4}
TINY = {
    "mask": {"backbone": "test_efficientnet"},
    "gender": {"backbone": "swin_tiny_patch4_window7_224", "backbone_options": SWIN},
    "age": {"backbone": "test_convnext"},
}
SIZE = {"epochs": 0.5, "batch_size": 16, "height": 64, "width": 48, "threads": 1}
SMALL = SIZE | {"preset": "small", "faces": "given", "optimizer": "adamw", "lr": 3e-3}
"""AdamW, because Muon takes a third of the time of networks that small; faces are not looked for, because that takes
longer than they do; half an epoch is a dozen steps."""


@contextmanager
def inside(folder: Path):
    """Work in `folder`, where data/prepared and runs go."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def train_tiny(run: Path, data: Path, task: str, **settings):
    return train(Train.of(task=task, run=run, data=data, **(TINY[task] | SMALL | settings)))


def interrupted(monkeypatch, work) -> None:
    """Does some work that trains, and stops it when its first checkpoint is written."""
    save = trainer.Trainer.save

    def stop(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            work()


def train_all(run: Path, data: Path, **settings):
    for task in TINY:
        train_tiny(run, data, task, **settings)


def finish(run: Path, **settings):
    """Everything after training; returns the figures of each stage."""
    return SimpleNamespace(
        predict=predict(Predict.of(run=run, threads=1, **settings)),
        calibrate=calibrate(Calibrate.of(run=run, prior="0.4,0.3,0.3", **settings)),
        submit=submit(EvalStage.of(run=run, **settings)),
        score=None if settings else score(Score.of(run=run)),
    )


def name_people(source: Path, folder: Path) -> None:
    """A data set in the general layout: eval photos name their person, but for every ninth, and a day; no labels."""
    data, key = read_data_set(source), read_truth(source).set_index("photo")["person"]
    table = pd.concat([data.train.assign(part="train"), data.eval.assign(part="eval")], ignore_index=True)
    evaluated = table["part"] == "eval"
    named = table["photo"].map(key).where(table.index % 9 > 0)
    words = {"mask": MASKS, "gender": GENDERS}
    for name, known in words.items():
        table[name] = [pd.NA if pd.isna(one) else known[int(one)] for one in table[name]]
    table["person"] = table["person"].where(~evaluated, named)
    table["day"] = [f"day {n % 3}" if n % 10 else "" for n in range(len(table))]
    for photo in table["photo"]:
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / photo, folder / photo)
    table[["photo", "person", "mask", "gender", "age", "part", "day"]].to_csv(folder / "photos.csv", index=False)


def contents(run: Path) -> dict[str, bytes]:
    """All that a run holds, but for who worked on it last."""
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def add_boxes(copy, part="train") -> None:
    """Give each photo of a part a face box, in a run's own copy of the data."""
    photos = [str(photo.relative_to(copy.data)) for photo in (copy.data / part / "images").rglob("[!.]*.*")]
    boxes = pd.DataFrame({"photo": photos}).assign(box_x=3, box_y=3, box_w=20, box_h=20)
    boxes.to_csv(copy.data / "boxes.csv", index=False)
