"""make tune: what it measures is written down, told, and used by the next training."""

import subprocess
from pathlib import Path

import pytest
from tiny_runs import train_tiny

from pipeline.__main__ import main
from pipeline.run.presets import PRESETS
from pipeline.runtime import machine, store, tuned
from pipeline.runtime.plan_table import Way
from pipeline.stages import tune as stage
from pipeline.training import tuning
from pipeline.training.tuning import Timed

WAY = Way("float32", False, ())
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(tuned.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(stage, "has_gpu", lambda: False)
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch):
    """Instead of timing: what was asked for."""
    found = []

    def fastest(task, made, plan, seconds, tell):
        found.append((task, plan, seconds))
        tell(Timed(WAY, 0.5))
        return WAY, [Timed(WAY, 0.5), Timed(Way("bfloat16", True, ("swin",)), None)]

    monkeypatch.setattr(tuning, "fastest", fastest)
    monkeypatch.setattr(tuning, "candidates", lambda made, plan: [plan.way])  # no network need be built
    return found


@pytest.fixture
def tiny(monkeypatch):
    """Tiny networks in the place of a preset's."""
    small = {"backbone": "test_efficientnet", "height": 64, "width": 48, "batch_size": 4}
    monkeypatch.setattr(
        stage.presets, "settings_of", lambda preset, task, weights="auto": PRESETS["lite"][task] | small
    )


def test_networks_of_a_preset_are_timed_once_each_and_used_from_then_on(asked, capsys):
    assert main(["tune", "--preset", "lite", "--threads", "1", "--minutes", "1"]) == 0
    assert [task for task, _, _ in asked] == ["mask", "age"]  # mask and gender are the same network
    assert all(plan.threads == 1 for _, plan, _ in asked)
    first, second = (seconds for _, _, seconds in asked)
    assert 20 < first <= 30
    assert 50 < second <= 60  # what the first left
    told = capsys.readouterr().out
    assert "tf_efficientnet_lite0 at 128x96: float32, channels first takes 0.50 times as long" in told
    assert "no time was left for bfloat16, channels last, our swin; --minutes gives more" in told
    assert "tuned.json; trainings that begin on this machine now go by it" in told
    made = machine.plan("tf_efficientnet_lite0", (160, 120))
    assert made.way == WAY
    assert made.tuned is not None


def test_a_training_says_and_records_that_it_was_tuned(asked, tiny, capsys, people, tmp_path):
    assert main(["tune", "--preset", "lite"]) == 0
    train_tiny(tmp_path / "run", people, "mask", plan=True)
    assert "as make tune measured here on" in capsys.readouterr().out
    train_tiny(tmp_path / "run", people, "mask")
    plan = store.read_json(tmp_path / "run/mask/fold0/settings.json")["plan"]
    assert (plan["precision"], plan["channels_last"], plan["layers"]) == ("float32", False, [])
    assert plan["tuned"] is not None
    assert f"as make tune measured here on {plan['tuned']}" in capsys.readouterr().out


def test_a_gpu_has_nothing_to_tune(monkeypatch, capsys, cache):
    monkeypatch.setattr(stage, "has_gpu", lambda: True)
    assert main(["tune"]) == 2
    assert "there is nothing to choose on a GPU" in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.parametrize("given", [["--minutes", "0"], ["--preset", "tiny"], ["--run", "x"]])
def test_settings_that_cannot_be_are_refused(given, cache):
    assert main(["tune", *given]) == 2
    assert not cache.exists()


def test_a_processor_that_nobody_measured_is_told(asked, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.runtime.instructions.instructions", lambda: "arm")
    assert main(["tune", "--preset", "lite"]) == 0
    assert "nothing was measured on such processors before; usually they train as avx2" in capsys.readouterr().out


def test_it_runs_in_earnest(tiny, capsys):
    assert main(["tune", "--minutes", "0.04", "--threads", "1"]) == 0
    way, _ = tuned.found("test_efficientnet", (64, 48))
    told = capsys.readouterr().out
    assert f"test_efficientnet at 64x48: {stage.in_words(way)}" in told
    assert "times as long as the best so far" in told


def test_where_nothing_was_compared_nothing_is_kept(asked, monkeypatch, capsys):
    monkeypatch.setattr(tuning, "fastest", lambda task, made, plan, *_: (plan.way, [Timed(WAY, None)]))
    assert main(["tune", "--preset", "lite"]) == 0
    assert machine.plan("tf_efficientnet_lite0", (128, 96)).tuned is None
    told = capsys.readouterr().out
    assert "no time was left" in told
    assert "kept in" not in told


def test_the_usual_way_is_told_as_such(tiny, monkeypatch, capsys):
    monkeypatch.setattr(
        tuning, "fastest", lambda task, made, plan, *_: (tuning.candidates(made, plan)[0], [Timed(WAY, 2.0)])
    )
    assert main(["tune", "--preset", "lite"]) == 0
    assert capsys.readouterr().out.count(", as usual (") == 1


def test_what_was_measured_before_an_interruption_is_kept(asked, monkeypatch):
    def fastest(task, *_):
        if task == "age":
            raise KeyboardInterrupt
        return WAY, [Timed(WAY, 0.5)]

    monkeypatch.setattr(tuning, "fastest", fastest)
    with pytest.raises(KeyboardInterrupt):
        stage.tune(stage.Tune())
    assert machine.plan("tf_efficientnet_lite0", (128, 96)).way == WAY


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_timed(monkeypatch, tmp_path, capsys, asked):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(tuned.FOLDER, str(tmp_path / "file"))
    assert main(["tune"]) == 2
    assert "what is measured cannot be kept" in capsys.readouterr().err
    assert asked == []


def test_make_refuses_what_tuning_does_not_go_by():
    for name in ("DATA", "RUN", "RECIPE", "SYSTEM"):
        told = subprocess.run(["make", "-n", "tune", f"{name}=x"], cwd=ROOT, capture_output=True, text=True)
        assert told.returncode == 2
        assert "make tune times the networks of a PRESET=" in told.stderr
