"""Tiny networks as the specialists' would be, with random weights."""

import torch

from models import backbone
from pipeline.run.fold_records import INPUTS, BegunFold
from pipeline.run.presets import PRESETS
from pipeline.runtime.machine import Plan

NETWORKS = {
    "test_efficientnet": {},
    "test_convnext": {},
    "swin_tiny_patch4_window7_224": {
        "embed_dim": 32,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 4, 8],
        "window_size": 4,
    },
}
BACKBONE = {"mask": "test_efficientnet", "gender": "swin_tiny_patch4_window7_224", "age": "test_convnext"}


def settings_of(task, name=None, size=(64, 48)):
    name = name or BACKBONE[task]
    made = {"backbone": name, "backbone_options": NETWORKS[name], "height": size[0], "width": size[1]}
    return PRESETS["small"][task] | made


def network_of(name, seed=0, num_logits=3, size=(64, 48)):
    torch.manual_seed(seed)
    network = backbone.build(settings_of("mask", name, size), num_logits)
    for module in network.modules():  # batch norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def begun_fold_of(folder, task, number, settings, channels_last=False):
    """A fold's folder as train leaves it, but for what training writes."""
    BegunFold(
        folder=folder, task=task, number=number, settings=settings,
        inputs=dict.fromkeys(INPUTS, ""), crop=1.0, weights="none", versions={},
        pixels="", plan=Plan("cpu", "bfloat16", channels_last, 1, 0),
    ).write()  # fmt: skip
