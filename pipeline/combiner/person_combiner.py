"""The combiner for photos of known people: gender and age band are a person's, from all photos of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.combiner.persons import persons_of
from pipeline.combiner.pooling import Pooling, shapes_of, states_of
from pipeline.combiner.schema import POOLED, TASK, VERSION, check_version
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.tables import COLUMNS, TRUTH, average_folds
from pipeline.runtime import store


class PersonCombiner:
    """Pools predictions over a person, and chooses thresholds for predictions that are pooled alike.

    prior, draws, seed: as `ThresholdCombiner` takes them; people: as `persons_of` does.

    After fit: pooling_; pooled_, the combiner of pooled predictions; alone_, that of photos whose person is not known,
    as those are that somebody asks about one by one; report_ and held_out_ are those of pooled_.
    """

    def __init__(self, people: str = "auto", prior: str | tuple[float, ...] = "auto", draws: int = 200, seed: int = 0):
        self.people, self.prior, self.draws, self.seed = people, prior, draws, seed

    def fit(
        self,
        validation: pd.DataFrame,
        predictions: pd.DataFrame,
        notes: Sequence[str] = (),
        caveats: Sequence[str] = (),
        photos_per_person: float | None = None,
    ) -> Self:
        """Calibrate as `ThresholdCombiner.fit` does, twice: for people, and for photos alone.

        predictions: those about eval photos, some of them of one person. Raises UserError for tables or a prior that
        cannot be used.
        """
        self.alone_ = self._new().fit(validation, predictions, notes, caveats, photos_per_person)
        means, person, state = self._averaged(predictions)
        rows = validation[validation[["person", *TRUTH, *COLUMNS]].notna().all(axis=1)]
        self.pooling_ = Pooling.fit(rows)
        shapes = shapes_of(person, state)
        alike = self.pooling_.alike(rows, shapes, self.seed)
        photos = shapes.sum(1)
        # people of many photos tell most of a score, so that unequal numbers count as fewer people (Kish 1965)
        per_person = float((photos**2).sum() / photos.sum())
        told = [_told(photos, rows, self.pooling_.one_age, self.alone_.report_["expected"]), *notes]
        self.pooled_ = self._new().fit(
            alike, self._pooled(predictions, means, person, state), told, caveats, per_person, self.alone_.masks_
        )
        pooled = self.pooling_.to_dict() | {"people": len(shapes), "alone": self.alone_.report_["expected"]}
        self.report_ = self.pooled_.report_ | {"pooled": pooled}
        self.held_out_ = self.pooled_.held_out_.merge(alike[["photo", *POOLED]], on="photo", how="left")
        return self

    def _new(self) -> ThresholdCombiner:
        return ThresholdCombiner(self.prior, draws=self.draws, seed=self.seed)

    def _averaged(self, predictions: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.int64]]:
        """A row a photo, folds averaged, with its person's number (n,) and its likeliest mask state (n,)."""
        means = average_folds(predictions)
        if "person" in predictions:
            means = means.merge(predictions[["photo", "person"]].drop_duplicates("photo"), on="photo", how="left")
        person = persons_of(means, self.people)
        return means, np.arange(len(means)) if person is None else person, states_of(means)

    def _pooled(
        self, predictions: pd.DataFrame, means: pd.DataFrame, person: NDArray[np.int64], state: NDArray[np.int64]
    ) -> pd.DataFrame:
        row = pd.Index(means["photo"]).get_indexer(predictions["photo"])
        return self.pooling_.pooled(predictions, person[row], state[row])

    def predict(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """The label of each photo, in order of appearance: photo, label, mask, gender, band and the predictions.

        Gender and age are the person's, averaged over folds.
        """
        return self.pooled_.predict(self._pooled(predictions, *self._averaged(predictions)))

    @property
    def thresholds_(self) -> tuple[float, float]:
        return self.pooled_.thresholds_

    def told(self) -> str:
        """What was fitted, in a few words."""
        return f"{self.pooled_.told()}, of people,"

    def report(self) -> str:
        """What was fitted as a few lines of plain text."""
        return self.pooled_.report()

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all."""
        settings = {"people": self.people, "prior": self.prior, "draws": self.draws, "seed": self.seed}
        content = {"task": TASK, "version": VERSION, "kind": "people", "settings": settings}
        content |= {"thresholds": list(self.thresholds_), "report": self.report_, "pooling": self.pooling_.to_dict()}
        store.write_json(Path(path), content | {"pooled": self.pooled_.to_dict(), "alone": self.alone_.to_dict()})

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """The combiner that `save` wrote. Raises UserError for another version or task."""
        check_version(content)
        settings: dict[str, Any] = dict(content["settings"])
        if isinstance(settings["prior"], list):
            settings["prior"] = tuple(settings["prior"])
        self = cls(**settings)
        self.pooling_ = Pooling.from_dict(content["pooling"])
        self.alone_ = ThresholdCombiner.from_dict(content["alone"])
        self.pooled_ = ThresholdCombiner.from_dict(content["pooled"])
        self.report_ = content["report"]
        return self


def _told(photos: NDArray[np.int64], rows: pd.DataFrame, one_age: bool, expected: dict[str, Any]) -> str:
    """How predictions were pooled, in a sentence. photos: of each eval person; expected: of photos each for itself."""
    several = int((photos > 1).sum())
    what = "gender and age are" if one_age else "gender is"
    told = (
        f"{what} decided for each of {several} eval people with several photos, {np.median(photos[photos > 1]):.0f} in "
        f"the middle; photo by photo {expected['macro_f1']:.3f} is expected"
    )
    if not one_age:
        told += "; ages are each photo's own, for people held out have photos at several ages"
    most = rows.groupby("person").size().median()
    if most < np.median(photos):
        told += f"; people held out have but {most:.0f} photos, so the score to expect is too low"
    return told
