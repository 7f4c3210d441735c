"""What networks minimise: a mean over photos of weight x loss of the photo, or, as macro-F1, a metric of the batch.

Logits in half precision are widened to float32 first; float64 stays, so that gradients can be checked in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.labels import OLDEST

KERNEL = 2.0
"""The deviation, in years, of the Gaussian that smooths how common ages are."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """losses (N,), weights (N,) whose mean over the training photos is 1 -> scalar.

    Divided by N and not by the sum of the weights, so that a rare photo counts the same in every batch.
    """
    return (losses * weights).mean()


def widened(logits: Tensor) -> Tensor:
    """Logits of any shape in float32, or in float64 where they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


def classification(
    kind: str, logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float = 0.0, focal_gamma: float = 2.0
) -> Tensor:
    """The loss named `kind`: cross_entropy, focal or soft_f1; logits (N, C), targets (N,), weights (N,) -> scalar.

    Smoothing softens the targets of cross-entropy and focal. Macro-F1 counts whole labels, as the score does: it
    takes no smoothing, whatever the setting.
    """
    logits, targets = widened(logits), targets.long()
    if kind == "cross_entropy":
        return cross_entropy(logits, targets, weights, smoothing)
    if kind == "focal":
        return focal(logits, targets, weights, focal_gamma, smoothing)
    if kind == "soft_f1":
        return soft_macro_f1(logits, targets, weights)
    raise ValueError(f"no loss is called {kind}")


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016): logits (N, C), targets (N,) whole numbers."""
    losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return weighted_mean(losses, weights)


def focal(logits: Tensor, targets: Tensor, weights: Tensor, gamma: float, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, so that easy photos count little (Lin et al. 2017); gamma 0 is without.

    logits (N, C), targets (N,) whole numbers. Each class's term has its own p, which matters under smoothing.
    """
    classes = logits.shape[1]
    log_shares = logits.log_softmax(1)
    soft = functional.one_hot(targets, classes).to(logits.dtype) * (1 - smoothing) + smoothing / classes
    # Not quite down to 0, where a power below 1 has no slope.
    hardness = (1 - log_shares.exp()).clamp(min=torch.finfo(logits.dtype).eps) ** gamma
    return weighted_mean(-(soft * hardness * log_shares).sum(1), weights)


