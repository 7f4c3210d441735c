"""How old, in years? A distribution over the years 0 to 100, predicted by its expectation."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from models import losses
from models.labels import BANDS, OLDEST, band
from models.task import Augmentation, Task

MIDDLE = 45.0
"""Plain regression predicts MIDDLE + age_scale x logit years, so that predictions start near the ages."""


class Age(Task):
    """`age_loss`: distribution (soft labels and L1 of the expectation), or plain l1 or mse regression.

    `rare_ages` is the power of the reweighting by smoothed label density: 0 none, 1 full; `age_scale` the unit of
    plain regression in years: a loss in single years is 20 times (l1) or 400 times (mse) one in units of 20.
    """

    name = "age"
    columns = ("age_years",)
    # Wrinkles and grey hair are fine texture: little blur and noise, no erasing.
    augmentation = Augmentation(light=0.5, colour=0.15, grey=0.05, blur=0.03, noise=0.03)
    classes = len(BANDS)

    @property
    def num_logits(self) -> int:
        return OLDEST + 1 if self.settings.age_loss == "distribution" else 1

    def weights(self, targets: Tensor, shown: Tensor) -> Tensor:
        return losses.density_weights(targets, self.settings.rare_ages)

    def initial_bias(self, shown: Tensor) -> Tensor:
        if self.settings.age_loss == "distribution":
            return losses.log_density(shown)
        return ((shown.mean() - MIDDLE) / self.settings.age_scale)[None]

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        kind = self.settings.age_loss
        if kind == "distribution":
            return losses.age_distribution(logits, targets, weights, self.settings.age_spread)
        regression = functional.l1_loss if kind == "l1" else functional.mse_loss
        scaled = (targets - MIDDLE) / self.settings.age_scale
        return losses.weighted_mean(regression(losses.widened(logits)[:, 0], scaled, reduction="none"), weights)

    def predict(self, logits: Tensor) -> Tensor:
        if self.settings.age_loss == "distribution":
            return losses.expected_age(logits)[:, None]
        return MIDDLE + self.settings.age_scale * logits.float()

    def predicted_class(self, predictions: np.ndarray) -> np.ndarray:
        return band(predictions[:, 0])

    def true_class(self, targets: np.ndarray) -> np.ndarray:
        return band(targets)

    def metrics(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return {"mean_absolute_error": float(np.abs(predictions[:, 0] - targets).mean())}
