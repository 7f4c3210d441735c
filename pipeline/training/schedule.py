"""How fast a network learns at each step: a linear warm-up, then a cosine, steps down or a constant rate."""

from __future__ import annotations

import math


def learning_rate(
    step: int, steps: int, warmup: float, kind: str = "cosine", period: float = 0.0, gamma: float = 0.1
) -> float:
    """The share of the largest learning rate at a step of a run of so many.

    `warmup` is the share of the steps over which the rate rises to the largest; what follows counts from there:
    cosine: half a cosine to zero over `period` steps, by default the rest of the run. A longer period ends above
        zero; after a shorter one the rate rises again, as PyTorch's CosineAnnealingLR does past its T_max.
    step: times `gamma` after every `period` whole steps, by default a third of the rest (PyTorch's StepLR).
    constant: stays.
    """
    rising = max(1, round(steps * warmup)) if warmup else 0
    if step < rising:
        return (step + 1) / rising
    step, left = step - rising, max(1, steps - rising)
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / (period or left)))
    if kind == "step":
        return gamma ** (step // (max(1, round(period)) if period else math.ceil(left / 3)))
    if kind == "constant":
        return 1.0
    raise ValueError(f"no schedule is called {kind}")
