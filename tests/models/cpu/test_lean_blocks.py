"""The blocks of a Swin and a ConvNeXt that train with less work: the same outputs and gradients as timm's own."""

import copy

import pytest
import torch
from timm.layers import DropPath
from timm.models.convnext import ConvNeXtBlock
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import backbone
from models.cpu import convnext, faster, swin
from models.cpu.convnext import LeanConvNeXtBlock
from models.cpu.swin import LeanSwinBlock
from pipeline.run.presets import PRESETS

SIZE = (6, 5)
"""Of what the blocks take, in places."""
BLOCKS = {
    "whole windows": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=(3, 5), drop_path=rate),
    "padded": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=4, drop_path=rate),
    "padded below": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=(4, 5), drop_path=rate),
    "shifted": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=3, shift_size=1, drop_path=rate),
    "shifted by two": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=(4, 3), shift_size=2, drop_path=rate),
    "without bias": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=4, qkv_bias=False, drop_path=rate),
    "heads of another width": lambda rate: SwinTransformerBlock(
        8, SIZE, 2, head_dim=3, window_size=4, shift_size=1, drop_path=rate
    ),
    "smaller than a window": lambda rate: SwinTransformerBlock(8, SIZE, 2, window_size=7, shift_size=3, drop_path=rate),
    "always windows": lambda rate: SwinTransformerBlock(
        8, SIZE, 2, window_size=7, shift_size=3, always_partition=True, drop_path=rate
    ),
    "convnext": lambda rate: ConvNeXtBlock(8, ls_init_value=0.3, drop_path=rate),
    "without scale": lambda rate: ConvNeXtBlock(8, ls_init_value=None, drop_path=rate),
    "with response normalisation": lambda rate: ConvNeXtBlock(8, use_grn=True, drop_path=rate),
    "of convolutions": lambda rate: ConvNeXtBlock(8, conv_mlp=True, drop_path=rate),
}
PHOTOS = 7


def blocks(kind, rate=0.5):
    """timm's block, and ours with the same weights."""
    torch.manual_seed(0)
    timms = BLOCKS[kind](rate)
    for weights in timms.parameters():  # none is 0 or 1, where a mistake would not show
        nn.init.normal_(weights, std=0.3)
    ours = faster.exchange(copy.deepcopy(timms))
    assert type(ours) in (LeanConvNeXtBlock, LeanSwinBlock)
    assert type(timms) is type(ours).__base__
    return timms.double(), ours.double()


def photos(block, order=torch.contiguous_format):
    shape = (PHOTOS, *SIZE, 8) if isinstance(block, SwinTransformerBlock) else (PHOTOS, 8, *SIZE)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(memory_format=order)


def trained(block, seed, order=torch.contiguous_format):
    """The block's output, and the gradients of its input and of its weights."""
    block.zero_grad()
    x = photos(block, order).requires_grad_()
    torch.manual_seed(seed)
    y = block(x)
    (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum().backward()
    return [y.detach(), x.grad, *(weights.grad.clone() for weights in block.parameters())]


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_outputs_and_gradients_are_timms(kind, order, rate):
    timms, ours = blocks(kind, rate)
    for seed in range(3 if rate else 1):
        expected, found = trained(timms, seed, order), trained(ours, seed, order)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("rate", [0.001, 0.999], ids=["none dropped", "all dropped"])
def test_a_draw_that_keeps_or_drops_every_photo(kind, rate):
    timms, ours = blocks(kind)
    for part in [*timms.modules(), *ours.modules()]:
        if isinstance(part, DropPath):
            part.drop_prob = rate
    expected, found = trained(timms, 0), trained(ours, 0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    if rate > 0.5:
        assert torch.equal(found[0], photos(ours))
        assert not any(gradient.any() for gradient in found[2:])


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_bfloat16_it_is_as_close_to_the_truth_as_timms(kind, dtype):
    exact, found = trained(blocks(kind)[0], 0), []
    for block in blocks(kind):
        block.float()
        x = photos(block).to(dtype).requires_grad_()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            y = block(x)
        (y * torch.arange(y.numel(), dtype=torch.float64).view_as(y).cos()).sum().backward()
        found.append([y.detach(), x.grad, *(weights.grad for weights in block.parameters())])
    for truth, timms, ours in zip(exact, *found, strict=True):
        assert ours.dtype == timms.dtype
        wrong, usual = ((some.double() - truth).norm() / truth.norm() for some in (ours, timms))
        assert wrong < 2 * usual + 0.01


@pytest.mark.parametrize("kind", BLOCKS)
def test_in_prediction_it_is_timms_to_the_bit(kind):
    timms, ours = blocks(kind)
    with torch.no_grad():
        assert torch.equal(ours.eval()(photos(ours)), timms.eval()(photos(timms)))


@pytest.mark.parametrize("kind", ["convnext", "without scale", "of convolutions"])
def test_channels_last_stays(kind):
    _, ours = blocks(kind)
    assert ours(photos(ours, torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("kind", "spared"), [("padded", True), ("whole windows", False)])
def test_padded_places_are_not_multiplied(kind, spared):
    products = []
    for block in blocks(kind, 0.0):
        with FlopCounterMode(display=False) as counter:
            block(photos(block))
        products.append(counter.get_total_flops())
    padded = 8 * 8 - SIZE[0] * SIZE[1]
    assert products[0] - products[1] == (2 * PHOTOS * padded * 4 * 8 * 8 if spared else 0)


@pytest.mark.parametrize(
    ("layer", "is_eligible"),
    [
        (ConvNeXtBlock(8, norm_layer=nn.BatchNorm2d, conv_mlp=True), convnext.is_eligible),
        (ConvNeXtBlock(8, 16), convnext.is_eligible),
        (ConvNeXtBlock(8, stride=2), convnext.is_eligible),
        (nn.Linear(4, 4), convnext.is_eligible),
        (SwinTransformerBlock(8, SIZE, 2, window_size=4, dynamic_mask=True), swin.is_eligible),
        (nn.Linear(4, 4), swin.is_eligible),
    ],
    ids=["batch normalisation", "another width", "another size", "no ConvNeXt", "any size", "no Swin"],
)
def test_other_layers_stay(layer, is_eligible):
    assert not is_eligible(layer)


@pytest.mark.parametrize(("task", "kind", "count"), [("gender", LeanSwinBlock, 7), ("age", LeanConvNeXtBlock, 0)])
def test_specialists_have_them_where_photos_are_apart(task, kind, count):
    network = backbone.build(PRESETS["small"][task] | {"height": 64, "width": 64}, 2)
    assert not any(isinstance(layer, kind) for layer in network.modules())
    assert ("swin" in faster.used(network)) == (task == "gender")
    faster.exchange(network)
    assert sum(isinstance(layer, kind) for layer in network.modules()) == count


def test_those_named_are_exchanged_and_no_others():
    network = backbone.build(PRESETS["base"]["mask"] | {"height": 64, "width": 64}, 3)
    assert faster.used(network) == ["depthwise", "silu", "squeeze-excite"]
    faster.exchange(network, ("silu",))
    kinds = {type(layer) for layer in network.modules()}
    assert [name for name, pairs in faster.LAYERS.items() if kinds & {kind for kind, _ in pairs}] == ["silu"]
