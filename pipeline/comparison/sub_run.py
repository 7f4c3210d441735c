"""An ordinary run that a comparison makes: a system trained at a cost, or a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.combiner.schema import HELD_OUT_FILE
from pipeline.comparison.trainings import Training
from pipeline.run.settings import RunStage
from pipeline.runtime import store


@dataclass(frozen=True)
class SubRun:
    """Where it is, what is trained there, and what follows the trainings: by stage, what it is told.

    place: where predictions and combiner are, in or beneath the folder.
    """

    folder: Path
    trainings: Sequence[Training]
    place: Path
    then: Mapping[str, RunStage] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name} {self.folder.name}" if not self.then else self.folder.name

    @property
    def flops(self) -> float:
        return sum(training.effort.flops for training in self.trainings)

    @property
    def finished(self) -> bool:
        """Whether everything has been done here once."""
        last = self.place / "done" / f"{list(self.then)[-1]}.json" if self.then else self.folder
        return all(training.finished for training in self.trainings) and last.exists()

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The command lines that bring it to its end."""
        training = tuple(("train", *one.given.words()) for one in self.trainings)
        return (*training, *((stage, *told.words()) for stage, told in self.then.items()))

    def told(self) -> str:
        """What came out, in a few words."""
        if (self.place / HELD_OUT_FILE).is_file():
            score = store.read_json(self.place / "combiner.json")["report"]["scores"]["train"]["cross_fitted"]
            return f"macro-F1 of people held out {score['macro_f1']:.3f}"
        return ", ".join(f"{one.given.task} {one.metrics['macro_f1']:.3f}" for one in self.trainings)
