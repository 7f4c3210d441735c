"""Is a mask worn right, worn wrong or not worn? Three classes, predicted as probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from models.classifier import Classifier
from models.labels import MASKS
from models.task import Augmentation


class Mask(Classifier):
    """Five of a person's seven photos show a mask worn right.

    `undersample` lets those take turns over the epochs; `class_balance` evens out in the loss what is left of that in
    an epoch: at 0 every photo counts the same, at 1 every class does.
    """

    name = "mask"
    columns = tuple(f"mask_{name}" for name in MASKS)
    # A mask may have any colour, so colour is no clue; but where it sits is, so photos move little.
    augmentation = Augmentation(move=0.5, light=0.5, colour=0.5, shift=0.04, scale=0.1, blur=0.05, noise=0.05)
    num_logits = len(MASKS)
    classes = len(MASKS)

    @property
    def undersample(self) -> float:
        return self.settings.undersample

    def weights(self, targets: Tensor, shown: Tensor) -> Tensor:
        seen = torch.bincount(shown.long(), minlength=self.classes).double()
        weights = seen.clamp(min=1) ** -self.settings.class_balance
        # Of mean 1 over an epoch.
        return (weights / ((seen * weights).sum() / seen.sum()))[targets.long()].float()
