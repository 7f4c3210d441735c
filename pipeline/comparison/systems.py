"""The systems that can be compared at equal cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.run.given import Given
from pipeline.run.presets import PRESETS, settings_of
from pipeline.run.settings import TASKS, RunSettings
from pipeline.run.train_settings import TrainingSettings

BASELINE = "specialists"
"""Whom the others are compared with."""
LEAK = "leak"
"""In the list of systems: the second table, of a network validated by photo and by person."""
BORROWED = ("backbone", "backbone_options", "height", "width", "face_margin", "batch_size", "lr", "optimizer",
            "weight_decay", "layer_decay", "drop_path")  # fmt: skip
"""What a joint network takes over from the specialist whose backbone it has."""


@dataclass(frozen=True)
class System:
    """A system: the settings that its tasks have beside the preset's, and those its run has beside this one's.

    kind: specialists, joint or multihead; same_as: it is trained already, as another system whose ages it bands
    at 30 and 60; likeliest: judged by its likeliest labels, with nothing corrected, as the notes' networks were.
    """

    name: str
    kind: str
    settings: Mapping[str, Given[TrainingSettings]]
    run: Given[RunSettings] = field(default_factory=partial(Given, RunSettings))
    same_as: str | None = None
    likeliest: bool = False

    def resolved(self, run: RunSettings) -> dict[str, TrainingSettings]:
        """The settings of each task in full, under a run's preset and weights."""
        return {task: settings_of(run.preset, task, run.weights) | given for task, given in self.settings.items()}

    def place(self, folder: Path) -> Path:
        """Where, in a run's folder, its predictions, combiner and submission are."""
        return folder if self.kind == BASELINE else folder / self.kind


def all_systems(preset: str, weights: str = "auto") -> dict[str, System]:
    """All that can be compared, by name, in the order of the table."""
    own = {task: settings_of(preset, task, weights) for task in TASKS}
    plain = {task: Given(TrainingSettings) for task in TASKS}
    joint = {"joint": {"joint": Given(TrainingSettings)}}
    if len({made.backbone for made in own.values()}) > 1:  # each specialist's
        joint = {}
        for word, task in {"efficientnet": "mask", "swin": "gender", "convnext": "age"}.items():
            borrowed = {name: getattr(own[task], name) for name in BORROWED}
            joint[f"joint-{word}"] = {"joint": Given(TrainingSettings, **borrowed)}
    found = [
        System(BASELINE, "specialists", plain),
        *(System(name, "joint", settings) for name, settings in joint.items()),
        *(
            System(f"multihead-{head}", "multihead", {"multihead": Given(TrainingSettings, age_head=head)})
            for head in ("bands", "years")
        ),
        System("specialists-30-60", "specialists", plain, same_as=BASELINE),
    ]
    return {system.name: system for system in found}


def every_name() -> list[str]:
    """Of all that there is with any preset, and of the leak."""
    return [*dict.fromkeys(name for preset in PRESETS for name in all_systems(preset)), LEAK]


def usual_systems(preset: str) -> list[str]:
    """The names of those that are compared where none are named; the leak costs as much again as a system or two."""
    return list(all_systems(preset)) + ([] if preset == "lite" else [LEAK])


def leaking() -> dict[str, System]:
    """The joint network as the preset has it, validated by photo and by person; by split."""
    return {
        split: System(
            f"joint-by-{split}",
            "joint",
            {"joint": Given(TrainingSettings)},
            run=Given(RunSettings, split=split),
            likeliest=True,
        )
        for split in ("photo", "person")
    }
