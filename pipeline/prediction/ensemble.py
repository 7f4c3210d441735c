"""A trained network of a fold, loaded to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from models import backbone
from models.backbone import Network
from models.errors import UserError
from models.task import Task
from models.tasks import build_task
from models.weight_files import weights_fault
from pipeline.images.framing import View
from pipeline.prediction import engines
from pipeline.prediction.engine import BATCH_SIZE, REFERENCE, Engine
from pipeline.prediction.engines import Forward
from pipeline.run.fold_records import WEIGHTS, BegunFold
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
    settings = fold.settings
    one, network = trained_network(fold)
    device = engine.device(device)
    # As the reference: float32, whatever the training's precision was.
    plan = Plan(device, "float32", fold.plan.channels_last, threads, 0)
    if plan.channels_last:
        network = network.to(memory_format=torch.channels_last)
    view = View.of(settings)
    forward = engines.build(engine, network.to(device), view.size, plan)
    return EnsembleMember(one, fold.number, fold.folder, view, forward, engine.flip)


def trained_network(fold: BegunFold) -> tuple[Task, Network]:
    """A fold's task and network, with the weights that it was trained to. Raises UserError as `load` does."""
    one = build_task(fold.task, fold.settings)
    network = backbone.blank(fold.settings, one.num_logits, one.learned)
    load_weights(network, fold)
    return one, network


def load_weights(network: Network, fold: BegunFold) -> None:
    """Give a network the weights that a fold was trained to. Raises UserError where these are damaged or another's."""
    file = fold.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; train it again with --restart.") from None
    except (SafetensorError, RuntimeError) as damage:
        fault = weights_fault(file)
        if fault is not None:
            raise UserError(f"{file} {fault[0]}; {fault[1]}, or train it again with --restart.") from None
        raise UserError(
            f"{file} is damaged or of another network ({str(damage).splitlines()[0]}); train it again with --restart."
        ) from None


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
