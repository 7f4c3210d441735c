"""How processors train a backbone fastest, by their instructions; benchmarks/README.md justifies the rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """How a processor trains a network."""

    precision: str
    """float32 or bfloat16 (autocast)."""
    channels_last: bool
    layers: tuple[str, ...] = ()
    """The layers of models/cpu/faster.py, by name, that stand for the network's own."""


_CONVOLUTIONS = Way("float32", True)
_WITH_BATCH_NORMALISATION = {
    "efficientnet": Way("float32", True, ("depthwise", "relu6", "silu", "squeeze-excite")),
    "xception": _CONVOLUTIONS,
    "resnet": _CONVOLUTIONS,
}
_SMALLEST = dict.fromkeys(("convnext_atto", "convnext_femto"), Way("float32", True, ("depthwise",)))
WAYS: dict[str, dict[str, Way]] = {
    "amx": {
        **_WITH_BATCH_NORMALISATION,
        **_SMALLEST,
        "convnext": Way("bfloat16", True, ("convnext", "depthwise")),
        "": Way("bfloat16", True),
    },
    "avx512_bf16": {
        **_WITH_BATCH_NORMALISATION,
        **_SMALLEST,
        "convnext": Way("bfloat16", True, ("convnext", "depthwise")),
        "": Way("bfloat16", False),
    },
    "avx2": {
        **_WITH_BATCH_NORMALISATION,
        "convnext": Way("float32", True, ("convnext",)),
        "": Way("float32", False, ("swin",)),
    },
}
"""By instructions and by the first piece of a backbone's name that fits. Never compiled: on a CPU that gains a tenth at
best and takes minutes."""
NEAREST = {"avx512": "avx2", "arm": "avx2", "other": "avx2"}
"""Instructions with which nothing was measured, and those whose rows they take: none of them has bfloat16."""


def way(instructions: str, backbone: str) -> Way:
    """How a processor with such instructions, one of `instructions.KINDS`, trains a backbone."""
    rows = WAYS[NEAREST.get(instructions, instructions)]
    return next(found for family, found in rows.items() if family in backbone)
