"""A training followed by tensorboard: what it is told is the log, and nothing else changes."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import interrupted, train_tiny

from pipeline.__main__ import main
from pipeline.runtime import store


def told(fold):
    """What was told to tensorboard, by name: (step, value)."""
    events = EventAccumulator(str(fold / "tensorboard"))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_what_is_told_is_the_log(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("followed"), people, "mask", epochs=2, log="tensorboard")
    train_tiny(Path("alone"), people, "mask", epochs=2)
    fold = Path("followed/mask/fold0")
    log = store.read_csv(fold / "log.csv")
    found = told(fold)
    assert set(found) == {name for name in log if name != "epoch"} | {"epoch"}
    for name, values in found.items():
        assert [value for _, value in values] == pytest.approx(log[name].tolist(), rel=1e-6)
        assert [step for step, _ in values] == sorted({step for step, _ in values})
    weights = [(Path(run) / "mask/fold0/weights.safetensors").read_bytes() for run in ("followed", "alone")]
    assert weights[0] == weights[1]
    assert not Path("alone/mask/fold0/tensorboard").exists()


def test_an_interrupted_training_goes_on_telling(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupted(monkeypatch, lambda: train_tiny(Path("run"), people, "mask", epochs=2, log="tensorboard"))
    train_tiny(Path("run"), people, "mask", epochs=2, log="tensorboard")
    log = store.read_csv(Path("run/mask/fold0/log.csv"))
    assert [value for _, value in told(Path("run/mask/fold0"))["epoch"]] == log["epoch"].tolist()


def test_without_the_package_it_is_told_before_anything(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.stages.train.find_spec", lambda name: None)
    assert main(["train", "mask", "--data", str(people), "--run", "run", "--log", "tensorboard"]) == 2
    sentence = "--log tensorboard needs the package tensorboard; pip install tensorboard brings it."
    assert capsys.readouterr().err == f"face18: {sentence}\n"
    assert list(tmp_path.iterdir()) == []
