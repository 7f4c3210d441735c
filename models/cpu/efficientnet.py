"""EfficientNet's activations and squeeze-and-excitation (Hu et al. 2018) with fewer walks through memory.

More than half of an EfficientNet's training on a CPU goes by elementwise, at the pace of its memory. Autograd copies
what an activation then alters in place, and takes a gated layer's gradient in five walks, four of them written back to
memory; here it is two, one of them written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class LeanSiLU(nn.SiLU):
    """nn.SiLU that alters nothing in place in training, where that takes a copy first."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, self.inplace and not (torch.is_grad_enabled() and x.is_cpu))


class LeanReLU6(nn.ReLU6):
    """nn.ReLU6 that in training alters its input in place without a copy: the gradient follows from what comes out."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.inplace and torch.is_grad_enabled() and x.requires_grad and x.is_cpu):
            return super().forward(x)
        return _Clamped.apply(x)


class LeanSqueezeExcite(SqueezeExcite):
    """timm's layer with its gradient taken in one piece."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> the same shape, each channel of a photo times its gate."""
        if not (torch.is_grad_enabled() and x.requires_grad and x.is_cpu):
            return super().forward(x)
        return _Gated.apply(x, self._gates, *(weights for weights in self.parameters() if weights.requires_grad))

    def _gates(self, means: Tensor) -> Tensor:
        """means (N, channels, 1, 1) -> gates of the same shape."""
        return self.gate(self.conv_expand(self.act1(self.conv_reduce(means))))


def is_silu(layer: nn.Module) -> bool:
    return type(layer) is nn.SiLU


def is_relu6(layer: nn.Module) -> bool:
    return type(layer) is nn.ReLU6


def is_squeeze_excite(layer: nn.Module) -> bool:
    return type(layer) is SqueezeExcite


class _Clamped(torch.autograd.Function):
    """x between 0 and 6, in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(x.clamp_(0, 6))
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(above, y, 0.0, 6.0)  # at 0 and 6 there is none, as for what was beyond


class _Gated(torch.autograd.Function):
    """x times gates(its means), where gates uses the parameters; autograd itself goes through the small gates."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Callable[[Tensor], Tensor], *parameters: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True).requires_grad_()
        with torch.enable_grad():
            gate = gates(means)
        ctx.save_for_backward(x)
        ctx.means, ctx.gate, ctx.parameters = means, gate, parameters
        return x * gate.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        # Photo by photo, so that products are summed before they leave the cache.
        sums = torch.stack([(a * b).sum((1, 2)) for a, b in zip(above, x, strict=True)])
        wanted, sums = (ctx.means, *ctx.parameters), sums.view_as(ctx.gate).to(ctx.gate.dtype)
        # The graph goes with this one, which may be walked through again.
        of_means, *gradients = torch.autograd.grad(ctx.gate, wanted, sums, retain_graph=True)
        return torch.addcmul(of_means / x[0, 0].numel(), above, ctx.gate.detach()), None, *gradients
