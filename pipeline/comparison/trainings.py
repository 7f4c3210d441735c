"""The trainings of a comparison: which fold validates them, and one of a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.comparison.cost import Effort
from pipeline.run.fold_records import FinishedFold, is_finished
from pipeline.run.train_settings import Train

JUDGED, TUNED = 0, 1
"""The fold whose people have no part in tuning, and the one whose people tuning is judged on."""


@dataclass(frozen=True)
class Replicate:
    """One of several trainings of the same system: the fold that validates it, and its seed."""

    fold: int
    seed: int

    @classmethod
    def several(cls, kind: str, count: int) -> list[Replicate]:
        """So many of them; kind: "folds", each with a seed of its own, or "seeds", of one fold."""
        return [cls(number if kind == "folds" else JUDGED, number) for number in range(count)]


@dataclass(frozen=True)
class Training:
    """One network to be trained, by what the stage train is told."""

    name: str
    given: Train
    effort: Effort

    @property
    def fold(self) -> Path:
        return self.given.run / self.given.task / f"fold{self.given.folds}"

    @property
    def finished(self) -> bool:
        return is_finished(self.fold)

    @property
    def metrics(self) -> dict[str, Any]:
        """What the finished training told at its end."""
        return dict(FinishedFold.read(self.fold).metrics)
