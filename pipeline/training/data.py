"""What a network learns from, and the rows that an epoch sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import UserError
from models.task import Task
from pipeline.images.drawn_masks import DrawnMasks
from pipeline.images.joined import JoinedPixels
from pipeline.run.train_settings import TrainingSettings
from pipeline.training import sampling


@dataclass(frozen=True)
class TrainingData:
    """What a network learns from: rows of `pixels` (M, H, W, 3) with `targets`, NaN where there is none.

    Targets are (M,), or (M, k) where a network learns k things at once. `check` are un-augmented train rows, for
    the generalization gap. After the rows of `pixels` come those of `extra`, the pixels of extra sets, and then
    `again`: rows of both once more, to be learned with what `drawing` draws on them. Only `train` has any of these.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    check: NDArray[np.int64]
    extra: tuple[NDArray[np.uint8], ...] = ()
    again: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    drawing: DrawnMasks | None = None

    @property
    def every_pixel(self) -> NDArray[np.uint8] | JoinedPixels:
        """The pixels of all rows."""
        plain = not self.extra and not len(self.again)
        return self.pixels if plain else JoinedPixels((self.pixels, *self.extra), self.again)

    @property
    def is_extra(self) -> NDArray[np.bool_]:
        """Which of the `train` rows are extra sets'."""
        once = len(self.targets) - len(self.again)
        return np.concatenate([np.arange(once), self.again])[self.train] >= len(self.pixels)


def rows_of_epoch(task: Task, data: TrainingData, settings: TrainingSettings, epoch: int) -> NDArray[np.int64]:
    """The rows that an epoch sees, in no order."""
    classes = task.true_class(data.targets[data.train])
    return sampling.rows_of(
        data.train, classes, epoch, settings.seed, settings.sampling, task.undersample, data.is_extra
    )


def photo_weights(
    task: Task, data: TrainingData, targets: Tensor, first_epoch: NDArray[np.int64], settings: TrainingSettings
) -> Tensor:
    """How much each train row counts in the loss: as the task has it, and extra photos times their weight, of mean 1
    over an epoch then.

    targets: (M,) or (M, k) of all rows; first_epoch: the rows that an epoch sees.
    """
    weights = task.weights(targets[data.train], targets[first_epoch])
    extra = torch.from_numpy(data.is_extra)
    if extra.any() and settings.extra_weight != 1:
        weights = torch.where(extra, settings.extra_weight * weights, weights)
        of_row = torch.zeros(len(targets))
        of_row[data.train] = weights
        weights = weights / of_row[first_epoch].mean()
    return weights


def check_batch_size(name: str, batch_size: int, processes: int) -> None:
    """Raises UserError where a batch has not a photo for each process."""
    if batch_size < processes:
        raise UserError(
            f"{name}: {batch_size} photos a step cannot be shared by {processes} processes; give fewer processes, or a "
            f"larger --batch-size."
        )
