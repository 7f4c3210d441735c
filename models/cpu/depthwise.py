"""Depthwise convolutions that learn faster on CPUs.

In a ConvNeXt's training in bfloat16 on a CPU, the gradient of the 7x7 depthwise weights takes half of all time:
oneDNN walks through them weight by weight. As products of small matrices it takes a fifth of that or less.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise nn.Conv2d of stride 1 whose bfloat16 training on a CPU is faster; otherwise just that."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> (N, channels, H', W')."""
        on_cpu = x.device.type == "cpu" and self.weight.device.type == "cpu"
        if not (on_cpu and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        kind = torch.get_autocast_dtype("cpu")
        bias = None if self.bias is None else self.bias.to(kind)
        with torch.autocast("cpu", enabled=False):
            return _Convolution.apply(x.to(kind), self.weight.to(kind), bias, self.padding)


def is_eligible(layer: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution of stride 1 that DepthwiseConv2d can stand for."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == layer.in_channels == layer.out_channels > 1
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def weight_gradient(x: Tensor, above: Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """The gradient of depthwise weights: x (N, C, H, W), gradient above (N, C, H', W') -> (C, 1, kernel), float32.

    weight[c, i, j] meets x[n, c, h + i, w + j] and above[n, c, h, w]. For each row i of the kernel one product per
    channel sums over n and h for every pair of columns; the sums along its diagonals are the row's gradients.
    """
    count, channels, height, width = above.shape
    rows, columns = kernel
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).transpose(0, 1)
    right = above.transpose(0, 1).reshape(channels, count * height, width)
    wide = padded.shape[3]
    gradient = torch.empty(channels, 1, rows, columns, dtype=torch.float32)
    for i in range(rows):
        left = padded[:, :, i : i + height].reshape(channels, count * height, wide)
        pairs = torch.bmm(left.transpose(1, 2), right)
        diagonals = pairs.as_strided((channels, columns, width), (wide * width, width, width + 1))
        gradient[:, 0, i] = diagonals.sum(2, dtype=torch.float32)
    return gradient


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.has_bias = padding, bias is not None
        return F.conv2d(x, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        below = None
        if ctx.needs_input_grad[0]:
            below = torch.nn.grad.conv2d_input(x.shape, weight, above, padding=ctx.padding, groups=len(weight))
        x, above = x.contiguous(), above.contiguous()  # both may lie channels last
        gradient = weight_gradient(x, above, tuple(weight.shape[2:]), ctx.padding).to(weight.dtype)
        return below, gradient, above.sum((0, 2, 3)) if ctx.has_bias else None, None
