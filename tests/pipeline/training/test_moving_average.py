"""The moving average beside torch's own, and what a step of it must not do."""

import torch
from moves import Moves
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.training.moving_average import MovingAverage


class Layer(nn.Module):
    """With what is learned, what is measured and what is counted."""

    def __init__(self, device: str = "cpu"):
        super().__init__()
        self.line, self.norm = nn.Linear(5, 4, device=device), nn.BatchNorm1d(4, device=device)
        self.register_buffer("index", torch.arange(170, device=device))

    def alter(self) -> None:
        with torch.no_grad():
            for value in self.state_dict().values():
                if value.is_floating_point():
                    value += torch.rand_like(value)


def test_it_is_torchs_average():
    torch.manual_seed(0)
    network = Layer()
    ours = MovingAverage(network, 0.9)
    torchs = torchs_own(network)
    for _ in range(10):
        network.alter()
        for average in (ours, torchs):
            average.update_parameters(network)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    for name, value in torchs.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
    assert ours.n_averaged == 10


def test_whole_numbers_are_not_averaged():
    """A Swin's index of positions stays what it is, however the decay rounds; a count is the latest."""
    network = Layer()
    for steps in range(20, 4000, 7):
        average = MovingAverage(network, 0.5 ** (1 / (0.05 * steps)))
        average.update_parameters(network)
        network.norm.num_batches_tracked += 1
        average.update_parameters(network)
        assert torch.equal(average.module.index, network.index), steps
        assert average.module.norm.num_batches_tracked == network.norm.num_batches_tracked


def test_a_step_sends_nothing_to_the_networks_device():
    """A GPU would be waited for; torch's own sends its counter."""
    for kind, sends in ((lambda network: MovingAverage(network, 0.9), False), (torchs_own, True)):
        network = Layer("meta")
        average = kind(network)
        average.update_parameters(network)
        with Moves() as moves:
            average.update_parameters(network)
        assert bool(moves.seen) == sends, moves.seen


def torchs_own(network: nn.Module) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
