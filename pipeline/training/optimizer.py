"""What takes the steps: one of timm's optimizers, by a training's settings."""

from __future__ import annotations

from timm.optim import create_optimizer_v2
from torch.optim import Optimizer

from models.backbone import Network
from pipeline.run.train_settings import TrainingSettings

FUSED = ("adamw", "adam")
"""Optimizers of torch's that can take a step in one walk through memory. On CPUs that wants gradients laid out as their
weights are, as autograd makes them."""


def optimizer_of(network: Network, settings: TrainingSettings) -> Optimizer:
    """The optimizer of a network's weights; without decay of norms and biases, layer by layer where that is asked."""
    return create_optimizer_v2(
        network.backbone,
        opt=settings.optimizer,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay if settings.layer_decay < 1 else None,
        **({"fused": True} if settings.optimizer in FUSED else {}),
    )
