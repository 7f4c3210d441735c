"""What `make tune` measured on this machine: how a network trains fastest here, in the user's cache.

It holds for this processor, this torch, this timm and these layers of ours alone; with others it is as if nothing had
been measured.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import tempfile
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.runtime import store
from pipeline.runtime.instructions import instructions
from pipeline.runtime.plan_table import LAYERS, LAYERS_VERSION, Way

FOLDER = "FACE18_CACHE"
"""The environment's name for the folder of what is remembered, where that is not ~/.cache/face18."""
Size = tuple[int, int]
"""Of photos: height, width."""


def cache() -> Path:
    """The file, which need not be there. Raises RuntimeError where the user has no home folder."""
    return Path(os.environ.get(FOLDER) or "~/.cache/face18").expanduser() / "tuned.json"


def found(backbone: str, size: Size) -> tuple[Way, str] | None:
    """How a network trains fastest here, and the day that was measured; None where nothing was.

    Raises UserError for a file that is damaged.
    """
    try:
        known = _read()
    except (OSError, RuntimeError):  # no home folder, or another user's: trainings need none
        return None
    one = known.get(_place(), {}).get(_network(backbone, size), {})
    if set(one) != {"precision", "channels_last", "layers", "threads", "day"} or not set(one["layers"]) <= set(LAYERS):
        return None  # by another version
    return Way(one["precision"], one["channels_last"], tuple(one["layers"])), one["day"]


def check() -> Path:
    """The file, which can be written. Raises UserError where it cannot, or is damaged."""
    try:
        file = cache()
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            _read()
    except (OSError, RuntimeError) as problem:
        told = getattr(problem, "strerror", None) or problem
        raise UserError(
            f"what is measured cannot be kept ({told}); name a folder that can be written by {FOLDER}=folder in the "
            f"environment."
        ) from None
    return file


def keep(backbone: str, size: Size, way: Way, threads: int, day: str) -> None:
    """Write down how a network trains fastest here, by so many threads, beside what is known of others."""
    file = cache()
    with store.locked(file.with_suffix(".lock"), "writing down what was measured", wait=True):
        known = _read()
        known.setdefault(_place(), {})[_network(backbone, size)] = {
            "precision": way.precision,
            "channels_last": way.channels_last,
            "layers": list(way.layers),
            "threads": threads,
            "day": day,
        }
        store.write_json(file, known)


def _read() -> dict[str, Any]:
    return store.read_json(cache()) if cache().is_file() else {}


def _network(backbone: str, size: Size) -> str:
    return f"{backbone} {size[0]}x{size[1]}"


def _place() -> str:
    """This processor, and what trains on it, in words."""
    torch, timm = map(importlib.metadata.version, ("torch", "timm"))
    return f"{processor()}, {instructions()}, torch {torch}, timm {timm}, layers {LAYERS_VERSION}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name and make, as far as they are told."""
    try:
        told = cpuinfo.read_text()
    except OSError:  # another system
        return platform.processor() or platform.machine()
    found = [re.search(rf"^{name}\s*: (.*)", told, re.MULTILINE) for name in ("model name", "cpu family", "model")]
    return " ".join(one[1] for one in found if one) or platform.machine()
