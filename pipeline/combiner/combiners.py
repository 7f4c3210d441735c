"""Which combiner the answers at hand need: thresholds for years, corrected chances for labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.combiner.label_combiner import LabelShift
from pipeline.combiner.threshold_combiner import Combiner
from pipeline.prediction.label_tables import answers_labels
from pipeline.runtime import store


def combiner_for(answers: pd.DataFrame, prior: str | tuple[float, ...]) -> Combiner | LabelShift:
    """An unfitted combiner for an answer table."""
    return (LabelShift if answers_labels(answers) else Combiner)(prior=prior)


def load(path: Path) -> Combiner | LabelShift:
    """A fitted combiner. Raises UserError when it is damaged, or of another version or task."""
    content = store.read_json(path)
    kind = LabelShift if content.get("kind") == "labels" else Combiner
    return kind.from_dict(content)
