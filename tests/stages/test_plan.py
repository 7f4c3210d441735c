"""The plan for the machine as a user sees it: told, overridden, recorded and kept."""

import re
import shutil

import pytest
from PIL import Image
from tiny_runs import SMALL, TINY, train_tiny

from models.errors import UserError
from pipeline.runtime import machine, store
from pipeline.stages.train import Train, train
from pipeline.training.trainer import Trainer


def told(run, people, task="gender", **given):
    return train(Train.of(**({"task": task, "run": run, "data": people, "preset": "small", "plan": True} | given)))[
        "fold0"
    ]


def test_settings_stand_above_the_plan(tmp_path, people, capsys):
    run = tmp_path / "run"
    made = told(run, people, precision="float32", channels_last=True, threads=1, workers=2)
    assert (made["precision"], made["channels_last"], made["threads"], made["workers"]) == ("float32", True, 1, 2)
    usual = machine.plan("").muon_precision
    kinds = rf"in float32, Muon in {usual}, channels last, layers (swin|timm's own), 1 threads, 2 loader processes"
    assert re.search(kinds, capsys.readouterr().out)
    told(run, people, layers="faster")
    assert "layers convnext, depthwise, relu6, silu, squeeze-excite, swin, " in capsys.readouterr().out
    told(run, people, layers="timm")
    assert "layers timm's own, " in capsys.readouterr().out
    assert told(run, people, muon_precision="bfloat16")["muon_precision"] == "bfloat16"
    assert "Muon in bfloat16, " in capsys.readouterr().out
    told(run, people, optimizer="adamw")
    assert "Muon" not in capsys.readouterr().out
    assert told(run, people, precision="bfloat16")["precision"] == "bfloat16"
    assert told(run, people, task="mask", channels_last=False)["channels_last"] is False


def test_a_plan_that_cannot_be(tmp_path, people):
    with pytest.raises(UserError, match=r"--precision bfloat: .*perhaps you mean bfloat16"):
        told(tmp_path / "run", people, precision="bfloat")
    with pytest.raises(UserError, match=r"--muon-precision float: .*perhaps you mean float32"):
        told(tmp_path / "run", people, muon_precision="float")
    with pytest.raises(UserError, match="less than 64 pixels wide"):
        told(tmp_path / "run", people, precision="bfloat16", height=64, width=48)


def interrupted(run, people, **given):
    """A fold of the mask network that stopped at its first step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "end_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_tiny(run, people, "mask", **given)


def test_a_fold_does_not_go_on_with_other_pixels(tmp_path, people, monkeypatch):
    """A photo altered within its size: names and sizes are the same."""
    monkeypatch.chdir(tmp_path)
    data, run = tmp_path / "people", tmp_path / "run"
    shutil.copytree(people, data)
    interrupted(run, data)
    photo = sorted((data / "train/images").glob("*/[!.]*.jpg"))[0]
    size = photo.stat().st_size
    Image.open(photo).rotate(180).save(photo, quality=20)
    photo.write_bytes(photo.read_bytes().ljust(size, b"\0"))
    assert photo.stat().st_size == size
    with pytest.raises(UserError, match=r"was begun on other pixels"):
        train_tiny(run, data, "mask")
    train_tiny(run, data, "mask", restart=True)


def plan_of(run):
    return store.read_json(run / "mask" / "fold0" / "settings.json")["plan"]


def test_a_fold_that_goes_on_takes_other_loaders_and_says_what_stays(tmp_path, people, capsys):
    run = tmp_path / "run"
    interrupted(run, people, workers=1)
    assert plan_of(run)["workers"] == 1
    capsys.readouterr()
    train_tiny(run, people, "mask", workers=0, channels_last=False)
    assert plan_of(run)["workers"] == 0
    assert plan_of(run)["channels_last"] is True
    assert "mask fold 0: channels last stays True, as begun; to change it, --restart" in capsys.readouterr().out


def test_a_fold_begun_on_another_device_goes_on_with_this_one(tmp_path, people, capsys):
    run = tmp_path / "run"
    interrupted(run, people)
    path = run / "mask" / "fold0" / "settings.json"
    made = store.read_json(path)
    store.write_json(path, made | {"plan": made["plan"] | {"device": "cuda", "precision": "bfloat16"}})
    assert train_tiny(run, people, "mask")["fold0"]["macro_f1"] >= 0
    assert plan_of(run) == made["plan"]
    assert "mask fold 0: was begun on cuda; it goes on with cpu" in capsys.readouterr().out


def test_a_restart_that_is_refused_moves_nothing(tmp_path, people):
    run = tmp_path / "run"
    train_tiny(run, people, "mask")
    with pytest.raises(UserError, match="less than 64 pixels wide"):
        train_tiny(run, people, "mask", restart=True, precision="bfloat16")
    assert [path.name for path in (run / "mask").iterdir() if path.is_dir()] == ["fold0"]


def test_a_plan_is_recorded_and_kept(tmp_path, people):
    run = tmp_path / "run"
    train_tiny(run, people, "mask", precision="float32", channels_last=False)
    made = store.read_json(run / "mask" / "fold0" / "settings.json")["plan"]
    assert made["channels_last"] is False
    assert machine.plan("test_efficientnet").channels_last
    again = told(run, people, task="mask", **(TINY["mask"] | SMALL))
    assert again == made
