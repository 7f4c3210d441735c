"""What a network learns from, and the photos of each step, augmented by loader processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.errors import UserError
from models.task import Task
from pipeline.images.augment import Augmenter
from pipeline.images.mapped import MappedPixels, by_path
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime.machine import Plan
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


class _TrainingPhotos(Dataset):
    """Photos by (epoch, row), augmented."""

    def __init__(self, pixels: NDArray[np.uint8], augmenter: Augmenter):
        self.pixels, self.augmenter = pixels, augmenter

    def __getstate__(self) -> tuple[NDArray[np.uint8] | MappedPixels, Augmenter]:
        """As a loader process gets them that is not forked, Python 3.14's usual kind."""
        return by_path(self.pixels), self.augmenter

    def __setstate__(self, state: tuple[NDArray[np.uint8] | MappedPixels, Augmenter]) -> None:
        pixels, self.augmenter = state
        self.pixels = pixels.open() if isinstance(pixels, MappedPixels) else pixels

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, row = key
        return torch.from_numpy(self.augmenter(self.pixels[row], epoch, row)), row


class Loader:
    """Batches of photos (B, H, W, 3) and their rows (B,), for lists of (epoch, row)."""

    def __init__(
        self, pixels: NDArray[np.uint8], augmenter: Augmenter, keys: Iterable[list[tuple[int, int]]], plan: Plan
    ):
        self._loader = DataLoader(
            _TrainingPhotos(pixels, augmenter),
            batch_sampler=list(keys),
            num_workers=plan.workers,
            pin_memory=plan.device == "cuda",
            worker_init_fn=_outlive_signals,
        )
        self._processes: list[multiprocessing.Process] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        steps = iter(self._loader)
        self._processes = getattr(steps, "_workers", [])
        return steps

    def has_lost_a_process(self) -> bool:
        """Whether a loader process ended in the midst of its work, which torch tells by errors of several types.

        They live until all is read, and one that is interrupted ends with status 0.
        """
        for process in self._processes:
            with suppress(RuntimeError):  # torch's, raised by a signal as the process ends
                process.join(0.2)  # one that dies closes its pipe first
        return any(process.exitcode is not None for process in self._processes)


def _outlive_signals(_: int) -> None:
    """In a loader process: a signal to all processes, as `timeout` or Ctrl-C sends, is the training's to answer."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def check_batch_size(name: str, batch_size: int, processes: int) -> None:
    """Raises UserError where processes cannot share a batch evenly."""
    if batch_size % processes:
        raise UserError(
            f"{name}: {batch_size} photos a step cannot be shared evenly by {processes} processes; give another "
            f"--batch-size."
        )
