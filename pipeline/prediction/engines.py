"""What runs a network over photos: torch in float32, the reference, and faster engines.

An engine takes photos (N, H, W, 3) uint8 and gives the network's logits (N, num_logits + learned) float32. It works in
batches of one size, the last one padded, because a network's last bits depend on the size of its batch.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbone import Network
from pipeline.prediction.engine import Engine
from pipeline.runtime.machine import Plan

BATCH_SIZE = 64
OPENVINO_BATCH_SIZE = 16
"""Photos of a batch of OpenVINO's; each of its streams works on one of them."""
Size = tuple[int, int]
Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Photos (N, H, W, 3) uint8 -> logits (N, num_logits + learned) float32."""


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
        batch = _padded(photos[rows[start : start + BATCH_SIZE]], BATCH_SIZE)
        pixels = torch.from_numpy(batch).to(device, non_blocking=True).permute(0, 3, 1, 2)
        if not plan.channels_last:
            pixels = pixels.contiguous()
        with plan.autocast():
            logits.append(network(pixels).float())
    return torch.cat(logits)[: len(rows)].cpu()


def _openvino(network: Network, size: Size, threads: int, precision: str) -> Forward:
    openvino, core = _openvinos_core()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", FutureWarning)  # there is no other way of this speed
        # Traced with one photo: OpenVINO's own way runs the network with a whole batch, and that several times.
        traced = torch.jit.trace(
            _Stored(network.eval()), torch.zeros(1, *size, 3, dtype=torch.uint8), check_trace=False
        )
    model = core.read_model(*_plain(openvino, traced, [OPENVINO_BATCH_SIZE, *size, 3]))
    # A stream of one thread each: no thread waits for another, and the bytes do not depend on their number.
    # Left to itself OpenVINO chooses the precision by the machine, and its threads without regard to a quota.
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(model, "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(threads)]

    def run(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        pieces = range(0, len(photos), OPENVINO_BATCH_SIZE)
        found = []
        for number in range(len(pieces) + threads):  # a request is read when its turn comes again
            request = requests[number % threads]
            if 0 <= number - threads < len(pieces):
                request.wait()
                found.append(request.get_output_tensor().data.copy())
            if number < len(pieces):
                start = pieces[number]
                request.start_async([_padded(photos[start : start + OPENVINO_BATCH_SIZE], OPENVINO_BATCH_SIZE)])
        return np.concatenate(found)[: len(photos)]

    return run


@functools.cache
def _openvinos_core() -> tuple[ModuleType, Any]:
    """OpenVINO and its core, one for the whole process.

    Its processor plugin gives the thread a stack of its own for signals, and frees it with the last core: the next
    signal would end the process by a segmentation fault (OpenVINO 2026.4, processors with AMX).
    """
    # Its telemetry would post to the internet and write into the home folder.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino, openvino.Core()


def _plain(openvino: ModuleType, traced: torch.jit.ScriptModule, shape: list[int]) -> tuple[bytes, bytes]:
    """A traced network as OpenVINO's XML and weights, with nothing in it that belongs to torch.

    A model converted in memory goes on using torch's weights and Python's objects, after both may be gone.
    """
    model = openvino.convert_model(traced, input=[openvino.PartialShape(shape)])
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


def _padded(photos: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Photos (N, H, W, 3), and black ones up to the count."""
    if len(photos) == count:
        return np.ascontiguousarray(photos)
    padded = np.zeros((count, *photos.shape[1:]), np.uint8)
    padded[: len(photos)] = photos
    return padded
