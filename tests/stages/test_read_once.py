"""A stage reads its data set, each fold's record and each file that it depends on once, and hands them on."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from tiny_runs import TINY, inside, train_tiny

from pipeline.dataset import photos
from pipeline.run.settings import EvalStage
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.submit import submit
from pipeline.stages.train import train


@pytest.fixture(scope="module")
def two_folds(done, tmp_path_factory) -> Path:
    """The finished run after a second fold of each specialist; tests must not change it."""
    home = tmp_path_factory.mktemp("two_folds")
    shutil.copytree(done.home, home, dirs_exist_ok=True)
    with inside(home):
        for task in TINY:
            train_tiny(Path("runs/one"), done.data, task, folds="0,1")
    return home / "runs/one"


@pytest.fixture
def reads(copy, two_folds, monkeypatch):
    """How often what is read, by what is done with it and where it lies; two folds of each specialist."""
    for task in TINY:
        shutil.copytree(two_folds / task, copy.run / task, dirs_exist_ok=True)
    counted = Counter()

    def count(module, name):
        work = getattr(module, name)

        def counting(path, *more):
            counted[name, str(path)] += 1
            return work(path, *more)

        monkeypatch.setattr(module, name, counting)

    for name in ("read_json", "read_csv", "file_fingerprint"):
        count(store, name)
    for name in ("read_data_set", "read_folder"):
        count(photos, name)
    return counted


WRITTEN = ("predictions.csv", "bad_photos.csv", "validation.csv", "combiner.json", "held_out.csv", "submission.csv",
           "settings.json")  # fmt: skip
"""What stages write beside each other in a run's folder: looked at before it is written, and after."""


def _is_written(path: Path) -> bool:
    folder = path.parent.name  # chunks may be written by another process between two looks
    return (
        folder.startswith("chunks-")
        or path.name.startswith("openvino.")
        or (path.name in WRITTEN and "fold" not in folder)
    )


def check(reads: Counter, *names: tuple[str, str]) -> None:
    """All names were read, and nothing was read twice but what the stage itself writes."""
    twice = {(how, path) for (how, path), times in reads.items() if times > 1}
    assert {path for _, path in twice if not _is_written(Path(path))} == set()
    for name in names:
        assert reads[name] == 1, name
    reads.clear()


def folds(run: Path) -> list[Path]:
    return [run / task / f"fold{fold}" for task in TINY for fold in (0, 1)]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_each_stage_after_training_reads_all_once(copy, reads, engine):
    of_folds = [
        ("read_json", str(folder / name)) for folder in folds(copy.run) for name in ("settings.json", "done/train.json")
    ]
    weights = [("file_fingerprint", str(folder / "weights.safetensors")) for folder in folds(copy.run)]
    data = ("read_data_set", str(copy.data))
    for _ in ("works", "stands"):
        predict(Predict.of(run=copy.run, threads=1, engine=engine))
        check(reads, data, *of_folds, *weights)
        calibrate(Calibrate.of(run=copy.run, prior="0.4,0.3,0.3"))
        check(reads, *of_folds)
        submit(EvalStage.of(run=copy.run))
        check(reads, data)


def test_a_folder_of_ones_own_is_read_beside_the_runs_data(copy, reads):
    predict(Predict.of(run=copy.run, threads=1, engine="openvino", eval=copy.data / "eval/images"))
    check(reads, ("read_data_set", str(copy.data)), ("read_folder", str(copy.data / "eval/images")))


def test_training_reads_the_records_of_its_folds_once(copy, reads):
    train(Train.of(run=copy.run, task="age", folds="0,1"))
    records = [("read_json", str(copy.run / "age" / f"fold{fold}/settings.json")) for fold in (0, 1)]
    check(reads, ("read_data_set", str(copy.data)), *records)
