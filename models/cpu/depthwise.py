"""Depthwise convolutions that learn faster on CPUs.

oneDNN takes the gradient of depthwise weights quickly where they are at most three columns wide, and walks through
wider ones weight by weight: in a ConvNeXt's training in bfloat16 that of the 7x7 weights takes half of all time. Here
it is put together of pieces three columns wide, which takes a third to a sixth of that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

QUICK = 3
"""Columns of weights up to which oneDNN is quick."""


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise nn.Conv2d with wide weights whose training on a CPU is faster; otherwise just that."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> (N, channels, H', W')."""
        on_cpu = x.device.type == "cpu" and self.weight.device.type == "cpu"
        if not (on_cpu and torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(x)
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        bias = None if self.bias is None else self.bias.to(kind)
        with torch.autocast("cpu", enabled=False):
            return _Convolution.apply(x.to(kind), self.weight.to(kind), bias, self.stride, self.padding)


def is_eligible(layer: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution that DepthwiseConv2d can stand for, and is faster."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == layer.in_channels == layer.out_channels > 1
        and layer.kernel_size[1] > QUICK
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def weight_gradient(
    x: Tensor, above: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradient of depthwise weights: x (N, C, H, W), gradient above (N, C, H', W') -> (C, 1, *kernel).

    kernel: of three columns or more.

    weight[c, i, j] meets x[n, c, h * stride + i, w * stride + j] and above[n, c, h, w]. So columns j to j + 2 of the
    weights have the gradient that a kernel of three columns would have on a photo cut at j.
    """
    channels, (rows, columns) = above.shape[1], kernel
    gradient = above.new_empty(channels, 1, rows, columns)
    like = above.new_empty(channels, 1, rows, QUICK)  # whatever it holds
    wide = (above.shape[3] - 1) * stride[1] + QUICK
    padded = F.pad(x, (padding[1], padding[1]))
    for start in dict.fromkeys([*range(0, columns - QUICK, QUICK), columns - QUICK]):
        piece = padded[..., start : start + wide]
        _, found, _ = torch.ops.aten.convolution_backward(
            above, piece, like, None, stride, (padding[0], 0), (1, 1), False, (0, 0), channels, (False, True, False)
        )
        gradient[..., start : start + QUICK] = found
    return gradient


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        below = None
        if ctx.needs_input_grad[0]:
            below = torch.nn.grad.conv2d_input(x.shape, weight, above, ctx.stride, ctx.padding, groups=len(weight))
        gradient = weight_gradient(x, above, tuple(weight.shape[2:]), ctx.stride, ctx.padding)
        return below, gradient, above.sum((0, 2, 3)) if ctx.has_bias else None, None, None
