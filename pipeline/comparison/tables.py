"""The tables of a comparison, budget by budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.labels import band, encode
from pipeline.comparison.everyone import everyone
from pipeline.comparison.outcomes import Outcome, person_of
from pipeline.comparison.report import comparison_table, comparison_text, leak_table, leak_text
from pipeline.comparison.systems import leaking
from pipeline.run.settings import TASKS


class Tables:
    """Of systems trained on the same people.

    train: a row for each train photo; truth: of the eval photos, None where it is not known; replicates: how many of
    which kind, in words; draws: resamples of people behind every interval.
    """

    def __init__(self, train: pd.DataFrame, truth: pd.DataFrame | None, replicates: str, draws: int):
        self.truth, self.draws = truth, draws
        self.per_person = len(train) / train["person"].nunique()
        whole = train[train[list(TASKS)].notna().all(axis=1)]
        mask, gender = (whole[task].to_numpy(np.int64) for task in ("mask", "gender"))
        self.labelled = whole[["photo", "person"]].assign(
            label=encode(mask, gender, band(whole["age"].to_numpy(float)))
        )
        self.about = f"{replicates}, {_eval_in_words(truth)}"
        self._made: dict[str, list[pd.DataFrame]] = {"compare": [], "leak": []}

    def add(self, cost: float, outcomes: list[Outcome], files: Mapping[tuple[str, int], Path]) -> str:
        """Judge the systems of one budget, in 1e12 FLOPs; returns the text to read.

        files: validation predictions of the systems that show the leak, by name and replicate.
        """
        apart, told = [system.name for system in leaking().values()], []
        mine = [outcome for outcome in outcomes if outcome.system not in apart]
        if mine:
            whole = everyone(mine, self.labelled, self.truth)
            found = comparison_table(mine, self.truth, self.per_person, self.draws, whole)
            told.append(comparison_text(found, f"{cost:g}e12 FLOPs each, {self.about}"))
            self._made["compare"].append(found.assign(cost=cost))
        if files:
            rest = [outcome for outcome in outcomes if outcome.system in apart]
            found = leak_table(comparison_table(rest, self.truth, self.per_person, self.draws), files, self.draws)
            told.append(leak_text(found))
            self._made["leak"].append(found.assign(cost=cost))
        return "\n\n".join(told)

    def whole(self) -> dict[str, pd.DataFrame]:
        """The tables of all budgets, by name; only those that have rows."""
        return {name: pd.concat(some, ignore_index=True) for name, some in self._made.items() if some}


def _eval_in_words(truth: pd.DataFrame | None) -> str:
    if truth is None:
        return "people held out alone, since the truth of eval photos is not known"
    person = person_of(truth)
    if person is None:
        return f"{len(truth)} eval photos, 95 % intervals as if of people with as many photos as in train"
    return f"{len(truth)} eval photos of {len(set(person))} people, 95 % intervals by person"


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON; what is blank is None."""
    rows = table.to_dict("records")
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]
