"""What each network of a comparison may choose before it counts: its photo size, then its learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.declared import declared
from models.errors import UserError
from pipeline.run.presets import PRESETS
from pipeline.run.settings import TASKS
from pipeline.run.train_settings import TrainingSettings

if TYPE_CHECKING:
    from pipeline.comparison.trainings import Training

Size = tuple[int, int]
"""Height and width of the photos, in pixels."""


def size_words(sizes: Iterable[Size]) -> str:
    """Sizes as --sizes takes them."""
    return ",".join(f"{height}x{width}" for height, width in sizes)


@dataclass(frozen=True)
class Choice:
    """What a network is given; factor: of its preset's learning rate; size: None for that of its own settings."""

    factor: float = 1.0
    size: Size | None = None

    def settings(self, lr: float) -> dict[str, Any]:
        """The settings it comes to; lr: of the preset."""
        photos = {} if self.size is None else {"height": self.size[0], "width": self.size[1]}
        return {"lr": lr * self.factor, **photos}

    def __str__(self) -> str:
        size = "" if self.size is None else f"{self.size[0]}x{self.size[1]} "
        return f"{size}lr x {self.factor:g}"


def factors_of(tune: str) -> list[float]:
    """The learning-rate factors of --tune, those nearest to 1 first: between equals the first is chosen."""
    found = _above_0(tune)
    if not found:
        raise UserError(f"--tune {tune}: give factors of the learning rate, like 0.5,1,2; a single one tunes nothing.")
    return sorted(found, key=lambda factor: max(factor, 1 / factor))


def sizes_of(sizes: str | None, preset: str = "small") -> list[Size]:
    """The photo sizes of --sizes, else those of the preset's specialists; the smallest first."""
    if sizes is None:
        own = {(PRESETS[preset][task].height, PRESETS[preset][task].width) for task in TASKS}
        return sorted(own)
    try:
        found = [(int(height), int(width)) for height, width in (one.split("x") for one in sizes.split(","))]
    except ValueError:
        found = []
    if not found:
        raise UserError(f"--sizes {sizes}: give heights and widths in pixels, like 128x96,160x120.")
    for size in found:
        for name, pixels in zip(("height", "width"), size, strict=True):
            declared(TrainingSettings)[name].check(pixels)
    return sorted(dict.fromkeys(found))


def costs_of(cost: str) -> list[float]:
    """The costs of --cost in 1e12 FLOPs, the smallest first."""
    found = _above_0(cost)
    if not found:
        raise UserError(f"--cost {cost}: give 1e12 FLOPs above 0, like 0.7 or 0.7,2.1.")
    return sorted(found)


def _above_0(text: str) -> list[float]:
    """The numbers of a list, each once; none where one of them is not a finite number above 0."""
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        return []
    return list(dict.fromkeys(found)) if all(0 < one < float("inf") for one in found) else []


def best_choices(trials: Iterable[tuple[Mapping[str, Choice], list[Training]]]) -> dict[str, Choice]:
    """For each task what gave the best validation macro-F1, between equals the first.

    trials: of a system, each with what its networks were given, by task, and their trainings.
    """
    best: dict[str, tuple[float, Choice]] = {}
    for choices, trainings in trials:
        for training in trainings:
            task, score = training.given.task, training.metrics["macro_f1"]
            if task not in best or score > best[task][0]:
                best[task] = score, choices[task]
    return {task: choice for task, (_, choice) in best.items()}
