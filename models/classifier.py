"""A specialist whose targets are classes, answered as probabilities: what mask, gender and the rivals share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import losses
from models.task import Specialist


class Classifier(Specialist):
    """Answers the probability of every class, and of these the likeliest."""

    def weights(self, targets: Tensor) -> Tensor:
        return torch.ones_like(targets, dtype=torch.float32)

    def first_bias(self, targets: Tensor) -> Tensor:
        return losses.log_shares(targets, self.weights(targets), self.outputs)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        settings = self.settings
        smoothing, gamma = settings["smoothing"], settings["focal_gamma"]
        return losses.classification(settings["loss"], outputs, targets, weights, smoothing, gamma)

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(1)

    def classify(self, answers: NDArray[np.float32]) -> NDArray[np.int64]:
        return answers.argmax(1)

    def classes_of(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        return targets.astype(np.int64)
