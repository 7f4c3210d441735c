"""Which combiner the predictions at hand need: thresholds for years, corrected probabilities for labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.prediction.label_tables import holds_probabilities
from pipeline.runtime import store

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.combiner.label_combiner import LabelCombiner


def combiner_for(predictions: pd.DataFrame, prior: str | tuple[float, ...]) -> ThresholdCombiner | LabelCombiner:
    """An unfitted combiner for a prediction table; prior: as the combiners take it."""
    return (_label_combiner() if holds_probabilities(predictions) else ThresholdCombiner)(prior=prior)


def load(path: Path) -> ThresholdCombiner | LabelCombiner:
    """A fitted combiner. Raises UserError when it is damaged, or of another version or task."""
    content = store.read_json(path)
    kind = _label_combiner() if content.get("kind") == "labels" else ThresholdCombiner
    return kind.from_dict(content)


def _label_combiner() -> type[LabelCombiner]:
    """The rivals', imported where one is at work: its optimizer takes a third of a second."""
    from pipeline.combiner.label_combiner import LabelCombiner

    return LabelCombiner
