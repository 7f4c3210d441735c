"""Every preset is whole: each task, each setting, and a network that timm knows."""

import json
import re
from pathlib import Path

import pytest
import timm

from pipeline.run import presets

FAMILIES = {"mask": "efficientnet", "gender": "swin", "age": "convnext", "joint": "convnext", "multihead": "convnext"}


def test_every_preset_has_every_task_and_a_place_to_start():
    assert set(presets.PRESETS) == {"small", "base", "large"} == set(presets.WEIGHTS)
    for preset in presets.PRESETS.values():
        assert tuple(preset) == presets.NETWORKS
    assert presets.WEIGHTS == {"small": "none", "base": "hub", "large": "hub"}


@pytest.mark.parametrize("task", presets.NETWORKS)
def test_a_task_has_the_same_settings_under_every_preset(task):
    names = [set(preset[task]) for preset in presets.PRESETS.values()]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize("task", presets.NETWORKS)
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_settings_are_plain_and_the_backbone_is_timms(preset, task):
    settings = presets.PRESETS[preset][task]
    assert json.loads(json.dumps(settings)) == settings
    assert timm.is_model(settings["backbone"])
    assert settings["backbone"].startswith(FAMILIES[task])
    assert settings["height"] * 3 == settings["width"] * 4  # the contest's aspect
    assert settings["layer_decay"] == 1 if presets.WEIGHTS[preset] == "none" else settings["layer_decay"] < 1


def test_photo_sizes_are_the_ones_promised():
    sizes = {name: {(t["height"], t["width"]) for t in preset.values()} for name, preset in presets.PRESETS.items()}
    assert sizes == {"small": {(128, 96), (96, 72)}, "base": {(256, 192)}, "large": {(384, 288)}}


def test_no_two_presets_share_a_table():
    tables = [id(table) for preset in presets.PRESETS.values() for table in preset.values()]
    assert len(set(tables)) == 15


def test_the_networks_of_the_systems():
    assert presets.SYSTEMS == {"specialists": presets.TASKS, "joint": ("joint",), "multihead": ("multihead",)}
    assert presets.NETWORKS == ("mask", "gender", "age", "joint", "multihead")


def test_which_tasks_know_a_setting():
    assert presets.tasks_with("lr") == presets.NETWORKS
    assert presets.tasks_with("class_balance") == ("mask",)
    assert presets.tasks_with("smoothing") == ("mask", "gender", "joint", "multihead")
    assert presets.tasks_with("loss") == presets.tasks_with("focal_gamma") == presets.tasks_with("smoothing")
    assert presets.tasks_with("rare_ages") == presets.tasks_with("age_scale") == ("age", "multihead")
    assert presets.tasks_with("patience") == presets.tasks_with("schedule") == presets.NETWORKS
    assert presets.tasks_with("folds") == ()


def test_every_setting_is_used_by_the_code():
    root = Path(presets.__file__).parents[2]
    code = "".join(
        file.read_text()
        for folder in ("models", "pipeline")
        for file in (root / folder).rglob("*.py")
        if file.name != "presets.py"
    )
    used = set(re.findall(r"settings\[\"(\w+)\"\]", code))
    known = {name for preset in presets.PRESETS.values() for task in preset.values() for name in task}
    assert known <= used
