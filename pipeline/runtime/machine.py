"""The plan for the machine at hand: precision, memory format, threads and loader workers.

The plan is a static table, recorded with the run and kept when it resumes, so that the same command gives the
same bytes on the same machine. It never touches the training batch.
"""

from __future__ import annotations

import ctypes
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


ON_CPUS = (
    ("efficientnet", "float32", True),
    ("xception", "float32", True),
    ("resnet", "float32", True),
    ("convnext_atto", "float32", True),
    ("convnext_femto", "float32", True),
    ("convnext", "bfloat16", True),
    ("", "bfloat16", False),
)
"""How CPUs train a backbone fastest, by the first piece of its name that fits: precision where they have both, and
whether channels last. Never compiled: on a CPU that gains a tenth at best and takes minutes (benchmarks/README.md)."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


PRECISIONS = ("float32", "bfloat16")
NARROWEST = 64
"""Pixels. A strided 2x2 convolution in bfloat16 whose result is one column wide, as in a ConvNeXt's last stage under
this, gives garbage on CPUs that differs from call to call (torch 2.15 with oneDNN 3.13, AMX)."""


@dataclass(frozen=True)
class Plan:
    device: str
    """cpu or cuda (the process's own GPU)."""
    precision: str
    """One of PRECISIONS; bfloat16 is autocast."""
    channels_last: bool
    threads: int
    workers: int
    """Loader processes beside the training process."""
    muon_precision: str = "bfloat16"
    """One of PRECISIONS, of Muon's matrix products; timm's own where nothing is chosen."""
    processes: int = 1
    """Training processes, on all machines; threads and workers are those of each."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


def plan(backbone: str, size: tuple[int, int] = (128, 96), share: int = 1, **given: Any) -> Plan:
    """The plan for a backbone and photos (height, width); `given` are fields of it that the user set, or None.

    share: how many processes share the cores.
    """
    return replace(_usual(backbone, size, share), **{name: value for name, value in given.items() if value is not None})


def _usual(backbone: str, size: tuple[int, int], share: int) -> Plan:
    import joblib
    import torch

    threads = max(1, joblib.cpu_count() // share)
    if torch.cuda.is_available():
        return Plan("cuda", "bfloat16", True, threads, min(8, max(1, threads - 1)))
    precision, channels_last = next(row[1:] for row in ON_CPUS if row[0] in backbone)
    fastest = "bfloat16" if has_bfloat16() else "float32"
    if size[1] < NARROWEST or fastest == "float32":
        precision = "float32"
    # On a CPU the network uses every core itself; a loader process would only take one from it.
    return Plan("cpu", precision, channels_last, threads, 0, muon_precision=fastest)


def settle(plan: Plan) -> None:
    """Make this process ready for the plan: its threads, and memory that is kept between steps."""
    import torch

    torch.set_num_threads(plan.threads)
    if plan.device == "cpu" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # glibc would hand large blocks back after every layer and have the kernel clear them anew.
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; others take a hundred times as long in it."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # another system: float32 is right everywhere
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def versions() -> dict[str, str]:
    """What the run was made with, for its settings file."""
    import platform

    import timm
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
