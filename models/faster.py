"""Layers that train faster on CPUs than timm's and answer the same; on GPUs and in prediction they are timm's own."""

from __future__ import annotations

from torch import nn

from models import depthwise, squeeze_excite, stochastic_depth

LAYERS = (
    depthwise.DepthwiseConv2d,
    squeeze_excite.LeanSiLU,
    squeeze_excite.LeanSqueezeExcite,
    stochastic_depth.SparingConvNeXtBlock,
    stochastic_depth.SparingSwinBlock,
)
"""Each derives from the layer that it stands for."""


def exchange(network: nn.Module) -> None:
    """Put the faster layers in place of those they stand for; weights and their names stay."""
    for room in (depthwise, squeeze_excite, stochastic_depth):
        room.exchange(network)


def give_back(network: nn.Module) -> None:
    """Make the faster layers timm's and PyTorch's again."""
    for layer in network.modules():
        if type(layer) in LAYERS:
            layer.__class__ = type(layer).__base__
