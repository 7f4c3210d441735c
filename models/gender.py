"""Male or female? Two classes, predicted as the probability of female."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.classifier import Classifier
from models.labels import GENDERS
from models.task import Augmentation


class Gender(Classifier):
    """Shape tells more than colour, but hair and make-up do tell: moderate changes throughout."""

    name = "gender"
    columns = ("gender_female",)
    augmentation = Augmentation(light=0.5, colour=0.3, grey=0.15, erase=0.2, shift=0.08, scale=0.15)
    num_logits = len(GENDERS)
    classes = len(GENDERS)

    def predict(self, logits: Tensor) -> Tensor:
        return super().predict(logits)[:, 1:]

    def predicted_class(self, predictions: np.ndarray) -> np.ndarray:
        return (predictions[:, 0] >= 0.5).astype(np.int64)