def soft_macro_f1(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """1 - macro-F1 with probabilities in place of predicted classes, over the classes that occur among the targets.

    logits (N, C), targets (N,) whole numbers; weights (N,) count photos. It is a metric of the batch, so large
    batches serve it better, and a batch that is split for want of memory gives the mean over its micro-batches.
    """
    truth = functional.one_hot(targets, logits.shape[1]).to(logits.dtype)
    shares, present = logits.softmax(1), truth.sum(0) > 0
    weights = weights.to(logits.dtype)
    hits, either = weights @ (shares * truth), weights @ (shares + truth)
    f1 = 2 * hits / either.clamp(min=torch.finfo(either.dtype).tiny)
    return 1 - (f1 * present).sum() / present.sum()


def uncertainty_weighted(losses: Tensor, log_variances: Tensor, regression: Sequence[bool]) -> Tensor:
    """Several tasks' losses (K,), each divided by a variance that is learned with them (Kendall et al. 2018).

    losses (K,), log_variances s (K,), regression K truth values -> (K,): exp(-s) L + s / 2 of a classification,
    exp(-s) L / 2 + s / 2 of a regression. Left to itself, s follows its loss: the variance becomes 2 L, or L.
    """
    share = [0.5 if one else 1.0 for one in regression]  # no tensor, which a GPU would wait for
    terms = zip(share, log_variances, losses, strict=True)
    return torch.stack([factor * (-s).exp() * loss + s / 2 for factor, s, loss in terms])


def years(device: torch.device | None = None) -> Tensor:
    """The years 0 to 100 (101,) that the age distribution is over."""
    return torch.arange(OLDEST + 1, dtype=torch.float32, device=device)


def expected_age(logits: Tensor) -> Tensor:
    """logits (N, 101) -> the expectation (N,) in years of their softmax (DEX, Rothe et al. 2018)."""
    logits = widened(logits)
    return logits.softmax(1) @ years(logits.device).to(logits.dtype)


def age_distribution(logits: Tensor, ages: Tensor, weights: Tensor, spread: float = 2.0) -> Tensor:
    """Cross-entropy to soft labels N(age, spread), plus the L1 error of the expectation (Gao et al. 2018).

    logits (N, 101); ages (N,) and spread in years. Ages (N, 2) are ranges, the first and the last year: their soft
    labels are the mean of those of the years in between, and the expectation errs by its distance from them.
    """
    logits = widened(logits)
    expected = expected_age(logits)
    if ages.ndim == 1:
        soft = _soft(ages.to(logits.dtype), spread)
        error = (expected - ages).abs()
    else:
        soft = _soft_ranges(ages, spread).to(logits.dtype)
        error = (expected - torch.clamp(expected.detach(), ages[:, 0], ages[:, 1])).abs()
    entropy = -(soft * logits.log_softmax(1)).sum(1)
    return weighted_mean(entropy + error, weights)


def _soft_ranges(ages: Tensor, spread: float) -> Tensor:
    """The soft labels (N, 101) of ranges of ages (N, 2): the mean of every year's in between."""
    mean = _years_of(ages).to(torch.float32) @ _soft(years(ages.device), spread)
    # An age that is no range need not be a whole year.
    return torch.where(ages[:, :1] == ages[:, 1:], _soft(ages[:, 0], spread), mean)


def _years_of(ages: Tensor) -> Tensor:
    """Ranges of ages (N, 2) -> the share (N, 101) of each that falls on each year, float64."""
    grid = years(ages.device)
    between = ((grid >= ages[:, :1].round()) & (grid <= ages[:, 1:].round())).double()
    return between / between.sum(1, keepdim=True)


def _soft(ages: Tensor, spread: float) -> Tensor:
    """The soft labels N(age, spread) over the years (N, 101), of ages (N,)."""
    distance = (years(ages.device)[None] - ages[:, None]) / spread
    return torch.softmax(-0.5 * distance.square(), 1)


def density_weights(ages: Tensor, power: float) -> Tensor:
    """Weights (N,) by smoothed label density to the power -`power`, mean 1 (LDS, Yang et al. 2021).

    `ages` (N,) are the training photos' in years, or (N, 2) ranges, which weigh as their years do on average; power 0
    gives ones, 1 makes every age count the same.
    """
    density = _density(ages)
    weights = density[ages.round().long()] ** -power if ages.ndim == 1 else _years_of(ages) @ density**-power
    return (weights / weights.mean()).float()


def log_density(ages: Tensor) -> Tensor:
    """The log (101,) of the smoothed density of `ages` over the years; far from every age at least 1e-4.

    ages: (N,) in years, or (N, 2) ranges.
    """
    density = _density(ages)
    return (density / density.sum()).clamp(min=1e-4).log().float()


def _density(ages: Tensor) -> Tensor:
    """How many of `ages`, (N,) or ranges (N, 2), fall on each year (101,), smoothed by a Gaussian of KERNEL years."""
    if ages.ndim == 1:
        counts = torch.bincount(ages.round().long(), minlength=OLDEST + 1).double()
    else:
        counts = _years_of(ages).sum(0)
    grid = years().double()
    smoother = torch.softmax(-0.5 * ((grid[:, None] - grid[None]) / KERNEL).square(), 1)
    return smoother @ counts


def log_shares(targets: Tensor, weights: Tensor, classes: int) -> Tensor:
    """The log (classes,) of the weighted share of each class among targets (N,)."""
    counts = torch.bincount(targets.long(), weights.double(), minlength=classes) + 1
    return (counts / counts.sum()).log().float()
