"""The rival in one piece: a single network with the 18 labels in one head, as most teams train it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier
from models.labels import LABELS, band, encode
from models.task import Augmentation


class Joint(Classifier):
    """Learns from photos that carry all three labels; `targets` are the 18 labels."""

    name = "joint"
    columns = tuple(f"label_{label:02d}" for label in range(LABELS))
    # One set of photos for all three attributes: as far as the most careful of the specialists goes.
    augmentation = Augmentation(light=0.5, colour=0.2, grey=0.05, blur=0.03, noise=0.03)
    num_logits = LABELS
    classes = LABELS

    def targets(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        mask, gender, age = labels.T
        return encode(mask, gender, band(age)).astype(np.float32)
