"""The plan for the machine at hand: precision, memory format, layers, threads and loader workers.

The plan follows from a static table, or from what `make tune` measured on this machine. It is recorded with the run and
kept when it resumes, so that the same record gives the same bytes on the same machine. It never touches the training
batch.
"""

from __future__ import annotations

import ctypes
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.runtime import tuned
from pipeline.runtime.instructions import BFLOAT16, instructions
from pipeline.runtime.plan_table import Way, way

if TYPE_CHECKING:
    import torch


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
    layers: tuple[str, ...] = ("convnext", "depthwise", "silu", "squeeze-excite", "swin")
    """The layers of models/cpu/faster.py, by name, that stand for the network's own. Of a record without them all."""
    tuned: str | None = None
    """The day on which make tune measured this way here; None where it is the table's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON has lists

    @property
    def way(self) -> Way:
        return Way(self.precision, self.channels_last, self.layers)

    def by(self, way: Way, tuned: str | None = None) -> Plan:
        """This plan with another way to use the processor; tuned: the day on which make tune found it."""
        return replace(self, precision=way.precision, channels_last=way.channels_last, layers=way.layers, tuned=tuned)

    @property
    def layers_told(self) -> str:
        return ", ".join(self.layers) or "timm's own"

    @property
    def by_tuning(self) -> str:
        """In words, that this way was measured on this machine; nothing where it was not."""
        return f", as make tune measured here on {self.tuned}" if self.tuned else ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"layers": list(self.layers)}

    def autocast(self) -> torch.autocast:
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


def plan(backbone: str, size: tuple[int, int] = (128, 96), share: int = 1, **given: Any) -> Plan:
    """The plan for a backbone and photos (height, width); `given` are fields of it that the user set, or None.

    share: how many processes share the cores. Raises UserError where what was tuned lies in a damaged file.
    """
    made = usual_plan(backbone, size, share)
    measured = tuned.found(backbone, size) if made.device == "cpu" else None
    if measured is not None:
        made = made.by(*measured)
    asked = replace(made, **{name: value for name, value in given.items() if value is not None})
    return asked if asked.way == made.way else replace(asked, tuned=None)


def usual_plan(backbone: str, size: tuple[int, int], share: int = 1, threads: int | None = None) -> Plan:
    """The table's plan, whatever was tuned."""
    import joblib
    import torch

    threads = threads or max(1, joblib.cpu_count() // share)
    if torch.cuda.is_available():
        return Plan("cuda", "bfloat16", True, threads, min(8, max(1, threads - 1)), layers=())
    kind = instructions()
    found = way(kind, backbone)
    precision = "float32" if size[1] < NARROWEST else found.precision
    muon = "bfloat16" if kind in BFLOAT16 else "float32"
    # On a CPU the network uses every core itself; a loader process would only take one from it, unlike a thread that
    # works where it leaves a gap (training/loader.py).
    return Plan("cpu", precision, found.channels_last, threads, 0, muon, layers=found.layers)


def is_measured(backbone: str) -> bool:
    """Whether a backbone's row of the table was measured on processors like this one."""
    return way(instructions(), backbone).measured


def settle(plan: Plan) -> None:
    """Make this process ready for the plan: its threads, and memory that is kept between steps."""
    import torch

    torch.set_num_threads(plan.threads)
    if plan.device == "cpu":
        keep_memory()


def keep_memory() -> None:
    """Have memory that was freed kept for what asks next.

    glibc would hand large blocks back after every layer and have the kernel clear them anew.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; others take a hundred times as long in it."""
    return instructions() in BFLOAT16


def versions() -> dict[str, str]:
    """What the run was made with, for its settings file."""
    import platform

    import timm
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
