"""EfficientNet's lean layers: the same outputs and gradients as timm's own."""

import copy

import pytest
import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from models import backbone
from models.cpu import faster
from models.cpu.efficientnet import LeanReLU6, LeanSiLU, LeanSqueezeExcite
from pipeline.run.presets import PRESETS


def layers(dtype=torch.float64):
    torch.manual_seed(0)
    timms = SqueezeExcite(6, act_layer=nn.SiLU).to(dtype)
    ours = faster.exchange(copy.deepcopy(timms))
    assert type(ours) is LeanSqueezeExcite
    return timms, ours


def photos(order=torch.contiguous_format):
    return torch.randn(3, 6, 5, 4, dtype=torch.float64).to(memory_format=order)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_timms(order):
    found = []
    x = photos(order)
    for layer in layers():
        x = x.detach().clone().requires_grad_()
        y = layer(x)
        assert y.is_contiguous(memory_format=order)
        (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum().backward()
        assert x.grad.is_contiguous(memory_format=order)  # the layer below would have to copy it otherwise
        found.append([y.detach(), x.grad, *(weights.grad for weights in layer.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)


def test_the_gradient_is_that_of_finite_differences():
    _, ours = layers()
    assert torch.autograd.gradcheck(ours, photos().requires_grad_())


def test_weights_that_do_not_learn_have_no_gradient():
    _, ours = layers()
    ours.conv_reduce.weight.requires_grad_(False)
    ours(photos().requires_grad_()).sum().backward()
    assert ours.conv_reduce.weight.grad is None
    assert ours.conv_expand.weight.grad.any()


def test_in_bfloat16_types_and_values_are_timms():
    found, x = [], photos().float()
    for layer in layers(torch.float32):
        x = x.detach().clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.float().square().sum().backward()
        found.append([y, x.grad, *(weights.grad for weights in layer.parameters())])
    assert [some.dtype for some in found[1]] == [some.dtype for some in found[0]]
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)


def test_an_activation_alters_nothing_in_place_in_training():
    layer = faster.exchange(nn.SiLU(inplace=True))
    assert type(layer) is LeanSiLU
    x = photos().requires_grad_()
    y = x * 1
    expected = torch.nn.functional.silu(x)
    assert torch.equal(layer(y), expected)
    assert torch.equal(y, x)
    with torch.no_grad():
        assert layer(y) is y
        assert torch.equal(y, expected)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_clamp_has_the_bits_of_pytorchs_and_keeps_no_copy(order):
    found, given = [], photos(order) * 9
    given[0, 0, 0, :3] = torch.tensor([0.0, 6.0, -0.0])
    for layer in (nn.ReLU6(inplace=True), faster.exchange(nn.ReLU6(inplace=True))):
        x = given.clone().requires_grad_()
        between = x * 1
        y = layer(between)
        assert y.data_ptr() == between.data_ptr()
        saved = getattr(y.grad_fn, "saved_tensors", (None,))[0]
        assert saved is None or saved.data_ptr() == y.data_ptr()
        y.square().sum().backward()
        found.append((y.detach(), x.grad))
    assert type(layer) is LeanReLU6
    assert saved is not None
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_clamp_that_alters_nothing_in_place_is_pytorchs():
    layer, x = faster.exchange(nn.ReLU6()), photos().requires_grad_()
    before = x.detach().clone()
    assert "Hardtanh" in type(layer(x).grad_fn).__name__
    assert torch.equal(x, before)
    with torch.no_grad():
        assert torch.equal(faster.exchange(nn.ReLU6(inplace=True))(x.detach().clone()), layer(x))


def test_a_network_trains_as_timms():
    settings = PRESETS["base"]["mask"] | {"height": 64, "width": 64, "drop_path": 0.0}
    torch.manual_seed(0)
    ours = backbone.build(settings, 3).double()
    timms = copy.deepcopy(ours)
    faster.exchange(ours)
    assert sum(isinstance(layer, LeanSqueezeExcite) for layer in ours.modules()) == 16
    x = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    gradients = []
    for network in (timms, ours):
        network.backbone((x.double() - 127) / 58).square().sum().backward()
        gradients.append([weights.grad for weights in network.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-8)
