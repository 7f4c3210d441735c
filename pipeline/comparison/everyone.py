"""All people of a data set judged together: train people by the networks that never saw them, eval people by each.

Two things set them apart. Train people chose settings, by trials here or for a preset earlier; and their labels are
calibrated as those of eval photos are, for the age mix that these have. The eval photos alone are free of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.outcomes import Outcome, person_of
from pipeline.scoring.bootstrap import resample_together
from pipeline.scoring.metrics import macro_f1


@dataclass(frozen=True)
class Everyone:
    """The photos that all systems were judged on, and the labels each gave them.

    label, person, weight (n,): the true labels, whose photos they are and how much each counts; labels: (n,) by
    system. A train photo is there once, with the label of the replicate that it validated; an eval photo is there
    once for each of R replicates and counts 1 / R each time.
    """

    label: NDArray[np.int64]
    person: NDArray[np.str_]
    weight: NDArray[np.float64]
    labels: dict[str, NDArray[np.int64]]

    @cached_property
    def people(self) -> int:
        return len(np.unique(self.person))

    def macro_f1(self, system: str) -> float:
        return macro_f1(self.label, self.labels[system], self.weight)

    def resampled(self, draws: int) -> dict[str, NDArray[np.float64]]:
        """(draws,) macro-F1 by system, of the same people drawn again (Efron 1979)."""
        together = np.stack(list(self.labels.values()))
        drawn = resample_together(self.label, together, self.person, draws=draws, weights=self.weight)
        return {system: drawn[:, i] for i, system in enumerate(self.labels)}


def everyone(outcomes: Sequence[Outcome], train: pd.DataFrame, truth: pd.DataFrame | None) -> Everyone | None:
    """All people that several replicates of several systems judged; None where they do not make a whole.

    train: photo, person and label of the train photos with all labels; truth: label and, where known, person of the
    eval photos in the order of the outcomes' labels, which have no part in it where they or their people are unknown.
    """
    systems = list(dict.fromkeys(one.system for one in outcomes))
    by_system = {name: [one for one in outcomes if one.system == name] for name in systems}
    held_out = {name: [one.held_out for one in some] for name, some in by_system.items()}
    if any(labels is None for some in held_out.values() for labels in some):
        return None
    together = {name: pd.concat(some) for name, some in held_out.items()}
    if any(labels.index.has_duplicates for labels in together.values()):  # replicates of one fold
        return None
    told = train[train["photo"].isin(set.intersection(*(set(labels.index) for labels in together.values())))]
    label, person = [told["label"].to_numpy(np.int64)], [told["person"].to_numpy(str)]
    weight = [np.ones(len(told))]
    labels = {name: [some.loc[told["photo"]].to_numpy(np.int64)] for name, some in together.items()}
    eval_person = None if truth is None else person_of(truth)
    if eval_person is not None:
        times = len(by_system[systems[0]])
        label += [truth["label"].to_numpy(np.int64)] * times
        person += [np.char.add("eval/", eval_person)] * times
        weight += [np.full(len(truth), 1 / times)] * times
        for name, some in by_system.items():
            labels[name] += [one.labels for one in some]
    return Everyone(
        np.concatenate(label),
        np.concatenate(person),
        np.concatenate(weight),
        {name: np.concatenate(some) for name, some in labels.items()},
    )
