"""What a training costs: photos seen times the FLOPs of a photo's forward and backward pass.

A product and a sum count as two FLOPs, and only matrix products and convolutions count, as is usual. What the
machine makes of them (precision, threads, skipped photos of validation, layers that spare work) does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models import backbone
from models.tasks import build_task
from pipeline.run.presets import columns_of
from pipeline.run.train_settings import TrainingSettings
from pipeline.training.sampling import epoch_steps, rows_of, steps_of

if TYPE_CHECKING:
    import pandas as pd

PHOTOS = 2
"""Photos counted together: batch normalisation cannot train on one."""


@dataclass(frozen=True)
class Effort:
    """A training's length: `epochs` to ask for, and the `photos` seen and `flops` done in their `steps`."""

    epochs: float
    steps: int
    photos: int
    flops: float


def flops_per_photo(task: str, settings: TrainingSettings) -> float:
    """Forward-backward FLOPs of one photo through the network that a task's settings describe."""
    num_logits = build_task(task, settings).num_logits
    with torch.random.fork_rng(devices=[]):  # counting must not change what is drawn after it
        network = backbone.build(settings, num_logits)
        return flops_of(network, torch.zeros(PHOTOS, 3, settings.height, settings.width, dtype=torch.uint8))


def flops_of(network: nn.Module, photos: torch.Tensor) -> float:
    """Forward-backward FLOPs of a network for one of the photos (N, ...)."""
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    network.train()
    with counter, sdpa_kernel(SDPBackend.MATH):  # fused attention is counted differently from machine to machine
        network(photos).sum().backward()
    network.zero_grad()
    return counter.get_total_flops() / len(photos)


def _convolution_backward(
    above: list[int],
    x: list[int],
    weight: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: list[bool],
    **_: Any,
) -> int:
    """Shapes -> FLOPs: each of the two gradients takes the products of the forward pass.

    torch's own formula takes a grouped convolution's weights for a full one's: of a depthwise layer of 500
    channels it makes 500 times too much.
    """
    places = prod((x if transposed else above)[2:])
    return 2 * x[0] * places * prod(weight) * sum(map(bool, wanted[:2]))


def photos_per_epoch(task: str, settings: TrainingSettings, rows: pd.DataFrame) -> int:
    """How many of the rows of train photos (all with the task's labels) an epoch sees before whole batches are made."""
    one = build_task(task, settings)
    classes = one.true_class(one.targets(rows[list(columns_of(task))].to_numpy(np.float32)))
    every = np.arange(len(rows))
    return len(rows_of(every, classes, 0, settings.seed, settings.sampling, one.undersample))


def effort(
    flops: float, photos: int, batch_size: int, *, epochs: float | None = None, budget: float | None = None
) -> Effort:
    """The training of so many epochs, or the one nearest to a budget in FLOPs; at least a step.

    flops: of one photo; photos: of an epoch; batch_size: photos a step.
    """
    batch_size = min(batch_size, photos)
    steps_per_epoch = epoch_steps(photos, batch_size)
    steps = steps_of(budget / (flops * batch_size * steps_per_epoch) if epochs is None else epochs, steps_per_epoch)
    return Effort(round(steps / steps_per_epoch, 6), steps, steps * batch_size, steps * batch_size * flops)
