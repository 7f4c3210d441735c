"""Muon's steps against its iteration in float64, in either precision."""

import numpy as np
import torch
from timm.optim import Muon
from timm.optim import muon as timms

from pipeline.training import muon

A, B, C = 3.4445, -4.7750, 2.0315
"""Of the quintic that brings singular values near 1 (Jordan et al. 2024)."""


def orthogonalized(matrix):
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return x


def step_of(precision):
    """The step of a matrix, without its rate, and the same in float64."""
    weight = torch.nn.Parameter(torch.zeros(24, 60))
    weight.grad = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))
    with muon.products_in(precision):
        Muon([weight], lr=1.0, momentum=0.0, ns_coefficients=(A, B, C)).step()
    expected = -0.2 * 60**0.5 * orthogonalized(weight.grad.double().numpy())
    return weight.detach().double().numpy(), expected


def test_in_float32_a_step_is_that_of_float64():
    found, expected = step_of("float32")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_in_bfloat16_it_is_near():
    found, expected = step_of("bfloat16")
    assert 1e-4 < np.abs(found - expected).max() < 0.05


def test_timms_own_way_is_back_after_the_block():
    usual = timms.zeropower_via_newtonschulz
    block = muon.products_in("float32")
    block.__enter__()
    assert timms.zeropower_via_newtonschulz is not usual
    block.__exit__(None, None, None)
    assert timms.zeropower_via_newtonschulz is usual
