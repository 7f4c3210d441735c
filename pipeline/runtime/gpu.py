"""Whether there is a GPU, without torch, whose import takes seconds."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

DEVICES = {"nvidia[0-9]*": ("cuda",), "kfd": ("hip",), "dxg": ("cuda", "hip")}
"""Under /dev Nvidia's GPUs, AMD's and those of a Windows host, and the builds of torch that can use them.

A kfd lies on any machine whose processor has AMD graphics, and the usual torch can do nothing with it.
"""


def has_gpu(devices: Path = Path("/dev"), builds: frozenset[str] | None = None) -> bool:
    """Whether torch may find a GPU here: a device that it is built for, and the user does not hide Nvidia's.

    builds: of the torch that is installed, unless given.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    found = {build for name, usable in DEVICES.items() if any(devices.glob(name)) for build in usable}
    return bool(found) and not found.isdisjoint(builds if builds is not None else torch_builds())


def torch_builds() -> frozenset[str]:
    """cuda or hip, or none of them, as the torch that is installed says; both where it does not say."""
    found = importlib.util.find_spec("torch")
    places = found.submodule_search_locations if found is not None else None
    try:
        told = Path((places or [""])[0], "version.py").read_text(encoding="utf-8")
    except OSError:
        return frozenset({"cuda", "hip"})
    return frozenset(re.findall(r"^(cuda|hip)\b[^=\n]*= *['\"]", told, re.MULTILINE))
