"""OpenVINO's models at work, without torch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPENVINO_BATCH_SIZE = 16
"""Photos of a batch of OpenVINO's; each of its streams works on one of them."""
Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Photos (N, H, W, 3) uint8 -> what a network makes of them, (N, k) float32: logits or predictions."""


def forward_of(core: Any, model: Any, threads: int, precision: str, output: int = 0) -> Forward:
    """A model (of a core, or the path of one) that takes batches of OPENVINO_BATCH_SIZE, as a function of any number.

    precision: f32 or bf16; output: which of the model's.
    """
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
                found.append(request.get_output_tensor(output).data.copy())
            if number < len(pieces):
                start = pieces[number]
                request.start_async([padded(photos[start : start + OPENVINO_BATCH_SIZE], OPENVINO_BATCH_SIZE)])
        return np.concatenate(found)[: len(photos)]

    return run


@functools.cache
def openvinos_core() -> tuple[ModuleType, Any]:
    """OpenVINO and its core, one for the whole process.

    Its processor plugin gives the thread a stack of its own for signals, and frees it with the last core: the next
    signal would end the process by a segmentation fault (OpenVINO 2026.4, processors with AMX).
    """
    # Its telemetry would post to the internet and write into the home folder.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino, openvino.Core()


def padded(photos: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Photos (N, H, W, 3), and black ones up to the count."""
    if len(photos) == count:
        return np.ascontiguousarray(photos)
    whole = np.zeros((count, *photos.shape[1:]), np.uint8)
    whole[: len(photos)] = photos
    return whole
