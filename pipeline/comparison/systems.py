"""The systems that can be compared at equal cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.run.presets import PRESETS, TASKS

BASELINE = "specialists"
"""Whom the others are compared with."""
LEAK = "leak"
"""In the list of systems: the second table, of a network validated by photo and by person."""
BORROWED = ("backbone", "backbone_options", "height", "width", "batch_size", "lr", "optimizer", "weight_decay",
            "layer_decay", "drop_path")  # fmt: skip
"""What a joint network takes over from the specialist whose backbone it has."""


@dataclass(frozen=True)
class System:
    """A system: the settings that its tasks have beside the preset's, and those its run has beside this one's.

    kind: specialists, joint or multihead; same_as: it is trained already, as another system whose ages it bands
    at 30 and 60; likeliest: judged by its likeliest labels, with nothing corrected, as the notes' networks were.
    """

    name: str
    kind: str
    settings: dict[str, dict[str, Any]]
    run: dict[str, str] = field(default_factory=dict)
    same_as: str | None = None
    likeliest: bool = False

    def resolved(self, preset: str) -> dict[str, dict[str, Any]]:
        """The settings of each task in full."""
        return {task: PRESETS[preset][task] | settings for task, settings in self.settings.items()}

    def place(self, folder: Path) -> Path:
        """Where, in a run's folder, its predictions, combiner and submission are."""
        return folder if self.kind == BASELINE else folder / self.kind


def all_systems(preset: str) -> dict[str, System]:
    """All that can be compared, by name, in the order of the table."""
    plain: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    joint = {}
    for word, task in {"efficientnet": "mask", "swin": "gender", "convnext": "age"}.items():
        joint[f"joint-{word}"] = {"joint": {name: PRESETS[preset][task][name] for name in BORROWED}}
    found = [
        System(BASELINE, "specialists", plain),
        *(System(name, "joint", settings) for name, settings in joint.items()),
        *(System(f"multihead-{head}", "multihead", {"multihead": {"age_head": head}}) for head in ("bands", "years")),
        System("specialists-30-60", "specialists", plain, same_as=BASELINE),
    ]
    return {system.name: system for system in found}


def leaking() -> dict[str, System]:
    """The joint network as the preset has it, validated by photo and by person; by split."""
    return {
        split: System(f"joint-by-{split}", "joint", {"joint": {}}, run={"split": split}, likeliest=True)
        for split in ("photo", "person")
    }
