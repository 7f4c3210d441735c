"""Stochastic depth (Huang et al. 2016) that spares the work it drops.

timm takes a block's branch of every photo and multiplies what is dropped by 0. Here the branch is taken of the kept
photos alone: the same outputs and gradients for less work, and the same draws where a branch draws nothing itself. On
CPUs only, because to count the kept photos a GPU would have to wait, and only for branches that treat photos apart, as
batch normalisation does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def treats_photos_apart(block: nn.Module) -> bool:
    return not any(isinstance(layer, _BatchNorm) for layer in block.modules())


def spares(drop_path: nn.Module, x: Tensor) -> bool:
    """Whether there is something to spare: a CPU learns from photos x, some dropped and the others scaled for it."""
    drops = isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0
    return drops and drop_path.scale_by_keep and x.is_cpu and torch.is_grad_enabled()


def residual(x: Tensor, branch: Callable[[Tensor], Tensor], drop_path: nn.Module) -> Tensor:
    """x (N, ...) + the branch of x, of the same shape, each photo's dropped with drop_path's probability."""
    if not spares(drop_path, x):
        return x + drop_path(branch(x))
    kept = 1 - drop_path.drop_prob
    some = x.new_empty(len(x)).bernoulli_(kept).nonzero().flatten()  # timm's draw
    if not len(some):
        return x + 0 * branch(x)  # every weight has a gradient, as optimizers and processes beside this one expect
    if len(some) == len(x):
        return torch.add(x, branch(x), alpha=1 / kept)
    taken = branch(x.index_select(0, some))
    kind = torch.promote_types(x.dtype, taken.dtype)
    return x.to(kind).index_add(0, some, taken.to(kind), alpha=1 / kept)
