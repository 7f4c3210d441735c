"""Every preset is whole: each task, each setting, and a network that timm knows."""

import json
from pathlib import Path

import pytest
import timm

from models.declared import declared
from models.packaged import PACKAGES
from pipeline.run import presets
from pipeline.run.settings import NETWORKS, SYSTEMS, TASKS
from pipeline.run.train_settings import TrainingSettings

FAMILIES = {"mask": "efficientnet", "gender": "swin", "age": "convnext", "joint": "convnext", "multihead": "convnext"}
"""Of the presets but lite, whose networks are all EfficientNet-Lites."""


def test_every_preset_has_every_task_and_a_place_to_start():
    assert set(presets.PRESETS) == {"lite", "small", "base", "large"} == set(presets.WEIGHTS)
    for preset in presets.PRESETS.values():
        assert tuple(preset) == NETWORKS
    assert presets.WEIGHTS == {"lite": "hub", "small": "none", "base": "hub", "large": "hub"}


@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_settings_are_plain_and_the_backbone_is_timms(preset, task):
    settings = presets.PRESETS[preset][task]
    written = json.loads(json.dumps(settings.as_json()))
    assert TrainingSettings.from_json(written, Path("file")) == settings
    assert timm.is_model(settings.backbone)
    assert settings.backbone == "tf_efficientnet_lite0" if preset == "lite" else FAMILIES[task] in settings.backbone
    assert settings.height * 3 == settings.width * 4  # the contest's aspect
    scratch = presets.WEIGHTS[preset] == "none" and settings.backbone not in PACKAGES
    assert settings.layer_decay == 1 if scratch else settings.layer_decay < 1


@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_from_scratch_first_layers_learn_as_fast_as_last_ones(preset, task):
    scratch = presets.settings_of(preset, task, "none")
    assert scratch.layer_decay == 1
    assert presets.settings_of(preset, task) == presets.PRESETS[preset][task]
    if (preset, task) == ("small", "mask"):  # its weights come in a package
        assert (scratch.optimizer, scratch.backbone in PACKAGES) == ("muon", False)
    else:
        assert scratch == presets.PRESETS[preset][task] | {"layer_decay": 1.0}


def test_photo_sizes_are_the_ones_promised():
    sizes = {name: {(t.height, t.width) for t in preset.values()} for name, preset in presets.PRESETS.items()}
    assert sizes == {
        "lite": {(128, 96), (160, 120)},
        "small": {(128, 96), (96, 72)},
        "base": {(256, 192)},
        "large": {(384, 288)},
    }


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("task", NETWORKS)
def test_no_network_is_given_a_setting_it_does_not_know(preset, task):
    settings = presets.PRESETS[preset][task]
    foreign = {name: one for name, one in declared(TrainingSettings).items() if not one.known_by(task)}
    assert {name: getattr(settings, name) for name in foreign} == {name: one.default for name, one in foreign.items()}


def test_the_networks_of_the_systems():
    assert SYSTEMS == {"specialists": TASKS, "joint": ("joint",), "multihead": ("multihead",)}
    assert NETWORKS == ("mask", "gender", "age", "joint", "multihead")


def test_which_tasks_know_a_setting():
    assert presets.tasks_with("lr") == NETWORKS
    assert presets.tasks_with("class_balance") == ("mask",)
    assert presets.tasks_with("smoothing") == ("mask", "gender", "joint", "multihead")
    assert presets.tasks_with("loss") == presets.tasks_with("focal_gamma") == presets.tasks_with("smoothing")
    assert presets.tasks_with("rare_ages") == presets.tasks_with("age_scale") == ("age", "multihead")
    assert presets.tasks_with("patience") == presets.tasks_with("schedule") == NETWORKS
    assert presets.tasks_with("folds") == ()
