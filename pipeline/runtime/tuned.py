"""What `make tune` measured on this machine: how a network trains fastest here, in the user's cache.

It holds for this processor and this torch alone; with another of either it is as if nothing had been measured.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime import store
from pipeline.runtime.instructions import instructions
from pipeline.runtime.plan_table import Way

FOLDER = "FACE18_CACHE"
"""The environment's name for the folder of what is remembered, where that is not ~/.cache/face18."""
Size = tuple[int, int]
"""Of photos: height, width."""


def cache() -> Path:
    """The file, which need not be there."""
    return Path(os.environ.get(FOLDER) or "~/.cache/face18").expanduser() / "tuned.json"


def found(backbone: str, size: Size) -> tuple[Way, str] | None:
    """How a network trains fastest here, and the day that was measured; None where nothing was.

    Raises UserError for a file that is damaged.
    """
    one = _read().get(_place(), {}).get(_network(backbone, size))
    if one is None:
        return None
    return Way(one["precision"], one["channels_last"], tuple(one["layers"])), one["day"]


def keep(ways: Mapping[tuple[str, Size], Way], day: str) -> Path:
    """Write down how networks train fastest here, beside what is known of others; returns the file."""
    file = cache()
    with store.locked(file.with_suffix(".lock"), "writing down what was measured", wait=True):
        known = _read()
        here = known.setdefault(_place(), {})
        for (backbone, size), one in ways.items():
            here[_network(backbone, size)] = {
                "precision": one.precision,
                "channels_last": one.channels_last,
                "layers": list(one.layers),
                "day": day,
            }
        store.write_json(file, known)
    return file


def _read() -> dict[str, Any]:
    return store.read_json(cache()) if cache().is_file() else {}


def _network(backbone: str, size: Size) -> str:
    return f"{backbone} {size[0]}x{size[1]}"


def _place() -> str:
    """This processor and this torch, in words."""
    return f"{processor()}, {instructions()}, torch {importlib.metadata.version('torch')}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name and make, as far as they are told."""
    try:
        told = cpuinfo.read_text()
    except OSError:  # another system
        return platform.processor() or platform.machine()
    found = [re.search(rf"^{name}\s*: (.*)", told, re.MULTILINE) for name in ("model name", "cpu family", "model")]
    return " ".join(one[1] for one in found if one) or platform.machine()
