"""timm's moving average, as training uses it: what else it must be beside a recursion (test_trainer)."""

import torch
from timm.utils import ModelEmaV3
from torch import nn


class Layer(nn.Module):
    """With what is learned, what is measured and what is counted."""

    def __init__(self):
        super().__init__()
        self.line, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)
        self.register_buffer("index", torch.arange(170))


def test_the_first_average_is_the_weights_after_the_first_step():
    network = Layer()
    average = ModelEmaV3(network, 0.9)
    with torch.no_grad():
        network.line.weight += 1
    average.update(network, 1)
    assert torch.equal(average.module.line.weight, network.line.weight)


def test_whole_numbers_are_not_averaged():
    """A Swin's index of positions stays what it is, however the decay rounds; a count is the latest."""
    network = Layer()
    for steps in range(20, 4000, 7):
        average = ModelEmaV3(network, 0.5 ** (1 / (0.05 * steps)))
        average.update(network, 1)
        network.norm.num_batches_tracked += 1
        average.update(network, 2)
        assert torch.equal(average.module.index, network.index), steps
        assert average.module.norm.num_batches_tracked == network.norm.num_batches_tracked
