"""How old, in years? A distribution over the years 0 to 100, predicted by its expectation."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models import losses
from models.labels import BANDS, OLDEST, band
from models.task import Augmentation, Task

Targets = TypeVar("Targets", NDArray[np.float32], Tensor)
MIDDLE = 45.0
"""Plain regression predicts MIDDLE + age_scale x logit years, so that predictions start near the ages."""


NEAR = 5
"""Years that count as the predicted age, where it is asked what speaks for it."""


class Age(Task):
    """`age_loss`: distribution (soft labels and L1 of the expectation), or plain l1 or mse regression.

    `rare_ages` is the power of the reweighting by smoothed label density: 0 none, 1 full; `age_scale` the unit of
    plain regression in years: a loss in single years is 20 times (l1) or 400 times (mse) one in units of 20. Targets
    are years (N,), or (N, 2) where some are known as a range: its first and its last year, the same of all others.
    """

    name = "age"
    columns = ("age_years",)
    # Wrinkles and grey hair are fine texture: little blur and noise, no erasing.
    augmentation = Augmentation(light=0.5, colour=0.15, grey=0.05, blur=0.03, noise=0.03)
    classes = len(BANDS)

    def targets(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """labels (N, 1), ages -> (N,); (N, 2), the first and the last year of each -> themselves."""
        return labels[:, 0] if labels.shape[1] == 1 else labels

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
        predicted = losses.widened(logits)[:, 0]
        scaled = (targets - MIDDLE) / self.settings.age_scale
        if scaled.ndim == 2:  # the nearest year of the range
            scaled = torch.clamp(predicted.detach(), scaled[:, 0], scaled[:, 1])
        return losses.weighted_mean(regression(predicted, scaled, reduction="none"), weights)

    def predict(self, logits: Tensor) -> Tensor:
        if self.settings.age_loss == "distribution":
            return losses.expected_age(logits)[:, None]
        return MIDDLE + self.settings.age_scale * logits.float()

    def evidence(self, logits: Tensor) -> dict[str, Tensor]:
        """For the years near the predicted one against all others; of plain regression, away from MIDDLE."""
        years = self.predict(logits)
        if self.settings.age_loss != "distribution":
            return {self.name: (years[:, 0] - MIDDLE).abs()}
        near = (torch.arange(OLDEST + 1, device=logits.device) - years.detach()).abs() <= NEAR
        wide = logits[:, : OLDEST + 1].float()
        for_it, against = wide.masked_fill(~near, -torch.inf), wide.masked_fill(near, -torch.inf)
        return {self.name: for_it.logsumexp(1) - against.logsumexp(1)}

    def predicted_class(self, predictions: np.ndarray) -> np.ndarray:
        return band(predictions[:, 0])

    def true_class(self, targets: np.ndarray) -> np.ndarray:
        return band(_middle(targets))

    def metrics(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return {"mean_absolute_error": float(np.abs(predictions[:, 0] - _middle(targets)).mean())}


def _middle(targets: Targets) -> Targets:
    """Ages (N,) as they are, of ranges (N, 2) the middle (N,)."""
    return targets if targets.ndim == 1 else targets.mean(1)
