"""Whole runs with tiny networks on a few drawn people."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline import store
from pipeline.runs import EvalSettings, RunSettings
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.data import Data, data
from pipeline.stages.predict import Predict, predict
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train

SWIN = '{"embed_dim": 32, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 4}'
TINY = {
    "mask": {"backbone": "test_efficientnet"},
    "gender": {"backbone": "swin_tiny_patch4_window7_224", "backbone_options": SWIN},
    "age": {"backbone": "test_convnext"},
}
SMALL = {"epochs": 1, "batch": 16, "height": 64, "width": 48, "threads": 1}


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
    return train(Train(task=task, run=run, data=data, **(TINY[task] | SMALL | settings)))


def train_all(run: Path, data: Path, **settings):
    for task in TINY:
        train_tiny(run, data, task, **settings)


def finish(run: Path, **settings):
    """Everything after training; returns the figures of each stage."""
    return SimpleNamespace(
        predict=predict(Predict(run=run, threads=1, **settings)),
        calibrate=calibrate(Calibrate(run=run, prior="0.4,0.3,0.3", **settings)),
        submit=submit(EvalSettings(run=run, **settings)),
        score=None if settings else score(Score(run=run)),
    )


def add_boxes(copy, part="train") -> None:
    """Give each photo of a part a face box, in a run's own copy of the data."""
    photos = [str(photo.relative_to(copy.data)) for photo in (copy.data / part / "images").rglob("[!.]*.*")]
    boxes = pd.DataFrame({"photo": photos}).assign(box_x=3, box_y=3, box_w=20, box_h=20)
    boxes.to_csv(copy.data / "boxes.csv", index=False)


@pytest.fixture(scope="session")
def people(tmp_path_factory) -> Path:
    """A drawn data set that tests must not change; workers side by side draw it once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "drawn/people"
    data(Data(folder=folder, people=60, eval_people=10, seed=3))
    return folder


@pytest.fixture(scope="session")
def done(people, tmp_path_factory):
    """A finished run that tests must not change: folder, data and figures."""
    home = tmp_path_factory.mktemp("home")
    with inside(home):
        train_all(Path("runs/one"), people)
        figures = finish(Path("runs/one"))
    return SimpleNamespace(home=home, run=home / "runs/one", data=people, figures=figures)


@pytest.fixture
def copy(done, tmp_path, monkeypatch):
    """A finished run and its data to change at will; the test works beside them."""
    shutil.copytree(done.home, tmp_path, dirs_exist_ok=True)
    shutil.copytree(done.data, tmp_path / "people")
    record = tmp_path / "runs/one/run.json"
    store.write_json(record, store.read_json(record) | {"data": "people"})
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(run=Path("runs/one"), data=Path("people"), settings=RunSettings(run=Path("runs/one")))
