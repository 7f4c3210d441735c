"""The one contract between a network and the pipeline: labels in, targets, loss, answers.

A specialist knows which label column it needs, how its outputs become a loss and named answer columns, and how
strongly its photos may be altered. It knows nothing of files, folds or optimizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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


class Specialist(ABC):
    """One attribute's question to its network. `settings` are the task's resolved settings (presets.py)."""

    task: str
    column: str
    """The label column of the photo table it learns from."""
    answers: tuple[str, ...]
    """The columns of its answer table."""
    augmentation: Augmentation

    def __init__(self, settings: dict[str, Any]):
        self.settings = settings

    @property
    def undersample(self) -> float:
        """How many times the rarest class's photos another class may have in an epoch; 0: as many as there are."""
        return 0.0

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many outputs its network has."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many classes its macro-F1 is over."""

    @abstractmethod
    def weights(self, targets: Tensor) -> Tensor:
        """targets (N,) of the training photos -> how much each counts (N,), mean 1."""

    @abstractmethod
    def first_bias(self, targets: Tensor) -> Tensor:
        """targets (N,) of the training photos -> outputs (outputs,) that answer their marginal distribution.

        A head that begins there need not spend its first epochs on learning how common each answer is.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """outputs (N, outputs), targets (N,), weights (N,) -> scalar."""

    @abstractmethod
    def answer(self, outputs: Tensor) -> Tensor:
        """outputs (N, outputs) -> float32 (N, len(answers)), the answer columns."""

    @abstractmethod
    def classify(self, answers: NDArray[np.float32]) -> NDArray[np.int64]:
        """answers (N, len(answers)) -> the class (N,) each answer amounts to."""

    @abstractmethod
    def classes_of(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """targets (N,) -> the true class (N,)."""


def build(task: str, settings: dict[str, Any]) -> Specialist:
    """The specialist of a task: mask, gender or age."""
    return getattr(import_module(f"models.{task}"), task.capitalize())(settings)
