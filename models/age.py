"""How old, in years? A distribution over the years 0 to 100, answered by its expectation."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from models import losses
from models.labels import BANDS, OLDEST, band
from models.task import Augmentation, Specialist

MIDDLE = 45.0
"""Plain regression answers MIDDLE + age_scale x output years, so that the output starts near the ages."""


class Age(Specialist):
    """`age_loss`: distribution (soft labels and L1 of the expectation), or plain l1 or mse regression.

    `rare_ages` is the power of the reweighting by smoothed label density: 0 none, 1 full; `age_scale` the unit of
    plain regression in years: a loss in single years is 20 times (l1) or 400 times (mse) one in units of 20.
    """

    task = "age"
    answers = ("age_years",)
    # Wrinkles and grey hair are fine texture: little blur and noise, no erasing.
    augmentation = Augmentation(light=0.5, colour=0.15, grey=0.05, blur=0.03, noise=0.03)
    classes = len(BANDS)

    def __init__(self, settings: dict[str, Any]):
        super().__init__({"age_scale": 20.0} | settings)  # as it was before it was a setting

    @property
    def outputs(self) -> int:
        return OLDEST + 1 if self.settings["age_loss"] == "distribution" else 1

    def weights(self, targets: Tensor) -> Tensor:
        return losses.density_weights(targets, self.settings["rare_ages"])

    def first_bias(self, targets: Tensor) -> Tensor:
        if self.settings["age_loss"] == "distribution":
            return losses.log_density(targets)
        return ((targets.mean() - MIDDLE) / self.settings["age_scale"])[None]

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        kind = self.settings["age_loss"]
        if kind == "distribution":
            return losses.age_distribution(outputs, targets, weights, self.settings["age_spread"])
        regression = functional.l1_loss if kind == "l1" else functional.mse_loss
        scaled = (targets - MIDDLE) / self.settings["age_scale"]
        return losses.weighted_mean(regression(losses.widened(outputs)[:, 0], scaled, reduction="none"), weights)

    def answer(self, outputs: Tensor) -> Tensor:
        if self.settings["age_loss"] == "distribution":
            return losses.expected_age(outputs)[:, None]
        return MIDDLE + self.settings["age_scale"] * outputs.float()

    def classify(self, answers: np.ndarray) -> np.ndarray:
        return band(answers[:, 0])

    def classes_of(self, targets: np.ndarray) -> np.ndarray:
        return band(targets)

    def figures(self, answers: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return {"mean_absolute_error": float(np.abs(answers[:, 0] - targets).mean())}
