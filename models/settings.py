"""What a network and its loss need, declared once; what a training needs beside it, its own settings add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.declared import Settings, setting
from models.errors import UserError

CLASSES = ("mask", "gender", "joint", "multihead")
"""The networks that learn classes."""
YEARS = ("age", "multihead")
"""The networks that learn ages in years."""
DRAWN_ON = ("gender", "age")
"""The networks that masks are drawn for to hide faces, not to be told."""
OURS = {
    "drop_rate": "--dropout",
    "drop_path_rate": "--drop-path",
    "img_size": "--height and --width",
    "num_classes": "what the network predicts",
}
"""Options of timm's backbones that settings of ours decide."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """A network and its loss. What a network does not know keeps its default and has no effect."""

    backbone: str = setting("The timm backbone.")
    backbone_options: Mapping[str, object] = setting("Settings of the timm backbone, as JSON.")
    height: int = setting("Photo height in pixels.", least=8, most=4096)
    width: int = setting("Photo width in pixels.", least=8, most=4096)
    face_margin: float = setting(
        "What is kept on each side of a face, as a share of it, where photos are framed by faces.",
        0.25,
        least=0,
        most=4,
    )
    dropout: float = setting(
        "Share of the inputs of the last layer that is dropped in a training step.", 0.0, least=0, most=0.999
    )
    drop_path: float = setting(
        "Stochastic depth: the share of blocks that is skipped in a training step, at the deepest.",
        0.0,
        least=0,
        most=0.999,
    )
    loss: str = setting(
        "Loss of a classifier: cross_entropy, focal (easy photos count little), or soft_f1 (macro-F1 of the batch).",
        "cross_entropy",
        choices=("cross_entropy", "focal", "soft_f1"),
        networks=CLASSES,
    )
    smoothing: float = setting(
        "Label smoothing, of cross_entropy and focal.", 0.05, least=0, most=0.999, networks=CLASSES
    )
    focal_gamma: float = setting(
        "How strongly focal turns from easy photos to hard ones; 0 is cross_entropy.", 2.0, least=0, networks=CLASSES
    )
    drawn_masks: bool = setting(
        "Learn from masks drawn on the bare faces too: each stands there three times, with a mask worn right, worn "
        "wrong, and without one.",
        False,
        networks=("mask",),
    )
    mask_bare: float = setting(
        "How often a mask is drawn on a bare face, another one each time.", 0.0, least=0, most=1, networks=DRAWN_ON
    )
    class_balance: float = setting(
        "0 counts every photo of an epoch the same, 1 every class.", 0.0, least=0, most=1, networks=("mask",)
    )
    undersample: float = setting(
        "In an epoch, at most this many times the rarest class's photos; the others take turns. 0: all.",
        2.0,
        least=0,
        networks=("mask",),
    )
    age_loss: str = setting(
        "Loss of the age: distribution (soft labels over the years), or plain regression by l1 or mse.",
        "distribution",
        choices=("distribution", "l1", "mse"),
        networks=YEARS,
    )
    age_spread: float = setting(
        "Standard deviation, in years, of the soft labels that an age becomes.", 2.0, above=0, networks=YEARS
    )
    rare_ages: float = setting(
        "Power of the weight for rare ages, 0 none to 1 full.", 0.0, least=0, most=1, networks=YEARS
    )
    age_scale: float = setting("The unit, in years, in which plain regression learns.", 20.0, above=0, networks=YEARS)
    age_head: str = setting(
        "What the age head predicts: years or bands.", "years", choices=("years", "bands"), networks=("multihead",)
    )
    head_balance: str = setting(
        "The three losses add up by uncertainty (each with a weight that is learned), or as a plain sum.",
        "uncertainty",
        choices=("uncertainty", "sum"),
        networks=("multihead",),
    )
    mask_weight: float = setting("What the mask's loss is multiplied by.", 1.0, least=0, networks=("multihead",))
    gender_weight: float = setting("What gender's loss is multiplied by.", 1.0, least=0, networks=("multihead",))
    age_weight: float = setting("What the age's loss is multiplied by.", 1.0, least=0, networks=("multihead",))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in OURS.keys() & self.backbone_options.keys():
            raise UserError(f"--backbone-options: {name} is set by {OURS[name]}.")
