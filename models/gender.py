"""Male or female? Two classes, answered as the probability of female."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models import losses
from models.labels import GENDERS
from models.specialist import Augmentation, Specialist


class Gender(Specialist):
    """Shape tells more than colour, but hair and make-up do tell: moderate changes throughout."""

    task = "gender"
    answers = ("gender_female",)
    augmentation = Augmentation(light=0.5, colour=0.3, grey=0.15, erase=0.2, shift=0.08, scale=0.15)
    outputs = len(GENDERS)
    classes = len(GENDERS)

    def weights(self, targets: Tensor) -> Tensor:
        return torch.ones_like(targets, dtype=torch.float32)

    def first_bias(self, targets: Tensor) -> Tensor:
        return losses.log_shares(targets, self.weights(targets), self.outputs)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        settings = self.settings
        smoothing, gamma = settings["smoothing"], settings["focal_gamma"]
        return losses.classification(settings["loss"], outputs, targets, weights, smoothing, gamma)

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(1)[:, 1:]

    def classify(self, answers: np.ndarray) -> np.ndarray:
        return (answers[:, 0] >= 0.5).astype(np.int64)

    def classes_of(self, targets: np.ndarray) -> np.ndarray:
        return targets.astype(np.int64)
