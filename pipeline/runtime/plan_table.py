"""How processors train a backbone fastest, by their instructions; benchmarks/README.md justifies the rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

LAYERS = ("convnext", "depthwise", "relu6", "silu", "squeeze-excite", "swin")
"""The names of the layers of models/cpu/faster.py."""
LAYERS_VERSION = 2
"""Another where a layer stands for others than before, or is faster: what was tuned with it counts no more."""


@dataclass(frozen=True)
class Way:
    """How a processor trains a network."""

    precision: str
    """float32 or bfloat16 (autocast)."""
    channels_last: bool
    layers: tuple[str, ...] = ()
    """Those of LAYERS that stand for the network's own."""
    measured: bool = field(default=True, compare=False)
    """Whether it was found the fastest on such a processor, or is taken over from what is like it."""


_CONVOLUTIONS = Way("float32", True, measured=False)
_EFFICIENTNET = Way("bfloat16", True, ("depthwise", "squeeze-excite"))
_EFFICIENTNET_FLOAT32 = Way("float32", True, ("depthwise", "relu6", "silu", "squeeze-excite"))
_MOBILE = dict.fromkeys(
    (
        *("mobilenet", "mnasnet", "spnasnet", "hardcorenas", "tinynet", "lcnet", "fbnet", "mixnet", "ghostnet"),
        *("rexnet", "repvit", "mobilevit", "mobileone", "fastvit", "efficientvit"),
    ),
    replace(_EFFICIENTNET, measured=False),
)
"""Others of depthwise layers with strides, which are slow in bfloat16 but for our layer."""
_MOBILE_FLOAT32 = dict.fromkeys(_MOBILE, replace(_EFFICIENTNET_FLOAT32, measured=False))
_LITE = Way("bfloat16", True, ("depthwise",))
_CONVNEXT = Way("bfloat16", True, ("convnext", "depthwise"))
_SMALLEST = Way("float32", True, ("depthwise",))
WAYS: dict[str, dict[str, Way]] = {
    "amx": {
        "efficientnet_lite": replace(_LITE, measured=False),
        "efficientnet": replace(_EFFICIENTNET, measured=False),
        **_MOBILE,
        "xception": _CONVOLUTIONS,
        "resnet": _CONVOLUTIONS,
        "convnext_atto": replace(_SMALLEST, measured=False),
        "convnext_femto": replace(_SMALLEST, measured=False),
        "convnext": replace(_CONVNEXT, measured=False),
        "": Way("bfloat16", True, measured=False),
    },
    "avx512_bf16": {
        "efficientnet_lite": _LITE,
        "efficientnet": _EFFICIENTNET,
        **_MOBILE,
        "xception": _CONVOLUTIONS,
        "resnet": _CONVOLUTIONS,
        "convnext_atto": _SMALLEST,
        "convnext_femto": replace(_SMALLEST, measured=False),
        "convnext": _CONVNEXT,
        "swin": Way("bfloat16", False),
        "": Way("bfloat16", False, measured=False),
    },
    "avx2": {
        "efficientnet_lite": Way("float32", True, ("depthwise", "relu6")),
        "efficientnet": _EFFICIENTNET_FLOAT32,
        **_MOBILE_FLOAT32,
        "xception": _CONVOLUTIONS,
        "resnet": _CONVOLUTIONS,
        "convnext": Way("float32", True, ("convnext", "depthwise")),
        "swin": Way("float32", False, ("swin",)),
        "": Way("float32", False, ("swin",), measured=False),
    },
}
"""By instructions and by the first piece of a backbone's name that fits. Never compiled: on a CPU that gains a tenth at
best and takes minutes."""
NEAREST = {"avx512": "avx2", "arm": "avx2", "other": "avx2"}
"""Instructions with which nothing was measured, and those whose rows they take: none of them has bfloat16."""


def way(instructions: str, backbone: str) -> Way:
    """How a processor with such instructions, one of `instructions.KINDS`, trains a backbone."""
    rows = WAYS[NEAREST.get(instructions, instructions)]
    found = next(one for family, one in rows.items() if family in backbone)
    return replace(found, measured=False) if instructions in NEAREST else found
