"""Stochastic depth that spares the work it drops: the same draws and outputs as timm's."""

import pytest
import torch
from timm.layers import DropPath

from models.cpu.stochastic_depth import residual


def test_the_branch_sees_kept_photos_alone():
    seen = []

    def branch(x):
        seen.append(len(x))
        return x * 2

    torch.manual_seed(0)
    x = torch.ones(200, 3)
    y = residual(x, branch, DropPath(0.4).train())
    kept = int((y[:, 0] > 1).sum())
    assert seen == [kept]
    assert 90 < kept < 150
    torch.testing.assert_close(y[y[:, 0] > 1], torch.full((kept, 3), 1 + 2 / 0.6))
    residual(x, branch, DropPath(0.4).eval())
    with torch.no_grad():
        residual(x, branch, DropPath(0.4).train())
    assert seen[1:] == [200, 200]


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_draws_and_outputs_are_timms(rate, count):
    x, dropping = torch.randn(count, 4, 3, dtype=torch.float64), DropPath(rate)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = x + dropping(x.sin())
        torch.manual_seed(seed)
        torch.testing.assert_close(residual(x, torch.sin, dropping), expected, rtol=1e-12, atol=1e-12)


def test_where_nothing_is_scaled_for_what_is_dropped_it_is_timms():
    x, dropping = torch.ones(50, 2), DropPath(0.5, scale_by_keep=False)
    assert residual(x, torch.ones_like, dropping).unique().tolist() == [1.0, 2.0]
