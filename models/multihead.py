"""The rival with three heads: one backbone that predicts mask, gender and age side by side.

Its heads are the specialists' own tasks, each on a slice of one network's logits. What differs is that one
backbone has to please all three, and how their losses are added up: with `head_balance` sum as they are, where an age
error in squared years drowns the others (the notes' macro-F1 of 0.06); with uncertainty each by a learned weight.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import losses
from models.age import Age
from models.classifier import Classifier
from models.gender import Gender
from models.labels import BAND_STARTS, BANDS, LABELS, band, encode
from models.mask import Mask
from models.settings import ModelSettings
from models.task import Augmentation, Task


class Bands(Classifier):
    """The age head as three classes, predicted as probabilities; its targets are ages in years."""

    name = "bands"
    columns = tuple(f"band_{number}" for number in range(len(BANDS)))
    augmentation = Age.augmentation
    num_logits = len(BANDS)
    classes = len(BANDS)

    def initial_bias(self, shown: Tensor) -> Tensor:
        return super().initial_bias(_bands(shown))

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return super().loss(logits, _bands(targets), weights)

    def true_class(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        return band(targets)


def _bands(ages: Tensor) -> Tensor:
    """The bands of ages (N,), on the device where those are."""
    return (ages >= BAND_STARTS[0]).long() + (ages >= BAND_STARTS[1])


class Multihead(Task):
    """`age_head`: years (as the age specialist predicts) or bands; `head_balance`: uncertainty or sum.

    `mask_weight`, `gender_weight` and `age_weight` multiply the heads' terms of the loss. Targets are (N, 3): mask,
    gender, age. With uncertainty the network learns a log-variance for each head beside its logits (Kendall et al.
    2018).
    """

    name = "multihead"
    # One set of photos for all three attributes: as far as the most careful of the specialists goes.
    augmentation = Augmentation(light=0.5, colour=0.2, grey=0.05, blur=0.03, noise=0.03)
    classes = LABELS

    def __init__(self, settings: ModelSettings):
        super().__init__(settings)
        years = settings.age_head == "years"
        self.heads: tuple[Task, ...] = (
            Mask(settings | {"class_balance": 0.0, "undersample": 0.0}),
            Gender(settings),
            (Age if years else Bands)(settings),
        )
        self.scales = [settings.mask_weight, settings.gender_weight, settings.age_weight]
        self.regression = [False, False, years and settings.age_loss != "distribution"]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for head in self.heads for column in head.columns)

    @property
    def num_logits(self) -> int:
        return sum(head.num_logits for head in self.heads)

    @property
    def learned(self) -> int:
        return len(self.heads) if self.settings.head_balance == "uncertainty" else 0

    def targets(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        return labels

    def weights(self, targets: Tensor, shown: Tensor) -> Tensor:
        """By the age alone: a photo counts as much for every head."""
        return losses.density_weights(targets[:, 2], self.settings.rare_ages)

    def initial_bias(self, shown: Tensor) -> Tensor:
        return torch.cat([head.initial_bias(shown[:, k]) for k, head in enumerate(self.heads)])

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        pieces = zip(self.heads, self._slices(logits), strict=True)
        each = torch.stack([head.loss(its, targets[:, k], weights) for k, (head, its) in enumerate(pieces)])
        if self.learned:
            log_variances = losses.widened(logits[:, self.num_logits :]).mean(0)
            each = losses.uncertainty_weighted(each, log_variances, self.regression)
        # Last: inside, a weight would be undone by the variance that is learned.
        return torch.stack([scale * loss for scale, loss in zip(self.scales, each, strict=True)]).sum()

    def predict(self, logits: Tensor) -> Tensor:
        return torch.cat([h.predict(o) for h, o in zip(self.heads, self._slices(logits), strict=True)], 1)

    def evidence(self, logits: Tensor) -> dict[str, Tensor]:
        pieces = zip(self.heads, self._slices(logits), strict=True)
        return {name: one for head, its in pieces for name, one in head.evidence(its).items()}

    def predicted_class(self, predictions: NDArray[np.float32]) -> NDArray[np.int64]:
        pieces = np.split(predictions, np.cumsum([len(head.columns) for head in self.heads])[:-1], axis=1)
        return encode(*(head.predicted_class(piece) for head, piece in zip(self.heads, pieces, strict=True)))

    def true_class(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        return encode(*(head.true_class(targets[:, k]) for k, head in enumerate(self.heads)))

    def metrics(self, predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> dict[str, float]:
        return self.heads[2].metrics(predictions[:, -len(self.heads[2].columns) :], targets[:, 2])

    def _slices(self, logits: Tensor) -> tuple[Tensor, ...]:
        return logits[:, : self.num_logits].split([head.num_logits for head in self.heads], 1)
