"""The one contract between a network and the pipeline: labels in, targets, loss, predictions.

A task knows how labels become targets, how its network's logits become a loss and named prediction columns, and how
strongly its photos may be altered. It knows nothing of files, folds or optimizers. The rivals, single networks that
predict everything, keep the same contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How strongly training photos are altered; each field is a probability unless it says otherwise."""

    flip: float = 0.5
    move: float = 0.8
    shift: float = 0.06
    """Largest shift, as a share of the photo."""
    scale: float = 0.12
    """Largest change of size, as a share."""
    rotate: float = 10.0
    """Largest turn in degrees; never upside down."""
    light: float = 0.5
    """Brightness and contrast."""
    colour: float = 0.2
    """Hue and saturation."""
    grey: float = 0.05
    blur: float = 0.1
    noise: float = 0.1
    erase: float = 0.0
    """A rectangle is painted over."""


class Task(ABC):
    """What a network is to predict. `settings`: those that it knows are followed.

    It learns from the photos that carry all its label columns (`presets.columns_of`). Targets are (N,), or (N, k) where
    a network predicts k labels side by side.
    """

    name: str
    columns: tuple[str, ...]
    """The columns of its prediction table."""
    augmentation: Augmentation

    def __init__(self, settings: ModelSettings):
        self.settings = settings

    @property
    def undersample(self) -> float:
        """How many times the rarest class's photos another class may have in an epoch; 0: as many as there are."""
        return 0.0

    @property
    @abstractmethod
    def num_logits(self) -> int:
        """How many logits its network has."""

    @property
    def learned(self) -> int:
        """How many numbers of the loss its network learns beside; they follow the logits."""
        return 0

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many classes its macro-F1 is over."""

    def targets(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """labels (N, label columns) -> targets (N,), or (N, heads); the other methods take either as theirs is."""
        return labels[:, 0]

    @abstractmethod
    def weights(self, targets: Tensor, shown: Tensor) -> Tensor:
        """targets (N,) of the training photos, shown (M,) of those in an epoch -> how much each counts (N,), mean 1."""

    @abstractmethod
    def initial_bias(self, shown: Tensor) -> Tensor:
        """shown (M,), the targets in an epoch -> logits (num_logits,) that predict their marginal distribution.

        A head that begins there need not spend its first epochs on learning how common each label is.
        """

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """logits (N, num_logits + learned), targets (N,), weights (N,) -> scalar."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """logits (N, num_logits + learned) -> float32 (N, len(columns)), the prediction columns."""

    @abstractmethod
    def evidence(self, logits: Tensor) -> dict[str, Tensor]:
        """logits (N, num_logits + learned) -> by attribute, how strongly they speak for what is predicted, (N,).

        Differentiable, so that it can be asked what in a photo it rests on.
        """

    @abstractmethod
    def predicted_class(self, predictions: NDArray[np.float32]) -> NDArray[np.int64]:
        """predictions (N, len(columns)) -> the class (N,) each prediction amounts to."""

    @abstractmethod
    def true_class(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """targets (N,) -> the true class (N,)."""

    def metrics(self, predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> dict[str, float]:
        """predictions (N, len(columns)), targets (N,) -> the metrics beside loss, accuracy and macro-F1."""
        return {}
