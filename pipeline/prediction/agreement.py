"""Whether a faster engine predicts as the reference does, on photos whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.labels import fused
from pipeline.prediction import label_tables
from pipeline.prediction.labelled import LabelledPredictions, labelled_predictions
from pipeline.prediction.tables import COLUMNS
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.surface import BinnedAges
from pipeline.scoring.thresholds import crossings

EQUAL, WITHIN = 0.99, 0.002


@dataclass(frozen=True)
class Agreement:
    """equal: share of photos with the same label; difference: between the two macro-F1, without its sign."""

    photos: int
    equal: float
    difference: float

    @property
    def holds(self) -> bool:
        return self.equal >= EQUAL and self.difference <= WITHIN


def agreement(reference: pd.DataFrame, predictions: pd.DataFrame) -> Agreement:
    """Compare two tables of validation predictions about the same photos, labels at the reference's best thresholds.

    Where the predictions are probabilities of labels or bands, a photo's label is its likeliest.

    reference, predictions: a row per photo with photo, person, fold, mask, gender, age and the predictions, in the
    same order. Predictions that are no finite numbers, where the reference's are, agree with nothing. Raises UserError
    where no photo has all labels and predictions.
    """
    by_label = label_tables.holds_probabilities(reference)
    columns = list(label_tables.columns_of(reference) if by_label else COLUMNS)
    given = np.isfinite(reference[columns])
    if not (np.isfinite(predictions[columns]) | ~given).all(axis=None):
        return Agreement(int(given.all(axis=1).sum()), 0.0, 1.0)
    if by_label:
        (rows, probabilities), (_, others) = (
            label_tables.labelled_probabilities(reference),
            label_tables.labelled_probabilities(predictions),
        )
        given, found = probabilities.argmax(1), others.argmax(1)
        scores = [macro_f1(rows.label, labels) for labels in (given, found)]
        return Agreement(len(rows.label), float((given == found).mean()), abs(scores[0] - scores[1]))
    one, other = labelled_predictions(reference), labelled_predictions(predictions)
    thresholds = (
        BinnedAges(one.predicted_age, one.label, one.cell).surface().best(crossings(one.age, one.predicted_age))
    )

    def labels(rows: LabelledPredictions) -> np.ndarray:
        return fused(rows.cell, rows.predicted_age, thresholds)

    scores = [macro_f1(rows.label, labels(rows)) for rows in (one, other)]
    return Agreement(len(one.label), float((labels(one) == labels(other)).mean()), abs(scores[0] - scores[1]))
