"""Which combiner the predictions at hand need: thresholds for years, corrected probabilities for labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.label_tables import holds_probabilities
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.combiner.label_combiner import LabelCombiner
    from pipeline.combiner.person_combiner import PersonCombiner

    Combiner = ThresholdCombiner | LabelCombiner | PersonCombiner


def combiner_for(
    validation: pd.DataFrame,
    prior: str | tuple[float, ...],
    predictions: pd.DataFrame | None = None,
    people: str = "off",
) -> Combiner:
    """An unfitted combiner for prediction tables; prior, people: as the combiners take them.

    Predictions are pooled where some eval photos are one person's. Raises UserError where folders are said to be people
    and no photo lies in one, or where labels are probabilities, which are not pooled.
    """
    by_label = holds_probabilities(validation)
    if by_label and people.startswith("folders"):
        raise UserError("PEOPLE=folders (--people) pools ages in years, and this system predicts none; leave it out.")
    if not by_label and predictions is not None and people != "off":
        from pipeline.combiner.persons import persons_of

        if persons_of(predictions.drop_duplicates("photo"), people) is not None:
            from pipeline.combiner.person_combiner import PersonCombiner

            return PersonCombiner(people, prior)
    return (_label_combiner() if by_label else ThresholdCombiner)(prior=prior)


def load(path: Path) -> Combiner:
    """A fitted combiner. Raises UserError when it is damaged, or of another version or task."""
    content = store.read_json(path)
    if content.get("kind") == "people":
        from pipeline.combiner.person_combiner import PersonCombiner

        return PersonCombiner.from_dict(content)
    kind = _label_combiner() if content.get("kind") == "labels" else ThresholdCombiner
    return kind.from_dict(content)


def load_for_photos(path: Path) -> ThresholdCombiner | LabelCombiner:
    """The one for photos whose person is not known, each for itself. Raises UserError as `load` does."""
    found = load(path)
    return getattr(found, "alone_", found)


def _label_combiner() -> type[LabelCombiner]:
    """The rivals', imported where one is at work: its optimizer takes a third of a second."""
    from pipeline.combiner.label_combiner import LabelCombiner

    return LabelCombiner
