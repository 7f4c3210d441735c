"""The plan for the machine as a user sees it: told, overridden, recorded and kept."""

import pytest
from conftest import SMALL, TINY, train_tiny

from models.errors import UserError
from pipeline import machine, store
from pipeline.stages.train import Train, train


def told(run, people, task="gender", **given):
    return train(Train(task=task, run=run, data=people, plan=True, **given))["fold0"]


def test_settings_stand_above_the_plan(tmp_path, people, capsys):
    run = tmp_path / "run"
    made = told(run, people, precision="float32", channels_last="yes", threads=1, workers=2)
    assert (made["precision"], made["channels_last"], made["threads"], made["workers"]) == ("float32", True, 1, 2)
    usual = machine.plan("").muon_precision
    assert f"in float32, Muon in {usual}, channels last, 1 threads, 2 loader processes" in capsys.readouterr().out
    assert told(run, people, muon_precision="bfloat16")["muon_precision"] == "bfloat16"
    assert "Muon in bfloat16, " in capsys.readouterr().out
    told(run, people, optimizer="adamw")
    assert "Muon" not in capsys.readouterr().out
    assert told(run, people, precision="bfloat16")["precision"] == "bfloat16"
    assert told(run, people, task="mask", channels_last="no")["channels_last"] is False


def test_a_plan_that_cannot_be(tmp_path, people):
    with pytest.raises(UserError, match=r"--precision bfloat: .*perhaps you mean bfloat16"):
        told(tmp_path / "run", people, precision="bfloat")
    with pytest.raises(UserError, match=r"--muon-precision float: .*perhaps you mean float32"):
        told(tmp_path / "run", people, muon_precision="float")
    with pytest.raises(UserError, match="less than 64 pixels wide"):
        told(tmp_path / "run", people, precision="bfloat16", height=64, width=48)


def test_a_plan_is_recorded_and_kept(tmp_path, people):
    run = tmp_path / "run"
    train_tiny(run, people, "mask", precision="float32", channels_last="no")
    made = store.read_json(run / "mask" / "fold0" / "settings.json")["plan"]
    assert made["channels_last"] is False
    assert machine.plan("test_efficientnet").channels_last
    again = told(run, people, task="mask", **(TINY["mask"] | SMALL))
    assert again == made
