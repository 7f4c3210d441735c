"""A trained network of a fold, loaded to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.task import Task
from models.tasks import build_task
from pipeline.images.framing import View
from pipeline.prediction import converted, engines
from pipeline.prediction.engine import BATCH_SIZE, REFERENCE, Engine
from pipeline.prediction.engines import Forward
from pipeline.prediction.trained import trained_network
from pipeline.run.fold_records import BegunFold, FinishedFold
from pipeline.runtime.machine import Plan

CHUNK = 8 * BATCH_SIZE
"""Photos out of a memory map at a time: whole batches, so that the predictions are those about all at once."""


@dataclass(frozen=True)
class EnsembleMember:
    """One network of one fold, ready to predict."""

    task: Task
    fold: int
    folder: Path
    view: View
    forward: Forward
    flip: bool = False
    """Whether it predicts the mean over a photo and its mirror image."""

    @property
    def columns(self) -> tuple[str, ...]:
        return self.task.columns

    def predict(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """photos (N, H, W, 3) -> prediction columns (N, len(task.columns))."""
        predictions = self.task.predict(torch.from_numpy(self.forward(photos))).numpy()
        if self.flip:
            mirrored = np.ascontiguousarray(photos[:, :, ::-1])
            predictions = (predictions + self.task.predict(torch.from_numpy(self.forward(mirrored))).numpy()) / 2
        return predictions


def load(fold: BegunFold, device: str, threads: int, engine: Engine = REFERENCE) -> EnsembleMember:
    """The network that was trained for a fold.

    Raises UserError when its files are damaged, and what torch or OpenVINO raise where an engine other than torch
    cannot run it.
    """
    settings, view, device = fold.settings, View.of(fold.settings), engine.device(device)
    if engine.name == "openvino" and isinstance(fold, FinishedFold):
        kept = converted.logits_by(fold, threads, "bf16" if engine.precision == "bfloat16" else "f32")
        if kept is not None:
            return EnsembleMember(build_task(fold.task, settings), fold.number, fold.folder, view, kept, engine.flip)
    one, network = trained_network(fold)
    # As the reference: float32, whatever the training's precision was.
    plan = Plan(device, "float32", fold.plan.channels_last, threads, 0)
    if plan.channels_last:
        network = network.to(memory_format=torch.channels_last)
    forward = engines.build(engine, network.to(device), view.size, plan)
    return EnsembleMember(one, fold.number, fold.folder, view, forward, engine.flip)


def predicted(task: Task, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Prediction columns of logits (N, num_logits + learned), to the bit those that `predict_rows` makes of them."""
    pieces = (logits[start : start + CHUNK] for start in range(0, len(logits), CHUNK))
    return np.concatenate([task.predict(torch.from_numpy(some)).numpy() for some in pieces])


def predict_rows(
    member: EnsembleMember,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    advance: Callable[[int], None] = lambda photos: None,
) -> NDArray[np.float32]:
    """A member's predictions about rows (N,) of prepared photos, of which but a chunk is in memory at a time.

    advance: told how many photos were predicted.
    """
    predictions = []
    for start in range(0, len(rows), CHUNK):
        predictions.append(member.predict(pixels[rows[start : start + CHUNK]]))
        advance(len(predictions[-1]))
    return np.concatenate(predictions)
