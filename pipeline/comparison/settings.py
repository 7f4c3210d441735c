"""What a comparison is told, and what its lists mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import Settings, setting
from models.errors import UserError
from pipeline.comparison.tuning import costs_of, factors_of, size_words, sizes_of
from pipeline.run.given import Given
from pipeline.run.settings import HELD_OUT
from pipeline.runtime import store

if TYPE_CHECKING:
    from pipeline.run.folder import Run

FIXED = ("replicates", "cost", "sizes", "tune", "tune_share")
"""What the systems have in common: it cannot change between two calls, while systems and replicates may be added."""
SEEDS = 3
"""How often each system is trained on one fold where it is not said."""
READ = {"cost": costs_of, "tune": factors_of, "sizes": sizes_of}
"""What lists mean."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """What is compared, and how: recorded where the comparison is."""

    systems: str | None = setting(
        "Which, with commas between them: specialists, joint-efficientnet, joint-swin, joint-convnext (with lite "
        "joint alone), multihead-bands, multihead-years, specialists-30-60, and leak for the second table.",
        None,
        usual="all, with lite without leak",
    )
    replicates: str = setting(
        "folds: each training has another fold to validate it and another seed, so that all train people are judged by "
        "networks that never saw them. seeds: each has fold 0 and another seed.",
        "folds",
        choices=("folds", "seeds"),
    )
    times: int | None = setting("How often each is trained.", None, least=1, usual="once a fold, or 3 seeds")
    cost: str | None = setting(
        "Costs of a system's whole training, in 1e12 FLOPs with commas between them.",
        None,
        usual="a third of what the three specialists cost by their own epochs, and all of it",
    )
    sizes: str | None = setting(
        "Photo sizes among which each network chooses, like 128x96,160x120; a single one leaves no choice.",
        None,
        usual="those of the preset's specialists",
    )
    tune: str = setting("What the preset's learning rates are multiplied by before the best is chosen.", "0.5,1,2")
    tune_share: float = setting("The share of the largest cost that each trial gets.", 0.25, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.as_json())

    def settled(self, run: Run) -> ComparisonSettings:
        """With what follows from the run where it is not said. Raises UserError for more folds than the run has."""
        folds = HELD_OUT[run.held_out]
        if self.replicates == "folds" and self.times is not None and self.times > folds:
            raise UserError(
                f"--times {self.times}: there are {folds} folds; --replicates seeds trains as often as asked."
            )
        times = self.times or (folds if self.replicates == "folds" else SEEDS)
        return replace(self, times=times, sizes=self.sizes or size_words(sizes_of(None, run.preset)))


SMOKE = Given(ComparisonSettings, times=1, tune="0.5,1")


def check(given: Mapping[str, Any]) -> None:
    """Raises UserError for lists that cannot be read."""
    for name, read in READ.items():
        if given.get(name) is not None:
            read(given[name])


def chosen(place: Path, given: Given[ComparisonSettings], smoke: bool) -> ComparisonSettings:
    """What is given, else as recorded the last time, else the usual. Raises UserError for what cannot be."""
    path = place / "settings.json"
    recorded = ComparisonSettings.from_json(store.read_json(path), path) if path.is_file() else None
    for name in FIXED if recorded is not None else ():
        read, was = READ.get(name, lambda value: value), getattr(recorded, name)
        if name in given and read(given[name]) != read(was):
            raise UserError(
                f"{place} was begun with --{name.replace('_', '-')} {was}, not {given[name]}; "
                f"leave the setting out, or name another run with RUN=folder (--run)."
            )
    usual = ComparisonSettings() | SMOKE if smoke else ComparisonSettings()
    # what cannot change stays in the words that were recorded, of which a fingerprint is taken
    return usual | given if recorded is None else recorded | {n: v for n, v in given.items() if n not in FIXED}
