"""Layers that learn faster on some processors than timm's and PyTorch's, by the same numbers but for rounding.

On GPUs, and where no gradient is taken, they do just what those they stand for do.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from models.cpu import convnext, depthwise, efficientnet, swin

LAYERS = {
    "convnext": [(convnext.LeanConvNeXtBlock, convnext.is_eligible)],
    "depthwise": [
        (depthwise.DepthwiseConv2d, depthwise.is_eligible),
        (depthwise.DepthwiseConv2dSame, depthwise.is_eligible_same),
    ],
    "relu6": [(efficientnet.LeanReLU6, efficientnet.is_relu6)],
    "silu": [(efficientnet.LeanSiLU, efficientnet.is_silu)],
    "squeeze-excite": [(efficientnet.LeanSqueezeExcite, efficientnet.is_squeeze_excite)],
    "swin": [(swin.LeanSwinBlock, swin.is_eligible)],
}
"""By the name that plans have for them: each, and whether it can stand for a layer, which is one of the class that it
derives from."""


def exchange(network: nn.Module, names: Collection[str] = tuple(LAYERS)) -> nn.Module:
    """The network with these faster layers in place of those they can stand for; weights and their names stay."""
    pairs = [pair for name in names for pair in LAYERS[name]]
    for layer in network.modules():
        for kind, is_eligible in pairs:
            if is_eligible(layer):
                layer.__class__ = kind
    return network


def used(network: nn.Module) -> list[str]:
    """The names of the faster layers that can stand for some of a network's."""
    layers = list(network.modules())
    return [name for name, pairs in LAYERS.items() if any(can(layer) for _, can in pairs for layer in layers)]
