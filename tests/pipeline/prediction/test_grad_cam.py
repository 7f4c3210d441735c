"""Grad-CAM against its formula by finite differences, a network that looks where it is told to, and other weights."""

import cv2
import numpy as np
import pytest
import torch
from tiny import BACKBONE, network_of, settings_of
from torch import nn

from models.tasks import build_task
from pipeline.prediction.grad_cam import looked_at
from pipeline.run.presets import PRESETS


def photos_of(count, size=(64, 48), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


def task_and_network(task, seed=0):
    one = build_task(task, settings_of(task))
    return one, network_of(BACKBONE[task], seed, one.num_logits).eval()


def by_hand(task, network, photo):
    """The map of one photo before it is enlarged: gradients by differences, sums by loops, channels first."""
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    double = network.backbone.double()
    with torch.no_grad():
        features = double.forward_features(((pixels - network.mean) / network.deviation).double())
        last = task.name == "gender"  # Swin's channels are last
        channels = features.shape[-1] if last else features.shape[1]
        weights, step = np.zeros(channels), 1e-4
        for channel in range(channels):
            where = (..., channel) if last else (slice(None), channel)
            for sign in (1, -1):
                moved = features.clone()
                moved[where] += sign * step
                (evidence,) = task.evidence(double.forward_head(moved)).values()
                weights[channel] += sign * evidence.item() / (2 * step)
        count = features.numel() / channels
        planes = features[0].numpy() if not last else np.moveaxis(features[0].numpy(), -1, 0)
    network.backbone.float()
    return np.maximum(sum(w / count * plane for w, plane in zip(weights, planes, strict=True)), 0)


@pytest.mark.parametrize("name", ["mask", "gender", "age"])
def test_a_map_is_the_formula_by_differences(name, monkeypatch):
    task, network = task_and_network(name)
    monkeypatch.setattr(type(task), "evidence", in_double(type(task).evidence))
    photo = photos_of(1, seed=3)[0]
    small = by_hand(task, network, photo)
    (maps,) = looked_at(task, network, photo[None]).values()
    assert maps.shape == (1, 64, 48)
    assert (small.max() > 0) == (maps.max() == 1)
    whole = cv2.resize(small.astype(np.float32), (48, 64))
    assert maps[0] == pytest.approx(whole / max(whole.max(), 1e-30), abs=2e-2)


def in_double(evidence):
    """A task's evidence without its narrowing to float32, which differences would drown in."""

    def wide(self, logits):
        with torch.no_grad() if not logits.requires_grad else torch.enable_grad():
            float_ = torch.Tensor.float
            torch.Tensor.float = lambda tensor: tensor
            try:
                return evidence(self, logits)
            finally:
                torch.Tensor.float = float_

    return wide


class Corner(nn.Module):
    """A backbone that looks at the brightness of one corner and at nothing else."""

    num_features = 2

    def __init__(self, row, column):
        super().__init__()
        self.row, self.column = row, column

    def forward_features(self, photos):
        small = nn.functional.adaptive_avg_pool2d(photos.mean(1, keepdim=True), (4, 3)) + 4
        only = torch.zeros_like(small)
        only[:, :, self.row, self.column] = 1
        return torch.cat([small * only, small], 1)

    def forward_head(self, features):
        spoken = features[:, 0].sum((1, 2))
        return torch.stack([spoken, 0 * spoken, 0 * spoken - 1], 1)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 2), (1, 1)])
def test_a_network_looks_where_it_looks(row, column):
    task, network = task_and_network("mask")
    network.backbone = Corner(row, column)
    maps = looked_at(task, network, photos_of(20))["mask"]
    assert maps.shape == (20, 64, 48)
    assert maps.min() >= 0
    assert maps.max((1, 2)) == pytest.approx(1)
    for one in maps:
        at = np.unravel_index(one.argmax(), one.shape)
        assert (at[0] // 16, at[1] // 16) == (row, column)


def test_other_weights_look_elsewhere():
    """Maps that random weights left as they were would show the photo alone (Adebayo et al. 2018)."""
    photos = photos_of(6)
    for name in BACKBONE:
        first, again, other = (
            next(iter(looked_at(*task_and_network(name, seed), photos).values())) for seed in (0, 0, 1)
        )
        assert np.array_equal(first, again)
        alike = [
            np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, other, strict=True) if a.any() and b.any()
        ]
        assert len(alike) < 3 or np.mean(alike) < 0.8


def test_a_map_does_not_depend_on_the_photos_beside():
    task, network = task_and_network("age")
    photos = photos_of(20)
    together = looked_at(task, network, photos)["age"]
    assert looked_at(task, network, photos[17:18])["age"][0] == pytest.approx(together[17], abs=1e-4)


def test_every_head_of_a_rival_is_asked():
    for task, names in (("multihead", {"mask", "gender", "age"}), ("joint", {"joint"})):
        one = build_task(task, rival_settings(task))
        network = network_of("test_efficientnet", 0, one.num_logits)
        network.learned = one.learned
        if one.learned:
            network.backbone.learned = nn.Parameter(torch.zeros(one.learned))
        assert set(looked_at(one, network, photos_of(2))) == names


def rival_settings(task):
    return PRESETS["small"][task] | {"backbone": "test_efficientnet", "backbone_options": {}, "height": 64, "width": 48}


def test_a_backbone_without_a_map_has_none():
    task, network = task_and_network("mask")
    network.backbone.forward_features = lambda photos: torch.zeros(len(photos), 12, 8)
    assert looked_at(task, network, photos_of(2)) == {}
