"""What runs the networks of a prediction: which engines there are, and which is usual where."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from models.errors import UserError
from pipeline.runtime.machine import has_bfloat16

BATCH_SIZE = 64
"""Photos that are predicted together, and of a batch of torch's."""


@dataclass(frozen=True)
class Engine:
    """What runs the networks of a prediction; its text, like "openvino-bfloat16 flip", stands in tables and messages.

    name: torch, compiled (torch.compile, in bfloat16) or openvino (on processors); precision: one of PRECISIONS; flip:
    whether it predicts the mean over each photo and its mirror image.
    """

    name: str = "torch"
    precision: str = "float32"
    flip: bool = False

    def __str__(self) -> str:
        word = "openvino-bfloat16" if (self.name, self.precision) == ("openvino", "bfloat16") else self.name
        return f"{word} flip" if self.flip else word

    @classmethod
    def of(cls, text: str) -> Engine:
        """The engine of a text that `str` made. Raises UserError for any other."""
        word, _, flip = text.partition(" ")
        name, _, precision = word.partition("-")
        found = cls(name, precision or {"compiled": "bfloat16"}.get(name, "float32"), flip == "flip")
        if str(found) != text or name not in ("torch", "compiled", "openvino"):
            raise UserError(f"there is no engine {text!r}; run predict again.")
        return found

    def device(self, device: str) -> str:
        """Where it works on a machine whose device this is: OpenVINO on processors alone."""
        return "cpu" if self.name == "openvino" else device


REFERENCE = Engine()
"""torch in float32: what every other engine must agree with."""
LADDERS = {
    word: tuple(map(Engine.of, (word, *below)))
    for word, below in {
        "torch": (),
        "compiled": ("torch",),
        "openvino": ("torch",),
        "openvino-bfloat16": ("openvino", "torch"),
    }.items()
}
"""The engines that can be asked for, and what is tried in the place of each, always ending with the reference."""
WORTH, LONG = 2_000, 6_000
"""Predictions from which on OpenVINO in float32, and any other engine, is worth its start and its check against the
reference. (1,141 photos by the three networks of lite took torch 39 s on two cores, OpenVINO 24 s with its start.)"""


def usual_engine(device: str, predictions: int) -> str:
    """The engine for so many predictions (photos x networks) on a device, cpu or cuda."""
    if device == "cuda":
        return "compiled" if predictions >= LONG and has_compiler() else "torch"
    if predictions < WORTH:
        return "torch"
    return "openvino-bfloat16" if predictions >= LONG and has_bfloat16() else "openvino"


def has_compiler() -> bool:
    """Whether torch.compile finds the C++ compiler it needs, for a processor's code and a GPU's launchers."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
