"""Blocks that spare what stochastic depth drops: the same draws, outputs and gradients as timm's own."""

import copy

import pytest
import torch
from timm.layers import DropPath
from timm.models.convnext import ConvNeXtBlock
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn

from models import backbone, stochastic_depth
from models.presets import PRESETS
from models.stochastic_depth import SparingConvNeXtBlock, SparingSwinBlock, is_eligible, residual

PHOTOS = 7


def blocks(kind):
    """timm's block, and ours with the same weights, dropping half."""
    torch.manual_seed(0)
    if kind == "swin":
        timms = SwinTransformerBlock(8, (6, 4), 2, window_size=2, shift_size=1, drop_path=0.5)
    else:
        timms = ConvNeXtBlock(8, drop_path=0.5, ls_init_value=0.3, conv_mlp=kind == "convnext of convolutions")
    for weights in timms.parameters():  # none is 0 or 1, where a mistake would not show
        nn.init.normal_(weights, std=0.3)
    ours = copy.deepcopy(timms)
    stochastic_depth.exchange(nn.Sequential(ours))
    assert type(ours) in (SparingConvNeXtBlock, SparingSwinBlock)
    return timms.double(), ours.double()


def photos(kind, order=torch.contiguous_format, count=PHOTOS):
    shape = (count, 6, 4, 8) if kind == "swin" else (count, 8, 6, 4)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(memory_format=order)


def trained(block, x, seed):
    """The block's output, and the gradients of x and of the weights."""
    block.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)
    y = block(x)
    (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum().backward()
    return [y.detach(), x.grad, *(weights.grad.clone() for weights in block.parameters())]


KINDS = ("swin", "convnext", "convnext of convolutions")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_timms(kind, order):
    timms, ours = blocks(kind)
    for seed in range(5):
        expected, found = (trained(block, photos(kind, order), seed) for block in (timms, ours))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.001, 0.999], ids=["none dropped", "all dropped"])
def test_a_draw_that_keeps_or_drops_every_photo(kind, rate):
    timms, ours = blocks(kind)
    for block in (timms, ours):
        for part in block.modules():
            if isinstance(part, DropPath):
                part.drop_prob = rate
    expected, found = (trained(block, photos(kind), 0) for block in (timms, ours))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    if rate > 0.5:
        assert torch.equal(found[0], photos(kind))
        assert not any(gradient.any() for gradient in found[2:])


def test_the_branch_sees_kept_photos_alone():
    seen = []

    def branch(x):
        seen.append(len(x))
        return x * 2

    torch.manual_seed(0)
    x = torch.ones(200, 3)
    y = residual(x, branch, DropPath(0.4).train())
    kept = int((y[:, 0] > 1).sum())
    assert seen == [kept]
    assert 90 < kept < 150
    torch.testing.assert_close(y[y[:, 0] > 1], torch.full((kept, 3), 1 + 2 / 0.6))
    residual(x, branch, DropPath(0.4).eval())
    assert seen[1:] == [200]


@pytest.mark.parametrize("kind", ["convnext", "swin"])
def test_in_bfloat16_the_output_has_timms_type(kind):
    timms, ours = (block.float() for block in blocks(kind))
    found = []
    for block in (timms, ours):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(block(photos(kind).bfloat16()))
    assert found[0].dtype == found[1].dtype
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)


def test_channels_last_stays():
    _, ours = blocks("convnext")
    assert ours(photos("convnext", torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "layer",
    [
        ConvNeXtBlock(8, drop_path=0.1, norm_layer=nn.BatchNorm2d, conv_mlp=True),
        ConvNeXtBlock(8, 16, drop_path=0.1),
        nn.Linear(4, 4),
    ],
    ids=["batch normalisation", "another shape", "no block"],
)
def test_other_layers_stay(layer):
    assert not is_eligible(layer)


@pytest.mark.parametrize(("task", "kind", "count"), [("gender", SparingSwinBlock, 7), ("age", SparingConvNeXtBlock, 0)])
def test_the_specialists_have_them_where_photos_are_apart(task, kind, count):
    network = backbone.build(PRESETS["small"][task] | {"height": 64, "width": 64}, 2)
    assert sum(isinstance(layer, kind) for layer in network.modules()) == count
