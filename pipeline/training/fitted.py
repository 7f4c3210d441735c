"""A network as a plan has it train: its layers, its memory format and what it shares with other processes."""

from __future__ import annotations

import torch
from timm.layers import convert_sync_batchnorm

from models.backbone import Network
from models.cpu import faster
from pipeline.runtime.machine import Plan


def fitted(network: Network, plan: Plan, ranks: int) -> Network:
    """The network by the plan, for so many processes; its weights and their names stay."""
    faster.exchange(network, plan.layers)
    if plan.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if ranks > 1 and plan.device == "cuda":
        # Not to be had on CPUs. timm's, because torch's own drops the activations in timm's normalisations.
        network = convert_sync_batchnorm(network)
    return network
