"""What each network is and how it is trained, by preset. What a preset leaves out has its own default."""

from __future__ import annotations

from functools import partial

from models.declared import declared
from pipeline.run.settings import NETWORKS, TASKS
from pipeline.run.train_settings import TrainingSettings

_scratch = partial(TrainingSettings, height=128, width=96, batch_size=16, optimizer="muon", weight_decay=0.05)
_lite = partial(
    TrainingSettings, backbone="tf_efficientnet_lite0", backbone_options={}, height=128, width=96, lr=1e-3,
    weight_decay=0.05, layer_decay=0.8,
)  # fmt: skip
_base = partial(TrainingSettings, height=256, width=192, layer_decay=0.75)
_large = partial(TrainingSettings, height=384, width=288, layer_decay=0.8)

# The age specialist's, and for want of reasons to differ the rivals'.
_lite_age = partial(_lite, height=160, width=120, epochs=4.5, drop_path=0.2)
_CONVNEXT_ATTO = _scratch(
    backbone="convnext_atto",
    backbone_options={"norm_layer": "batchnorm2d", "ls_init_value": None, "conv_stem": True, "fan_in_init": True},
    epochs=5,
    lr=6e-3,
)
_CONVNEXT_TINY = _base(
    backbone="convnext_tiny", backbone_options={}, epochs=15, lr=4e-4, weight_decay=0.05, drop_path=0.2
)
_CONVNEXT_BASE = _large(
    backbone="convnext_base", backbone_options={}, epochs=15, lr=2e-4, weight_decay=0.05, drop_path=0.3
)

PRESETS: dict[str, dict[str, TrainingSettings]] = {
    # The age takes longest to learn, and needs the most pixels.
    "lite": {
        "mask": _lite(epochs=3),
        "gender": _lite(epochs=3),
        "age": _lite_age(rare_ages=0.5),  # the score asks as much of a rare band as of a common one
        "joint": _lite_age(),
        "multihead": _lite_age(rare_ages=0.5),
    },
    # From scratch in minutes, what counts is how soon a network learns: Muon (Jordan et al. 2024) in small batches,
    # a stem of small convolutions (Swin, ConvNeXt), batch normalisation, no layer scale and weights drawn to
    # fan-in (ConvNeXt).
    "small": {
        # Where a mask sits shows at this size too; pretrained, two epochs beat six from scratch.
        "mask": _lite(height=96, width=72, epochs=2),
        "gender": _scratch(
            backbone="swin_tiny_patch4_window7_224",
            backbone_options={
                "embed_dim": 48,
                "depths": [1, 2, 3, 1],
                "num_heads": [2, 4, 8, 16],
                "window_size": 4,
                "conv_stem": True,
            },
            epochs=3,
            lr=2e-3,
            drop_path=0.1,
        ),
        "age": _CONVNEXT_ATTO,
        "joint": _CONVNEXT_ATTO,
        "multihead": _CONVNEXT_ATTO,
    },
    "base": {
        "mask": _base(
            backbone="efficientnet_b0", backbone_options={}, epochs=8, lr=1e-3, weight_decay=0.02, drop_path=0.1
        ),
        "gender": _base(
            backbone="swin_tiny_patch4_window7_224",
            backbone_options={},
            epochs=10,
            lr=3e-4,
            weight_decay=0.05,
            drop_path=0.2,
        ),
        "age": _CONVNEXT_TINY,
        "joint": _CONVNEXT_TINY,
        "multihead": _CONVNEXT_TINY,
    },
    "large": {
        "mask": _large(
            backbone="efficientnet_b4", backbone_options={}, epochs=8, lr=1e-3, weight_decay=0.02, drop_path=0.2
        ),
        "gender": _large(
            backbone="swin_base_patch4_window12_384",
            backbone_options={},
            epochs=10,
            lr=2e-4,
            weight_decay=0.05,
            drop_path=0.3,
        ),
        "age": _CONVNEXT_BASE,
        "joint": _CONVNEXT_BASE,
        "multihead": _CONVNEXT_BASE,
    },
}
_FROM_SCRATCH = {
    "small": {"mask": _scratch(backbone="efficientnet_b0", backbone_options={}, height=96, width=72, epochs=6, lr=6e-3)}
}
"""In place of a preset's own where networks start at random though the preset has pretrained weights."""
WEIGHTS = {"lite": "hub", "small": "none", "base": "hub", "large": "hub"}
"""Where the networks of a preset start whose weights no package has, with --weights auto."""


def settings_of(preset: str, task: str, weights: str = "auto") -> TrainingSettings:
    """What a preset trains a task's network with where it starts as --weights says.

    From scratch, the first layers have as much to learn as the last.
    """
    made = PRESETS[preset][task]
    if weights != "none":
        return made
    return _FROM_SCRATCH.get(preset, {}).get(task) or made | {"layer_decay": 1.0}


def columns_of(task: str) -> tuple[str, ...]:
    """The label columns that a network learns from: a specialist its own, a rival all three."""
    return (task,) if task in TASKS else TASKS


def tasks_with(setting: str) -> tuple[str, ...]:
    """The networks that know a setting."""
    one = declared(TrainingSettings).get(setting)
    return () if one is None else tuple(task for task in NETWORKS if one.known_by(task))
