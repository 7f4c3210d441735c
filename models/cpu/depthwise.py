"""Depthwise convolutions that learn faster on CPUs.

oneDNN takes the gradient of depthwise weights quickly where they are at most three columns wide, and walks through
wider ones weight by weight: in a ConvNeXt's training in bfloat16 that of the 7x7 weights takes half of all time. Here
it is put together of pieces three columns wide, which takes a third to a sixth of that. It walks likewise where photos
have fewer rows than the weights, which padding them beforehand keeps it from. In bfloat16 it also walks through the
gradient of what a strided one is given, which takes twenty times as long as one without a stride; here zeros between
what comes from above leave no stride.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Conv2dSame, get_same_padding
from torch import Tensor, nn
from torch.nn import functional as F

QUICK = 3
"""Columns of weights up to which oneDNN is quick."""

Pair = tuple[int, int]


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise nn.Conv2d whose training on a CPU is faster; otherwise just that."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> (N, channels, H', W')."""
        return _learned(self, x, self.padding) if _learns(self, x) else super().forward(x)


class DepthwiseConv2dSame(Conv2dSame):
    """A depthwise Conv2dSame, which pads unevenly, whose training on a CPU is faster; otherwise just that."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        if not _learns(self, x):
            return super().forward(x)
        down, across = map(get_same_padding, x.shape[2:], self.kernel_size, self.stride, self.dilation)
        if down % 2 or across % 2:  # in 16 bits, where it will be, a copy costs half
            x = x.to(_kind(x))
            x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
            down = across = 0
        return _learned(self, x, (down // 2, across // 2))


def is_eligible(layer: nn.Module) -> bool:
    """Whether DepthwiseConv2d can stand for a layer, and is faster."""
    if not (type(layer) is nn.Conv2d and _is_slow(layer)) or isinstance(layer.padding, str):
        return False
    return all(pad < edge for pad, edge in zip(layer.padding, layer.kernel_size, strict=True))


def is_eligible_same(layer: nn.Module) -> bool:
    """Whether DepthwiseConv2dSame can stand for a layer, and is faster."""
    return type(layer) is Conv2dSame and _is_slow(layer)


def weight_gradient(x: Tensor, above: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of depthwise weights: x (N, C, H, W), gradient above (N, C, H', W') -> (C, 1, *kernel).

    weight[c, i, j] meets x[n, c, h * stride + i, w * stride + j] and above[n, c, h, w]. So columns j to j + 2 of the
    weights have the gradient that a kernel of three columns would have on a photo cut at j.
    """
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    (rows, columns), width = kernel, (above.shape[3] - 1) * stride[1]
    if columns <= QUICK:
        return _gradient_of_weights(padded, above, kernel, stride)
    gradient = above.new_empty(above.shape[1], 1, rows, columns)
    for start in dict.fromkeys([*range(0, columns - QUICK, QUICK), columns - QUICK]):
        piece = padded[..., start : start + width + QUICK]
        gradient[..., start : start + QUICK] = _gradient_of_weights(piece, above, (rows, QUICK), stride)
    return gradient


def input_gradient(weight: Tensor, above: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of what a depthwise convolution is given: above (N, C, H', W') -> (N, C, *size).

    weight: (C, 1, kernel). With zeros between the values above, it is a convolution by the weights from their end.
    """
    (photos, channels), kernel = above.shape[:2], weight.shape[2:]
    if above.dtype != torch.bfloat16 or stride == (1, 1):
        shape = (photos, channels, *size)
        return torch.nn.grad.conv2d_input(shape, weight, above, stride, padding, groups=channels)
    height, width = (side + edge - 1 for side, edge in zip(size, kernel, strict=True))
    spread = above.new_zeros(photos, height, width, channels).permute(0, 3, 1, 2)  # channels last
    rows, columns = (
        slice(edge - 1 - pad, edge - 1 - pad + (count - 1) * step + 1, step)
        for edge, pad, count, step in zip(kernel, padding, above.shape[2:], stride, strict=True)
    )
    spread[:, :, rows, columns] = above
    return F.conv2d(spread, weight.flip(2, 3), groups=channels)


def _is_slow(layer: nn.Conv2d) -> bool:
    return (
        layer.groups == layer.in_channels == layer.out_channels > 1
        and (layer.kernel_size[1] > QUICK or layer.stride != (1, 1))
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
    )


def _learns(layer: nn.Conv2d, x: Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and layer.weight.device.type == "cpu"
    slow = layer.kernel_size[1] > QUICK or _kind(x) == torch.bfloat16  # narrow ones with strides are in that alone
    return on_cpu and slow and x.dim() == 4 and torch.is_grad_enabled() and layer.weight.requires_grad


def _kind(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _learned(layer: nn.Conv2d, x: Tensor, padding: Pair) -> Tensor:
    kind = _kind(x)
    bias = None if layer.bias is None else layer.bias.to(kind)
    with torch.autocast("cpu", enabled=False):
        return _Convolution.apply(x.to(kind), layer.weight.to(kind), bias, layer.stride, padding)


def _gradient_of_weights(padded: Tensor, above: Tensor, kernel: Pair, stride: Pair) -> Tensor:
    channels = above.shape[1]
    like = above.new_empty(channels, 1, *kernel)  # whatever it holds
    return torch.ops.aten.convolution_backward(
        above, padded, like, None, stride, (0, 0), (1, 1), False, (0, 0), channels, (False, True, False)
    )[1]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        below = None
        if ctx.needs_input_grad[0]:
            below = input_gradient(weight, above, tuple(x.shape[2:]), ctx.stride, ctx.padding)
        gradient = weight_gradient(x, above, tuple(weight.shape[2:]), ctx.stride, ctx.padding)
        return below, gradient, above.sum((0, 2, 3)) if ctx.has_bias else None, None, None
