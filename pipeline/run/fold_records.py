"""A fold of a network as its folder records it: planned, begun (settings.json) and finished (done/train.json).

A stage reads each record once and hands it on; each file's fingerprint is taken once, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from models.errors import UserError
from models.weight_files import weights_fault
from pipeline.run.settings import NETWORKS
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import store
from pipeline.runtime.machine import Plan

SETTINGS, DONE, WEIGHTS, VALIDATION = "settings.json", "done/train.json", "weights.safetensors", "validation.csv"
WROTE = (SETTINGS, WEIGHTS, VALIDATION)
"""What a finished fold stands on."""
INPUTS = {
    "photos": "the train photos (names or sizes)",
    "boxes": "the face boxes",
    "faces": "the faces by which photos are framed",
    "labels": "the labels",
    "extra": "the extra sets, or their labels",
    "drawn": "the bare faces that masks are drawn on, or how they are drawn",
    "folds": "the folds of people",
}


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold's work: where, with what settings, on which data (fingerprints by name).

    faces: how photos are framed by the faces found in them; None where none are looked for.
    """

    folder: Path
    task: str
    number: int
    settings: TrainingSettings
    inputs: Mapping[str, str]
    faces: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.task} fold {self.number}"


@dataclass(frozen=True, kw_only=True)
class BegunFold(Fold):
    """A fold whose training has begun: all that rebuilds its network and repeats its run."""

    plan: Plan
    pixels: str
    """The digest of the prepared photos."""
    crop: float
    weights: str
    """Where the network started."""
    versions: Mapping[str, str]

    def write(self) -> None:
        store.write_json(
            self.folder / SETTINGS,
            {
                "task": self.task,
                "fold": self.number,
                "settings": self.settings.as_json(self.task),
                "plan": self.plan.as_dict(),
                "inputs": dict(self.inputs),
                "pixels": self.pixels,
                "crop": self.crop,
                "faces": self.faces,
                "weights": self.weights,
                "versions": dict(self.versions),
            },
        )

    @classmethod
    def read(cls, folder: Path, **beside: Any) -> Self:
        """The fold that began in a folder. Raises UserError where its settings.json is damaged or of another shape."""
        path = folder / SETTINGS
        if not path.is_file():
            raise UserError(f"{path} is missing; train the fold again with --restart, which keeps the old folder.")
        made = store.read_json(path)
        try:
            if made["task"] not in NETWORKS or made["inputs"].keys() != INPUTS.keys():
                raise KeyError("task or inputs")
            settings = TrainingSettings.from_json(made.pop("settings"), path, made["task"])
            plan = Plan(**made.pop("plan"))
            return cls(folder=folder, number=made.pop("fold"), settings=settings, plan=plan, **made, **beside)
        except (KeyError, TypeError, AttributeError):
            raise _not_ours(path) from None

    def check_same(self, inputs: Mapping[str, str], given: Mapping[str, Any]) -> None:
        """Raises UserError where it began on other inputs (fingerprints by name), or with other settings than given."""
        differences = [
            f"  {name}: {getattr(self.settings, name)} then, {value} now"
            for name, value in given.items()
            if getattr(self.settings, name) != value
        ]
        differences += [
            f"  {INPUTS[name]} have changed" for name, fingerprint in inputs.items() if self.inputs[name] != fingerprint
        ]
        if differences:
            raise UserError(
                f"{self.folder} was trained otherwise; train into another run (RUN=other), or begin anew with "
                f"--restart, which keeps the old folder:\n" + "\n".join(differences)
            )


@dataclass(frozen=True, kw_only=True)
class FinishedFold(BegunFold):
    """A fold whose predictions stand: its metrics at the end, and the fingerprints of what it wrote."""

    metrics: Mapping[str, Any]
    wrote: Mapping[str, str]
    _found: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, folder: Path, **beside: Any) -> Self:
        """The fold that is finished in a folder. Raises UserError as `BegunFold.read`."""
        done = store.read_json(folder / DONE)
        try:
            if not (set(WROTE) <= done["wrote"].keys() and "macro_f1" in done["metrics"]):
                raise KeyError("wrote or metrics")
        except (KeyError, TypeError, AttributeError):
            raise _not_ours(folder / DONE) from None
        return super().read(folder, metrics=done["metrics"], wrote=done["wrote"], **beside)

    def fingerprint(self, name: str) -> str | None:
        """Of one of its files as it lies there now; None where it does not."""
        if name not in self._found:
            self._found[name] = store.file_fingerprint(self.folder / name)
        return self._found[name]

    def check(self, *names: str) -> None:
        """Raises UserError where a file that it wrote is missing, or no longer what it wrote."""
        for name in names:
            if name in self.wrote and self.fingerprint(name) != self.wrote[name]:
                path = self.folder / name
                fault = weights_fault(path) if name == WEIGHTS and path.is_file() else None
                if fault is not None:
                    raise UserError(
                        f"{path} {fault[0]}; {fault[1]}, or run train again with --restart, which keeps the old folder."
                    )
                raise UserError(
                    f"{path} is missing, damaged or was changed; run train again with --restart, which "
                    f"keeps the old folder."
                )

    @property
    def network_fingerprint(self) -> list[str | None]:
        """What it predicts by: the fingerprints of its settings and weights."""
        return [self.fingerprint(name) for name in (SETTINGS, WEIGHTS)]


def _not_ours(path: Path) -> UserError:
    return UserError(
        f"{path} is not what train writes: it was changed, or is of another version; train the fold again with "
        f"--restart, which keeps the old folder."
    )


def is_finished(folder: Path) -> bool:
    """Whether the predictions of a fold's folder stand."""
    return (folder / DONE).is_file()


def begun_fold(folder: Path) -> BegunFold | None:
    """The fold of a folder; None where none has begun there."""
    return BegunFold.read(folder) if (folder / SETTINGS).is_file() else None
