"""What a network learns from, and the rows that an epoch sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.task import Task
from pipeline.run.train_settings import TrainingSettings
from pipeline.training import sampling


@dataclass(frozen=True)
class TrainingData:
    """What a network learns from: rows of `pixels` (M, H, W, 3) with `targets`, NaN where there is none.

    Targets are (M,), or (M, k) where a network learns k things at once. `check` are un-augmented train rows, for
    the generalization gap.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    check: NDArray[np.int64]


def rows_of_epoch(task: Task, data: TrainingData, settings: TrainingSettings, epoch: int) -> NDArray[np.int64]:
    """The rows that an epoch sees, in no order."""
    classes = task.true_class(data.targets[data.train])
    return sampling.rows_of(data.train, classes, epoch, settings.seed, settings.sampling, task.undersample)


def check_batch_size(name: str, batch_size: int, processes: int) -> None:
    """Raises UserError where processes cannot share a batch evenly."""
    if batch_size % processes:
        raise UserError(
            f"{name}: {batch_size} photos a step cannot be shared evenly by {processes} processes; give another "
            f"--batch-size."
        )
