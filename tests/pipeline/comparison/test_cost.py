"""FLOPs against counts by hand, and lengths of trainings against their definition."""

import itertools

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from tiny import settings_of
from torch import nn

from models import backbone
from pipeline.comparison.cost import effort, flops_of, flops_per_photo, photos_per_epoch
from pipeline.run.presets import PRESETS
from pipeline.run.settings import SYSTEMS
from pipeline.training.sampling import undersampled


def test_a_small_network_costs_what_a_count_by_hand_gives():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # 3x8x6 -> 8x4x3
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),  # depthwise
        nn.GELU(),
        nn.Conv2d(8, 16, 1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    places = 4 * 3
    first = 2 * places * 8 * 3 * 9
    depthwise = 2 * places * 8 * 9
    grouped = 2 * places * 16 * 4
    linear = 2 * 16 * 5
    # the photos need no gradient: the first layer goes back once, the others twice
    expected = 2 * first + 3 * (depthwise + grouped + linear)
    for photos in (2, 4):
        assert flops_of(network, torch.randn(photos, 3, 8, 6)) == expected


def test_attention_costs_its_products():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.outward = nn.Linear(8, 24), nn.Linear(8, 8)

        def forward(self, x):
            q, k, v = self.inward(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.outward(mixed.transpose(1, 2).flatten(2))

    words, wide = 6, 8
    forward = 2 * words * wide * 24 + 2 * (2 * words * words * wide) + 2 * words * wide * wide
    x = torch.randn(3, words, wide)
    assert flops_of(Attention(), x) == 3 * forward - 2 * words * wide * 24  # x needs no gradient


@pytest.mark.parametrize("task", ["mask", "gender", "age"])
def test_a_specialist_costs_about_three_times_its_forward_pass(task):
    settings = settings_of(task)
    state = torch.get_rng_state()
    found = flops_per_photo(task, settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert found == flops_per_photo(task, settings)
    network = backbone.build(settings, 3)
    layers = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, out: layers.append((layer, out)))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, settings.height, settings.width, dtype=torch.uint8))
    forward = sum(2 * layer.weight.numel() * out.numel() / len(layer.weight) for layer, out in layers)
    assert 2.5 * forward < found < 3.6 * forward  # the products of attention are no layers


def test_paths_dropped_and_places_padded_cost_what_timms_do():
    settings = settings_of("gender")
    options = settings.backbone_options | {"num_classes": 2, "img_size": (settings.height, settings.width)}
    timms = timm.create_model(settings.backbone, **options)
    assert timms.layers[0].blocks[0].input_resolution[1] % 4 == 0
    assert timms.layers[1].blocks[0].input_resolution[1] % 4 == 2  # padded
    photos = torch.randn(2, 3, settings.height, settings.width)
    assert flops_per_photo("gender", settings | {"drop_path": 0.9}) == flops_of(timms, photos)


def test_larger_photos_cost_more():
    small, large = (flops_per_photo("mask", settings_of("mask", size=size)) for size in ((64, 64), (128, 128)))
    assert large == pytest.approx(4 * small, rel=0.05)


def test_an_effort_is_the_nearest_to_its_budget_and_asks_for_the_same_epochs():
    rng = np.random.default_rng(0)
    for _ in range(300):
        flops, photos, batch = rng.uniform(1e6, 1e9), int(rng.integers(1, 3000)), int(rng.integers(1, 64))
        budget = rng.uniform(1, 2e5) * flops
        found = effort(flops, photos, batch, budget=budget)
        step = flops * min(batch, photos)
        assert found.steps == 1 or abs(found.flops - budget) <= step / 2 * (1 + 1e-9)
        assert found.flops == pytest.approx(found.photos * flops) == pytest.approx(found.steps * step)
        steps_per_epoch = max(1, photos // min(batch, photos))
        assert max(1, round(found.epochs * steps_per_epoch)) == found.steps
        assert effort(flops, photos, batch, epochs=found.epochs) == found


def test_whole_epochs_are_counted_as_trained():
    assert effort(1e6, 100, 16, epochs=5).steps == 30  # six whole batches an epoch
    assert effort(1e6, 10, 16, epochs=2).photos == 20


def test_an_epoch_of_the_mask_specialist_is_as_long_as_it_trains():
    mask = np.array([0] * 50 + [1] * 10 + [2] * 10)
    rows = pd.DataFrame({"mask": pd.array(mask, "Int64"), "gender": 0, "age": 30.0})
    for most in (0.0, 1.0, 2.0):
        settings = settings_of("mask") | {"undersample": most}
        expected = undersampled(np.arange(70), mask, most, 3, 0)
        assert photos_per_epoch("mask", settings, rows) == len(expected)
    assert photos_per_epoch("age", settings_of("age"), rows) == 70


@pytest.mark.parametrize("preset", ["lite", "small", pytest.param("base", marks=pytest.mark.slow)])
def test_make_trains_first_what_costs_most(preset):
    """`goals` turns the order of the specialists around."""
    made = {task: PRESETS[preset][task] for task in reversed(SYSTEMS["specialists"])}
    costs = [flops_per_photo(task, one) * one.epochs for task, one in made.items()]
    assert all(cost > 0.99 * later for cost, later in itertools.pairwise(costs))  # lite's others are alike
    if preset == "lite":  # so that two at a time end together
        assert costs[0] == pytest.approx(sum(costs[1:]), rel=0.25)
