"""Male or female? Two classes, answered as the probability of female."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.classifier import Classifier
from models.labels import GENDERS
from models.task import Augmentation


class Gender(Classifier):
    """Shape tells more than colour, but hair and make-up do tell: moderate changes throughout."""

    task = "gender"
    answers = ("gender_female",)
    augmentation = Augmentation(light=0.5, colour=0.3, grey=0.15, erase=0.2, shift=0.08, scale=0.15)
    outputs = len(GENDERS)
    classes = len(GENDERS)

    def answer(self, outputs: Tensor) -> Tensor:
        return super().answer(outputs)[:, 1:]

    def classify(self, answers: np.ndarray) -> np.ndarray:
        return (answers[:, 0] >= 0.5).astype(np.int64)
