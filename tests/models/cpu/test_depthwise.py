"""Depthwise convolutions: the same outputs and gradients as PyTorch's own, by the ways in which oneDNN is quick."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import backbone
from models.cpu import faster
from models.cpu.depthwise import (
    DepthwiseConv2d,
    DepthwiseConv2dSame,
    input_gradient,
    is_eligible,
    is_eligible_same,
    weight_gradient,
)
from pipeline.run.presets import PRESETS

SHAPES = [
    (2, 3, 8, 6, 7, 3),
    (1, 5, 4, 9, 4, 1),
    (3, 2, 7, 7, 5, 2),
    (2, 4, 9, 5, 5, 0),
    (2, 2, 3, 3, 7, 3),
    (2, 3, 9, 9, 3, 1),
]


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("count", "channels", "height", "width", "kernel", "padding"), SHAPES)
def test_the_weight_gradient_is_pytorchs(count, channels, height, width, kernel, padding, order, stride):
    torch.manual_seed(0)
    x = torch.randn(count, channels, height, width, dtype=torch.float64)
    weight = torch.randn(channels, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    y = torch.conv2d(x, weight, stride=stride, padding=padding, groups=channels)
    above = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, weight, above)
    x, above = x.float().to(memory_format=order), above.float().to(memory_format=order)
    found = weight_gradient(x, above, (kernel, kernel), stride, (padding, padding))
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("count", "channels", "height", "width", "kernel", "padding"), SHAPES)
def test_the_input_gradient_is_pytorchs(count, channels, height, width, kernel, padding, kind, stride):
    torch.manual_seed(0)
    x = torch.zeros(count, channels, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(channels, 1, kernel, kernel).to(kind)
    y = torch.conv2d(x, weight.double(), stride=stride, padding=padding, groups=channels)
    above = torch.randn_like(y).to(kind)
    (expected,) = torch.autograd.grad(y, x, above.double())
    found = input_gradient(weight, above, (height, width), stride, (padding, padding))
    assert found.dtype == kind
    torch.testing.assert_close(found.double(), expected, rtol=1e-2 if kind == torch.bfloat16 else 1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
def test_training_in_bfloat16_is_as_close_to_the_truth_as_pytorchs_own(order, stride):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 7, stride, 3, groups=6)
    ours = nn.Sequential(nn.Conv2d(6, 6, 7, stride, 3, groups=6))
    ours[0].load_state_dict(plain.state_dict())
    faster.exchange(ours)
    assert isinstance(ours[0], DepthwiseConv2d)
    x = torch.randn(4, 6, 12, 10).to(memory_format=order)
    exact = [*torch.autograd.grad(plain(x).square().sum(), plain.parameters())]
    error = {}
    for layer in (plain, ours):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
            loss = y.float().square().sum()
        assert y.dtype == torch.bfloat16
        gradients = torch.autograd.grad(loss, layer.parameters())
        assert all(g.dtype == torch.float32 for g in gradients)
        error[layer] = max(float((g - e).norm() / e.norm()) for g, e in zip(gradients, exact, strict=True))
    assert error[ours] < max(2 * error[plain], 0.01)
    assert error[ours] > 0


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_what_came_in_is_pytorchs(order):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4).to(memory_format=order)
    x = torch.randn(2, 4, 9, 7).to(memory_format=order).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (expected,) = torch.autograd.grad(layer(x).float().square().sum(), x)
        faster.exchange(layer)
        y = layer(x)
        (found,) = torch.autograd.grad(y.float().square().sum(), x)
    assert y.is_contiguous(memory_format=order)  # the next layer would have to copy it otherwise
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_without_training_it_is_pytorchs_own():
    torch.manual_seed(0)
    plain, x = nn.Conv2d(4, 4, 5, padding=2, groups=4), torch.randn(2, 4, 9, 7)
    before = plain(x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coarse = plain(x)
    faster.exchange(plain)
    assert torch.equal(plain(x), before)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain(x), coarse)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 5, padding=2),
        nn.Conv2d(4, 8, 5, padding=2, groups=4),
        nn.Conv2d(4, 4, 5, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, padding="same", groups=4),
        nn.Conv2d(4, 4, 5, padding=1, groups=4, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, stride=2, padding=3, groups=4),
        nn.Linear(4, 4),
    ],
)
def test_other_layers_stay(layer):
    assert not is_eligible(layer)


def test_a_convnext_has_them_under_the_same_names():
    settings = PRESETS["small"]["age"] | {"height": 64, "width": 48}
    network = faster.exchange(backbone.build(settings, 3))
    exchanged = [name for name, layer in network.named_modules() if isinstance(layer, DepthwiseConv2d)]
    assert len(exchanged) == 12
    assert all(f"{name}.weight" in network.state_dict() for name in exchanged)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("stride", [1, 2])
def test_in_full_precision_all_gradients_are_pytorchs(kind, stride):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 5, stride, 2, groups=4).to(kind)
    x = torch.randn(3, 4, 9, 7, dtype=kind, requires_grad=True)
    expected = torch.autograd.grad(plain(x).square().sum(), (x, *plain.parameters()))
    faster.exchange(plain)
    assert isinstance(plain, DepthwiseConv2d)
    found = torch.autograd.grad(plain(x).square().sum(), (x, *plain.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_learn_are_pytorchs():
    layer = faster.exchange(nn.Conv2d(4, 4, 5, padding=2, groups=4))
    layer.requires_grad_(False)
    x = torch.randn(2, 4, 9, 7, requires_grad=True)
    assert "_Convolution" not in type(layer(x).grad_fn).__name__


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 1), ((5, 3), (1, 2))])
@pytest.mark.parametrize("size", [(9, 7), (8, 6), (3, 3)])
def test_uneven_padding_is_timms(size, kernel, stride, order):
    torch.manual_seed(0)
    plain = Conv2dSame(4, 4, kernel, stride, groups=4).double()
    x = torch.randn(3, 4, *size, dtype=torch.float64).to(memory_format=order).requires_grad_()
    outputs = plain(x)
    expected = torch.autograd.grad(outputs.square().sum(), (x, *plain.parameters()))
    faster.exchange(plain)
    assert type(plain) is DepthwiseConv2dSame
    torch.testing.assert_close(plain(x), outputs)
    found = torch.autograd.grad(plain(x).square().sum(), (x, *plain.parameters()))
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), outputs)


def test_uneven_padding_keeps_autocasts_kinds_and_is_as_close_to_the_truth_as_timms():
    torch.manual_seed(0)
    plain, x = Conv2dSame(6, 6, 3, 2, groups=6), torch.randn(4, 6, 12, 10, requires_grad=True)
    exact = torch.autograd.grad(plain(x).square().sum(), (x, *plain.parameters()))
    error = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            y = plain(x)
        assert y.dtype == torch.bfloat16
        gradients = torch.autograd.grad(y.float().square().sum(), (x, *plain.parameters()))
        assert all(g.dtype == torch.float32 for g in gradients)
        error.append(max(float((g - e).norm() / e.norm()) for g, e in zip(gradients, exact, strict=True)))
        faster.exchange(plain)
    assert 0 < error[1] < max(2 * error[0], 0.01)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2dSame(4, 4, 3, groups=4),
        Conv2dSame(4, 4, 5, stride=2),
        Conv2dSame(4, 4, 5, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, stride=2, groups=4),
    ],
)
def test_other_layers_of_uneven_padding_stay(layer):
    assert not is_eligible_same(layer)


class Slow(TorchDispatchMode):
    """Notes what oneDNN is asked for and is slow at.

    Gradients of depthwise weights that are wide, or padded, or have more rows than what comes in, and in bfloat16 of
    what a strided depthwise convolution is given.
    """

    def __init__(self):
        super().__init__()
        self.asked, self.found = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default and args[2].shape[1] == 1:
            above, x, weight, _, (stride, _), (padding, _), *_, (of_input, of_weights, _) = args
            (rows, columns), strided = weight.shape[2:], stride > 1
            of_weights = of_weights and (columns > 3 or strided)  # narrow ones without a stride are oneDNN's to do
            self.asked += 1
            if of_weights and (columns > 3 or padding or x.shape[2] < rows):
                self.found.append(("weights", columns, rows, padding, tuple(x.shape)))
            if of_input and strided and above.dtype == torch.bfloat16:
                self.found.append(("input", stride))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("faster_layers", [True, False])
def test_a_network_never_asks_onednn_for_what_it_is_slow_at(faster_layers):
    network = backbone.build(PRESETS["lite"]["mask"] | {"height": 64, "width": 64}, 3)
    if faster_layers:
        faster.exchange(network)
        assert {type(layer) for layer in network.modules()} > {DepthwiseConv2d, DepthwiseConv2dSame}
    network = network.to(memory_format=torch.channels_last)
    with Slow() as slow:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
        logits.float().sum().backward()
    assert slow.asked > 10
    assert bool(slow.found) == (not faster_layers)


def test_a_photo_without_an_axis_for_photos_learns_too():
    torch.manual_seed(0)
    plain, x = nn.Conv2d(4, 4, 3, 2, 1, groups=4), torch.randn(4, 9, 7)
    expected = torch.autograd.grad(plain(x).square().sum(), plain.parameters())
    faster.exchange(plain)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(plain(x).float().square().sum(), plain.parameters())
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.1)


@pytest.mark.parametrize(("kind", "ours"), [(torch.float32, False), (torch.bfloat16, True)])
def test_narrow_weights_with_strides_are_ours_in_bfloat16_alone(kind, ours):
    layer = faster.exchange(nn.Conv2d(4, 4, 3, 2, 1, groups=4))
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        y = layer(torch.randn(2, 4, 9, 7))
    assert ("_Convolution" in type(y.grad_fn).__name__) == ours
