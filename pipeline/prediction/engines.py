"""What runs a network over photos: torch in float32, the reference, and faster engines.

An engine takes photos (N, H, W, 3) uint8 and gives the network's logits (N, num_logits + learned) float32. It works in
batches of one size, the last one padded, because a network's last bits depend on the size of its batch.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbone import Network
from models.task import Task
from pipeline.prediction.engine import BATCH_SIZE, Engine
from pipeline.prediction.openvino_models import OPENVINO_BATCH_SIZE, Forward, forward_of, openvinos_core, padded
from pipeline.runtime.machine import Plan

Size = tuple[int, int]


def build(engine: Engine, network: Network, size: Size, plan: Plan) -> Forward:
    """A network's forward pass on an engine, for photos of a size (height, width).

    Raises whatever torch or OpenVINO raise for a network that they cannot convert.
    """
    if engine.name == "openvino":
        return _openvino(network, size, plan.threads, "bf16" if engine.precision == "bfloat16" else "f32")
    if engine.name == "compiled":
        plan = replace(plan, precision=engine.precision)
        network.compile()
    return lambda photos: logits_of(network, photos, np.arange(len(photos)), plan).numpy()


@torch.inference_mode()
def logits_of(network: torch.nn.Module, photos: NDArray[np.uint8], rows: NDArray[np.int64], plan: Plan) -> torch.Tensor:
    """The network's logits (N, num_logits + learned), float32 on the CPU, for rows (N,) of photos (M, H, W, 3)."""
    network.eval()
    device = next(network.parameters()).device
    logits = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = padded(photos[rows[start : start + BATCH_SIZE]], BATCH_SIZE)
        pixels = torch.from_numpy(batch).to(device, non_blocking=True).permute(0, 3, 1, 2)
        if not plan.channels_last:
            pixels = pixels.contiguous()
        with plan.autocast():
            logits.append(network(pixels).float())
    return torch.cat(logits)[: len(rows)].cpu()


def _openvino(network: Network, size: Size, threads: int, precision: str) -> Forward:
    core = openvinos_core()[1]
    return forward_of(core, core.read_model(*openvino_model(_Stored(network.eval()), size)), threads, precision)


def openvino_model(network: torch.nn.Module, size: Size) -> tuple[bytes, bytes]:
    """A network that takes photos (N, H, W, 3) uint8 as OpenVINO's XML and weights, for OPENVINO_BATCH_SIZE at a time.

    With nothing in it that belongs to torch: a model converted in memory goes on using torch's weights and Python's
    objects, after both may be gone. Raises whatever torch or OpenVINO raise for a network that they cannot convert.
    """
    openvino = openvinos_core()[0]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", FutureWarning)  # there is no other way of this speed
        # Traced with one photo: OpenVINO's own way runs the network with a whole batch, and that several times.
        traced = torch.jit.trace(network, torch.zeros(1, *size, 3, dtype=torch.uint8), check_trace=False)
    model = openvino.convert_model(traced, input=[openvino.PartialShape([OPENVINO_BATCH_SIZE, *size, 3])])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class _Stored(torch.nn.Module):
    """A network that takes photos as they are stored, (N, H, W, 3)."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.network(photos.permute(0, 3, 1, 2))


class Predicting(torch.nn.Module):
    """A network with its task: photos as they are stored, (N, H, W, 3) uint8, in, prediction columns out."""

    def __init__(self, task: Task, network: Network):
        super().__init__()
        self.task, self.network = task, _Stored(network)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.task.predict(self.network(photos))


class LogitsAndPredictions(Predicting):
    """A network with its task: photos as Predicting takes them in, logits and prediction columns out."""

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(photos)
        return logits.float(), self.task.predict(logits)
