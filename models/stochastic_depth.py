"""Stochastic depth (Huang et al. 2016) that spares the work it drops.

timm takes a block's branch of every photo and multiplies what is dropped by 0. Here the branch is taken of the kept
photos alone: the same draws, outputs and gradients for less work. On CPUs only, because to count the kept photos a
GPU would have to wait, and only where a branch treats photos apart, as batch normalisation does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers import DropPath
from timm.models.convnext import ConvNeXtBlock
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SparingSwinBlock(SwinTransformerBlock):
    """timm's block with both of its branches spared."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels) -> the same shape."""
        x = residual(x, lambda some: self._attn(self.norm1(some)), self.drop_path1)
        return residual(x, lambda some: self.mlp(self.norm2(some)), self.drop_path2)


class SparingConvNeXtBlock(ConvNeXtBlock):
    """timm's block with its branch spared."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> the same shape."""
        if not spares(self.drop_path, x):
            return super().forward(x)
        # Channels last, as most of the branch is; otherwise picking photos would turn them channels first.
        return residual(x.permute(0, 2, 3, 1), self._branch, self.drop_path).permute(0, 3, 1, 2)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.conv_dw(x.permute(0, 3, 1, 2))
        if self.use_conv_mlp:
            x = self.mlp(self.norm(x)).permute(0, 2, 3, 1)
        else:
            x = self.mlp(self.norm(x.permute(0, 2, 3, 1)))
        return x if self.gamma is None else x * self.gamma


def is_eligible(layer: nn.Module) -> bool:
    """Whether a layer is a block of a Swin or ConvNeXt that keeps its input's shape and treats photos apart."""
    if any(isinstance(part, _BatchNorm) for part in layer.modules()):
        return False
    if type(layer) is ConvNeXtBlock:
        return isinstance(layer.shortcut, nn.Identity)
    return type(layer) is SwinTransformerBlock


def exchange(network: nn.Module) -> None:
    """Have every eligible block of a network spare what it drops; weights and their names stay."""
    for layer in network.modules():
        if is_eligible(layer):
            layer.__class__ = SparingConvNeXtBlock if isinstance(layer, ConvNeXtBlock) else SparingSwinBlock


def spares(drop_path: nn.Module, x: Tensor) -> bool:
    """Whether there is something to spare: a CPU's photos x, some of which are dropped and the others scaled for it."""
    drops = isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0
    return drops and drop_path.scale_by_keep and x.is_cpu


def residual(x: Tensor, branch: Callable[[Tensor], Tensor], drop_path: nn.Module) -> Tensor:
    """x (N, ...) + the branch of x, of the same shape, each photo's dropped with drop_path's probability."""
    if not spares(drop_path, x):
        return x + drop_path(branch(x))
    kept = 1 - drop_path.drop_prob
    some = x.new_empty(len(x)).bernoulli_(kept).nonzero().flatten()  # timm's draw
    if not len(some):
        return x + 0 * branch(x)  # every weight has a gradient, as optimizers and processes beside this one expect
    if len(some) == len(x):
        return torch.add(x, branch(x), alpha=1 / kept)
    taken = branch(x.index_select(0, some))
    kind = torch.promote_types(x.dtype, taken.dtype)
    return x.to(kind).index_add(0, some, taken.to(kind), alpha=1 / kept)
