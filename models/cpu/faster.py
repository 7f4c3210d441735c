"""Layers that learn faster on CPUs than timm's and PyTorch's, by the same numbers but for rounding.

On GPUs, and where no gradient is taken, they do just what those they stand for do.
"""

from __future__ import annotations

from torch import nn

from models.cpu import convnext, depthwise, efficientnet, swin

LAYERS = {
    convnext.LeanConvNeXtBlock: convnext.is_eligible,
    depthwise.DepthwiseConv2d: depthwise.is_eligible,
    efficientnet.LeanSiLU: efficientnet.is_silu,
    efficientnet.LeanSqueezeExcite: efficientnet.is_squeeze_excite,
    swin.LeanSwinBlock: swin.is_eligible,
}
"""Each, and whether it can stand for a layer, which is one of the class that it derives from."""


def exchange(network: nn.Module) -> nn.Module:
    """The network with faster layers in place of those they can stand for; weights and their names stay."""
    for layer in network.modules():
        for kind, is_eligible in LAYERS.items():
            if is_eligible(layer):
                layer.__class__ = kind
    return network


def give_back(network: nn.Module) -> nn.Module:
    """The network with timm's and PyTorch's own layers again."""
    for layer in network.modules():
        if type(layer) in LAYERS:
            layer.__class__ = type(layer).__base__
    return network
