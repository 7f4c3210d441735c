"""Plain settings: what each specialist is and how it is trained, small, base and large.

A preset is a table of settings by task. Every setting can be given on the command line; one that a task's
table does not hold is not a setting of that task.
"""

from typing import Any

TASKS = ("mask", "gender", "age")
"""The specialists; their names are the label columns that they learn from."""
SYSTEMS = {"specialists": TASKS, "joint": ("joint",), "multihead": ("multihead",)}
"""What predicts, by its networks: the specialists, or one of their single-network rivals."""
NETWORKS = tuple(task for tasks in SYSTEMS.values() for task in tasks)

_COMMON = {
    "seed": 0,
    "batch_size": 32,
    "sampling": "all",
    "optimizer": "adamw",
    "warmup": 0.1,  # share of the steps
    "schedule": "cosine",
    "period": 0.0,  # epochs; 0: by the run's length
    "gamma": 0.1,
    "patience": 0,  # epochs; 0: never stops early
    "dropout": 0.0,
    "drop_path": 0.0,
    "max_grad_norm": 1.0,  # largest norm of the gradient
}
_CLASSES = {"loss": "cross_entropy", "smoothing": 0.05, "focal_gamma": 2.0}
_MASK = _CLASSES | {"class_balance": 0.0, "undersample": 2.0}
_GENDER = _CLASSES
_AGE = {"age_loss": "distribution", "age_spread": 2.0, "rare_ages": 0.0, "age_scale": 20.0}
_MULTIHEAD = _CLASSES | _AGE | {
    "age_head": "years",
    "head_balance": "uncertainty",
    "mask_weight": 1.0, "gender_weight": 1.0, "age_weight": 1.0,
}  # fmt: skip

_SCRATCH = {"layer_decay": 1.0, "height": 128, "width": 96}
_BASE = {"layer_decay": 0.75, "height": 256, "width": 192}
_LARGE = {"layer_decay": 0.8, "height": 384, "width": 288}

# fmt: off
# The age specialist's, and for want of reasons to differ the rivals'.
_CONVNEXT_ATTO = {
    "backbone": "convnext_atto",
    "backbone_options": {
        "norm_layer": "batchnorm2d", "ls_init_value": None, "conv_stem": True, "fan_in_init": True,
    },
    "epochs": 5, "batch_size": 16, "optimizer": "muon", "lr": 6e-3, "weight_decay": 0.05,
}
_CONVNEXT_TINY = {
    "backbone": "convnext_tiny", "backbone_options": {},
    "epochs": 15, "lr": 4e-4, "weight_decay": 0.05, "drop_path": 0.2,
}
_CONVNEXT_BASE = {
    "backbone": "convnext_base", "backbone_options": {},
    "epochs": 15, "lr": 2e-4, "weight_decay": 0.05, "drop_path": 0.3,
}
# fmt: on

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # From scratch in minutes, what counts is how soon a network learns: Muon (Jordan et al. 2024) in small batches,
    # a stem of small convolutions (Swin, ConvNeXt), batch normalisation, no layer scale and weights drawn to
    # fan-in (ConvNeXt).
    "small": {
        "mask": _COMMON | _SCRATCH | _MASK | {
            "backbone": "efficientnet_b0", "backbone_options": {},
            # Where a mask sits shows at this size too, and its network is the slowest of the three on a CPU.
            "height": 96, "width": 72,
            "epochs": 6, "batch_size": 16, "optimizer": "muon", "lr": 6e-3, "weight_decay": 0.05,
        },
        "gender": _COMMON | _SCRATCH | _GENDER | {
            "backbone": "swin_tiny_patch4_window7_224",
            "backbone_options": {
                "embed_dim": 48, "depths": [1, 2, 3, 1], "num_heads": [2, 4, 8, 16], "window_size": 4,
                "conv_stem": True,
            },
            "epochs": 3, "batch_size": 16, "optimizer": "muon", "lr": 2e-3, "weight_decay": 0.05, "drop_path": 0.1,
        },
        "age": _COMMON | _SCRATCH | _AGE | _CONVNEXT_ATTO,
        "joint": _COMMON | _SCRATCH | _CLASSES | _CONVNEXT_ATTO,
        "multihead": _COMMON | _SCRATCH | _MULTIHEAD | _CONVNEXT_ATTO,
    },
    "base": {
        "mask": _COMMON | _BASE | _MASK | {
            "backbone": "efficientnet_b0", "backbone_options": {},
            "epochs": 8, "lr": 1e-3, "weight_decay": 0.02, "drop_path": 0.1,
        },
        "gender": _COMMON | _BASE | _GENDER | {
            "backbone": "swin_tiny_patch4_window7_224", "backbone_options": {},
            "epochs": 10, "lr": 3e-4, "weight_decay": 0.05, "drop_path": 0.2,
        },
        "age": _COMMON | _BASE | _AGE | _CONVNEXT_TINY,
        "joint": _COMMON | _BASE | _CLASSES | _CONVNEXT_TINY,
        "multihead": _COMMON | _BASE | _MULTIHEAD | _CONVNEXT_TINY,
    },
    "large": {
        "mask": _COMMON | _LARGE | _MASK | {
            "backbone": "efficientnet_b4", "backbone_options": {},
            "epochs": 8, "lr": 1e-3, "weight_decay": 0.02, "drop_path": 0.2,
        },
        "gender": _COMMON | _LARGE | _GENDER | {
            "backbone": "swin_base_patch4_window12_384", "backbone_options": {},
            "epochs": 10, "lr": 2e-4, "weight_decay": 0.05, "drop_path": 0.3,
        },
        "age": _COMMON | _LARGE | _AGE | _CONVNEXT_BASE,
        "joint": _COMMON | _LARGE | _CLASSES | _CONVNEXT_BASE,
        "multihead": _COMMON | _LARGE | _MULTIHEAD | _CONVNEXT_BASE,
    },
}  # fmt: skip
WEIGHTS = {"small": "none", "base": "hub", "large": "hub"}
"""Where the networks of a preset start unless the user says otherwise."""


def columns_of(task: str) -> tuple[str, ...]:
    """The label columns that a network learns from: a specialist its own, a rival all three."""
    return (task,) if task in TASKS else TASKS


def tasks_with(setting: str) -> tuple[str, ...]:
    """The networks that know a setting, under any preset."""
    return tuple(task for task in NETWORKS if any(setting in preset[task] for preset in PRESETS.values()))
