"""The exponential moving average of a network's weights, which is the model (after Polyak and Juditsky, 1992)."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """torch's, as its state in checkpoints is; but its step sends nothing to a GPU, which would wait for it.

    decay: the share of the average that a step keeps. Whole numbers, like a Swin's index of positions, are taken over
    as they are, because torch's own would average and round them down.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        pairs = [
            *zip(self.module.parameters(), network.parameters(), strict=True),
            *zip(self.module.buffers(), network.buffers(), strict=True),
        ]
        averages, latest = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        # The weights after the first step are the first average.
        torch._foreach_lerp_(averages, latest, 1 - self.decay if self.n_averaged else 1.0)
        for average, value in pairs:
            if not average.is_floating_point():
                average.copy_(value)
        self.n_averaged += 1
