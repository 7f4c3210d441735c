"""A task whose targets are classes, predicted as probabilities: what mask, gender and the rivals share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import losses
from models.task import Task


class Classifier(Task):
    """Predicts the probability of every class, and of these the likeliest."""

    def weights(self, targets: Tensor, shown: Tensor) -> Tensor:
        return torch.ones_like(targets, dtype=torch.float32)

    def initial_bias(self, shown: Tensor) -> Tensor:
        return losses.log_shares(shown, self.weights(shown, shown), self.num_logits)

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        settings = self.settings
        smoothing, gamma = settings.smoothing, settings.focal_gamma
        return losses.classification(settings.loss, logits, targets, weights, smoothing, gamma)

    def predict(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1)

    def evidence(self, logits: Tensor) -> dict[str, Tensor]:
        """The log odds of the likeliest class."""
        wide = logits[:, : self.num_logits].float()
        likeliest = torch.nn.functional.one_hot(wide.detach().argmax(1), self.num_logits).bool()
        others = wide.masked_fill(likeliest, -torch.inf)
        return {self.name: wide[likeliest] - others.logsumexp(1)}

    def predicted_class(self, predictions: NDArray[np.float32]) -> NDArray[np.int64]:
        return predictions.argmax(1)

    def true_class(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        return targets.astype(np.int64)
