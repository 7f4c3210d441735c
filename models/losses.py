"""What the specialists minimise. Each loss is a mean over photos of weight x loss of the photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.labels import OLDEST


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """losses (N,), weights (N,) whose mean over the training photos is 1 -> scalar.

    Divided by N and not by the sum of the weights, so that a rare photo counts the same in every batch.
    """
    return (losses * weights).mean()


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016): logits (N, C), targets (N,) whole numbers."""
    losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return weighted_mean(losses, weights)


def years(device: torch.device | None = None) -> Tensor:
    """The years 0 to 100 (101,) that the age distribution is over."""
    return torch.arange(OLDEST + 1, dtype=torch.float32, device=device)


def expected_age(logits: Tensor) -> Tensor:
    """logits (N, 101) -> the expectation (N,) in years of their softmax (DEX, Rothe et al. 2018)."""
    return logits.float().softmax(1) @ years(logits.device)


def age_distribution(logits: Tensor, ages: Tensor, weights: Tensor, spread: float = 2.0) -> Tensor:
    """Cross-entropy to soft labels N(age, spread), plus the L1 error of the expectation (Gao et al. 2018).

    logits (N, 101); ages (N,) and spread in years.
    """
    distance = (years(logits.device)[None] - ages[:, None]) / spread
    soft = torch.softmax(-0.5 * distance.square(), 1)
    entropy = -(soft * logits.float().log_softmax(1)).sum(1)
    error = (expected_age(logits) - ages).abs()
    return weighted_mean(entropy + error, weights)


def density_weights(ages: Tensor, power: float, kernel: float = 2.0) -> Tensor:
    """Weights (N,) by smoothed label density to the power -`power`, mean 1 (LDS, Yang et al. 2021).

    `ages` (N,) are the training photos' in years, `kernel` the Gaussian's deviation in years; power 0 gives
    ones, 1 makes every age count the same.
    """
    weights = _density(ages, kernel)[ages.round().long()] ** -power
    return (weights / weights.mean()).float()


def log_density(ages: Tensor, kernel: float = 2.0) -> Tensor:
    """The log (101,) of the smoothed density of `ages` (N,) over the years; far from every age at least 1e-4."""
    density = _density(ages, kernel)
    return (density / density.sum()).clamp(min=1e-4).log().float()


def _density(ages: Tensor, kernel: float) -> Tensor:
    """How many of `ages` (N,) fall on each year (101,), smoothed by a Gaussian of `kernel` years."""
    counts = torch.bincount(ages.round().long(), minlength=OLDEST + 1).double()
    grid = years().double()
    smoother = torch.softmax(-0.5 * ((grid[:, None] - grid[None]) / kernel).square(), 1)
    return smoother @ counts


def log_shares(targets: Tensor, weights: Tensor, classes: int) -> Tensor:
    """The log (classes,) of the weighted share of each class among targets (N,)."""
    counts = torch.bincount(targets.long(), weights.double(), minlength=classes) + 1
    return (counts / counts.sum()).log().float()
