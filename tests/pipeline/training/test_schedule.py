"""The learning rate at each step against PyTorch's own schedules."""

import math

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from pipeline.training.schedule import learning_rate


def torchs(steps, make):
    """The rate at each step under one of PyTorch's schedules, stepped after every training step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def ours(steps, *given):
    return [learning_rate(step, steps, *given) for step in range(steps)]


@pytest.mark.parametrize(("steps", "period"), [(60, 0), (60, 60), (60, 150), (60, 20), (61, 7), (1, 0), (2, 1)])
def test_the_cosine_is_pytorchs(steps, period):
    reference = torchs(steps, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, period or steps))
    np.testing.assert_allclose(ours(steps, 0.0, "cosine", period), reference, rtol=0, atol=1e-6)


def test_a_cosine_longer_than_the_run_never_gets_near_zero_and_a_shorter_one_rises_again():
    assert ours(30, 0.0, "cosine", 50.0)[-1] > 0.3  # 30 epochs of a T_max of 50
    rates = ours(60, 0.0, "cosine", 20.0)
    assert rates[20] == pytest.approx(0, abs=1e-12)
    assert rates[40] == pytest.approx(1)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("steps", "period"), [(60, 20), (61, 7), (10, 100), (5, 1)])
def test_steps_are_pytorchs(steps, period, gamma):
    reference = torchs(steps, lambda optimizer: lr_scheduler.StepLR(optimizer, period, gamma))
    np.testing.assert_allclose(ours(steps, 0.0, "step", period, gamma), reference, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 60, 100])
def test_without_a_period_the_rate_falls_after_each_third(steps):
    rates = np.round(np.log10(ours(steps, 0.0, "step")))
    assert set(rates) == set(-np.arange(min(3, steps)))
    assert (np.diff(rates) <= 0).all()
    assert max(np.unique(rates, return_counts=True)[1]) == math.ceil(steps / 3)


def test_a_period_that_is_no_whole_number_of_steps_is_rounded():
    assert ours(30, 0.0, "step", 0.1 * 30) == ours(30, 0.0, "step", 3)  # 0.1 * 30 is a little above 3
    assert ours(5, 0.0, "step", 0.01) == ours(5, 0.0, "step", 1)


def test_a_constant_rate_stays():
    assert ours(9, 0.0, "constant") == [1] * 9
    assert ours(10, 0.3, "constant", 5.0) == [1 / 3, 2 / 3] + [1] * 8


@pytest.mark.parametrize("kind", ["cosine", "step", "constant"])
@pytest.mark.parametrize("period", [0, 13])
@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (37, 0.25), (2, 0.1), (1, 0.1), (50, 1.0)])
def test_the_rate_rises_in_a_line_and_the_schedule_counts_from_its_top(steps, warmup, kind, period):
    rates = ours(steps, warmup, kind, period)
    rising = max(1, round(steps * warmup))
    np.testing.assert_allclose(rates[:rising], np.arange(1, rising + 1) / rising)
    np.testing.assert_allclose(rates[rising:], ours(steps - rising, 0.0, kind, period))
    assert max(rates) == 1


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (37, 0.25), (2, 0.1), (1, 0.1), (50, 1.0), (840, 0.1)])
def test_the_default_gives_the_numbers_it_always_gave(steps, warmup):
    """To the last bit: half a cosine to zero after the warm-up, written out."""
    rising = max(1, round(steps * warmup))
    for step, rate in enumerate(ours(steps, warmup)):
        falling = 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
        assert rate == ((step + 1) / rising if step < rising else falling)
    if steps == 100:
        assert ours(steps, warmup)[9:11] == [1, 1]
        assert 0 < ours(steps, warmup)[-1] < 1e-3


def test_an_unknown_schedule_is_a_fault():
    with pytest.raises(ValueError, match="stairs"):
        learning_rate(5, 10, 0.1, "stairs")
