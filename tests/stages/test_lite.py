"""lite as users run it: three pretrained networks, the same bytes whoever interrupts or helps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_runs import inside

from pipeline.run.settings import TASKS, EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train
from pipeline.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
FEW = {"height": 64, "width": 48, "epochs": 0.3, "batch_size": 16, "threads": 1, "preset": "lite"}
"""Four steps of the mask, six of the others."""
WEIGHTS = "fold0/weights.safetensors"


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory):
    """The networks of a run that nobody interrupted, without loader processes."""
    home = tmp_path_factory.mktemp("lite")
    with inside(home):
        for task in TASKS:
            train(Train.of(task=task, run=Path("run"), data=people, faces="given", **FEW))
    return home


def digests_of(home: Path) -> dict[str, str | None]:
    """Of each network's weights: pytest would explain for minutes how megabytes differ."""
    return {task: store.file_fingerprint(home / "run" / task / WEIGHTS) for task in TASKS}


def test_each_network_starts_at_the_package_and_says_so(whole):
    for task in TASKS:
        made = store.read_json(whole / "run" / task / "fold0/settings.json")
        assert (made["weights"], made["settings"]["backbone"]) == ("package", "tf_efficientnet_lite0")
    (kept,) = (whole / "data/prepared/weights").glob("*/*.safetensors")
    head = load_file(whole / "run/mask" / WEIGHTS)["backbone.classifier.weight"]
    assert head.shape[0] == 3
    assert load_file(kept)["classifier.weight"].shape[0] == 1000


def test_interrupted_at_any_step_it_ends_in_the_same_bytes(whole, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step = Trainer.train_step
    for task in TASKS:
        for stop in (1, 3):

            def stops(self, *given, stop=stop):
                if self.step == stop:
                    raise KeyboardInterrupt
                return step(self, *given)

            monkeypatch.setattr(Trainer, "train_step", stops)
            with pytest.raises(KeyboardInterrupt):
                train(Train.of(task=task, run=Path("run"), data=people, faces="given", checkpoint_steps=1, **FEW))
        monkeypatch.setattr(Trainer, "train_step", step)
        train(Train.of(task=task, run=Path("run"), data=people, faces="given", **FEW))
    assert digests_of(tmp_path) == digests_of(whole)


@pytest.mark.slow
def test_side_by_side_and_with_loaders_it_ends_in_the_same_bytes(whole, people, tmp_path):
    words = [word for name, value in FEW.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "pipeline", "train"]
    more = ["--run", "run", "--data", str(people), "--workers", "2", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen([*command, task, *more], cwd=tmp_path, env=env) for task in TASKS]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert digests_of(tmp_path) == digests_of(whole)


def test_its_run_goes_to_the_score(whole):
    with inside(whole):
        predict(Predict.of(run=Path("run"), threads=1))
        calibrate(Calibrate.of(run=Path("run")))
        submit(EvalStage.of(run=Path("run")))
        assert 0 < score(Score.of(run=Path("run")))["macro_f1"] < 1
