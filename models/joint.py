"""The rival in one piece: a single network with the 18 labels in one head, as most teams train it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import losses
from models.labels import LABELS, band, encode
from models.specialist import Augmentation, Specialist


class Joint(Specialist):
    """Learns from photos that carry all three labels; `targets` are the 18 labels."""

    task = "joint"
    answers = tuple(f"label_{label:02d}" for label in range(LABELS))
    # One set of photos for all three questions: as far as the most careful of the specialists goes.
    augmentation = Augmentation(light=0.5, colour=0.2, grey=0.05, blur=0.03, noise=0.03)
    outputs = LABELS
    classes = LABELS

    def targets(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        mask, gender, age = labels.T
        return encode(mask, gender, band(age)).astype(np.float32)

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
