"""The systems of the notes this project grew from, each rebuilt by one word: a table of plain settings.

Where the notes name a value it stands here; where they are silent, the base preset's holds. `saw` is what their teams
reported, on splits and leaderboards of their own: no claim of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import unknown
from pipeline.run.given import Given
from pipeline.run.settings import RunSettings
from pipeline.run.train_settings import TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """A system and its settings; a user's own settings stand above them.

    system: as in settings.SYSTEMS; saw: what the notes say of it, in a line; settings: those of each of its tasks that
    are not the preset's; run: those of the run.
    """

    system: str
    saw: str
    settings: Mapping[str, Given[TrainingSettings]] = field(default_factory=dict)
    run: Given[RunSettings] = field(default_factory=lambda: _pretrained())


def _pretrained(**more: Any) -> Given[RunSettings]:
    return Given(RunSettings, preset="base", weights="hub", **more)


def _network(backbone: str, **more: Any) -> Given[TrainingSettings]:
    """Another backbone than the preset's, whose options are not its own."""
    return Given(TrainingSettings, backbone=backbone, backbone_options={}, **more)


def _by_photo(backbone: str, saw: str) -> Recipe:
    """One network, 18 labels, judged on photos of people it had learned from."""
    return Recipe("joint", saw, {"joint": _network(backbone, epochs=30, batch_size=32)}, _pretrained(split="photo"))


# PyTorch's own Adam and RAdam: one learning rate for all layers, from the first step on.
_PLAIN = {"layer_decay": 1.0, "warmup": 0.0}
_ADAM = {"optimizer": "adam", "weight_decay": 0.0} | _PLAIN
# It has no paths to drop.
_XCEPTION = _network("legacy_xception", drop_path=0.0)

RECIPES: dict[str, Recipe] = {
    "note-efficientnet": _by_photo("efficientnet_b0", "validation F1 0.985 by photo, 0.6332 on the leaderboard"),
    "note-coatnet": _by_photo("coatnet_0_rw_224", "validation F1 0.977 by photo"),
    "note-swin": _by_photo("swin_tiny_patch4_window7_224", "validation F1 0.992 by photo"),
    "note-convnext": _by_photo("convnext_tiny", "validation F1 0.994 by photo, 0.6921 on the leaderboard"),
    "note-basecode": Recipe(
        "joint",
        "F1 0.6304 by the F1 loss; label smoothing was better, and plain cross-entropy best",
        {"joint": _XCEPTION | _ADAM | {"loss": "soft_f1", "schedule": "cosine"}},
        _pretrained(split="person", held_out=0.2),
    ),
    "note-xception": Recipe(
        "joint",
        "accuracy 76.6 %, F1 0.687; batch size 64 and dropout 0.7 were worse",
        {"joint": _XCEPTION | _ADAM | {"lr": 1e-3, "schedule": "step", "batch_size": 32, "dropout": 0.5}},
        _pretrained(held_out=0.1),
    ),
    "note-xception-radam": Recipe(
        "joint",
        "accuracy 71.5 %; they suspected that the cosine's period was too long",
        {
            "joint": _XCEPTION | _PLAIN | {
                "optimizer": "radam", "lr": 1.5e-3, "weight_decay": 1e-4, "schedule": "cosine", "period": 50.0,
                "batch_size": 32, "dropout": 0.5,
            },
        },
        _pretrained(held_out=0.1),
    ),
    "note-efficientnet-b0": Recipe(
        "joint",
        "F1 0.6548; 0.6770 at full size and batch size 64; 0.6925 with dropout, stopped early",
        {
            "joint": _network("efficientnet_b0", height=512, width=384) | _ADAM | {
                "schedule": "step", "batch_size": 64, "dropout": 0.5, "patience": 3,
            },
        },
        _pretrained(held_out=0.05),
    ),
    "note-xception-heads": Recipe(
        "multihead",
        "accuracy 76.5 %, F1 0.681; pretrained weights mattered (70.5 to 74 %)",
        {"multihead": _XCEPTION | {"age_head": "bands", "head_balance": "sum", "age_weight": 1.2}},
    ),
    "note-three-heads": Recipe(
        "multihead",
        "F1 0.06: the loss of the age regression drowned the others",
        {
            "multihead": _network("efficientnet_b0", epochs=5) | {
                "age_head": "years", "age_loss": "mse", "age_scale": 1.0, "head_balance": "sum",
            },
        },
    ),
    "note-specialists": Recipe(
        "specialists",
        "chosen so that the age thresholds can be set; this project's own design",
    ),
}  # fmt: skip


def named(name: str) -> Recipe:
    """The recipe of a name. Raises UserError for an unknown one, with the nearest names."""
    if name not in RECIPES:
        raise unknown("recipe", name, tuple(RECIPES))
    return RECIPES[name]
