"""A second opinion on the score to expect, which knows what was predicted on the eval photos.

Half of the denominator of each F1 is how often a label is predicted, and on eval photos that is known exactly. The
table of true by predicted labels has these counts; beyond that labels are as common as the prior has them, and confused
as on people held out (the equations of LEAP, Volpi, Moreo and Sebastiani 2025, for 18 labels). Solved by Bayes' rule:
were the prior met exactly too, the chance in few photos would be taken for mistakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import CLASSES, LABELS, MASKS, class_of_label
from pipeline.combiner.counts import correlation
from pipeline.combiner.expected_score import expected_interval
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.metrics import f1_of

PSEUDO = 2.0
"""Photos that are added to each label's confusions, as masks and classes of people are confused apart."""
HALF = 0.5
"""Photos: a label of fewer is taken not to occur, and macro-F1 is over labels that do."""


def second_opinion(
    rows: LabelledPredictions,
    held_out: NDArray,
    predicted: NDArray[np.int64],
    possible: NDArray,
    weights: NDArray,
    people: int,
    level: float,
    seed: int = 0,
    ages: NDArray | None = None,
) -> dict[str, Any] | None:
    """macro_f1 and its interval; None where a band has too few people for `expected_interval`.

    held_out: (n,) labels of validation photos by other people's thresholds; predicted: (18,) how many eval photos were
    given each label; possible: (B, 6) priors; weights: (B, P) of resampled validation people; people: as how many the
    eval photos count; ages: (M, P) as `expected_scores` takes them.
    """
    if expected_interval(0.5, np.full(2, 0.5), rows, possible.mean(0), level) is None:
        return None
    rng = np.random.default_rng([seed, 27])
    count = int(predicted.sum())
    share, priors = predicted / count, label_priors(rows, possible)
    alike = correlation(rows.label % CLASSES, held_out % CLASSES, rows.who[rows.person])
    units = count / (1 + max(count / people - 1, 0) * alike)
    drawn = np.empty(len(weights))
    for i, times in enumerate(weights):
        times = times if ages is None else times * ages[i % len(ages)]
        table = priors[i % len(priors)][:, None] * confusions(rows, held_out, times)
        # of so many photos as there are, chance makes more or fewer of each kind
        made = rng.standard_gamma(table / table.sum(0) * share * units) + 1e-12
        drawn[i] = _score(made / made.sum(0) * share, count)
    table = priors.mean(0)[:, None] * confusions(rows, held_out, np.ones(rows.people))
    centre = _score(table / table.sum(0) * share, count)
    return {"macro_f1": centre, "interval": expected_interval(centre, drawn, rows, possible.mean(0), level)}


def label_priors(rows: LabelledPredictions, possible: NDArray) -> NDArray[np.float64]:
    """(B, 18) shares of labels: of classes of people (B, 6), by band * 2 + gender, times their rows' mask states."""
    kind = class_of_label(np.arange(LABELS))
    count = np.bincount(rows.label, rows.weights, LABELS)
    whole = np.bincount(kind, count, CLASSES)[kind]
    every = np.bincount(rows.label // CLASSES, rows.weights, len(MASKS))[np.arange(LABELS) // CLASSES]
    # of a class without people it is not known
    return possible[:, kind] * np.where(whole > 0, count / np.maximum(whole, 1e-12), every / every.sum())


def confusions(rows: LabelledPredictions, labels: NDArray, times: NDArray) -> NDArray[np.float64]:
    """(18, 18) how each true label is predicted, rows summing to one, of people there so many times, (P,)."""
    each = times[rows.person] * rows.weights
    mask, kind = rows.label // CLASSES, rows.label % CLASSES
    masks = _table(mask, labels // CLASSES, each, len(MASKS))
    kinds = _table(kind, labels % CLASSES, each, CLASSES)
    apart = np.kron(masks, kinds)
    table = np.bincount(rows.label * LABELS + labels, each, LABELS**2).reshape(LABELS, LABELS) + PSEUDO * apart
    return table / table.sum(1, keepdims=True)


def _table(true: NDArray, predicted: NDArray, weight: NDArray, size: int) -> NDArray[np.float64]:
    table = np.bincount(true * size + predicted, weight, size**2).reshape(size, size) + PSEUDO / size
    return table / table.sum(1, keepdims=True)


def _score(table: NDArray, count: int) -> float:
    """Macro-F1 of shares of true by predicted labels (18, 18), over labels of which there are some."""
    true = table.sum(1)
    there = true * count >= min(HALF, (true * count).max())
    return float(f1_of(np.diag(table), table.sum(0), true)[there].mean())


def disagree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether each of two expected scores lies outside the other's interval."""
    if first["interval"] is None:
        return False
    return not (
        first["interval"][0] <= second["macro_f1"] <= first["interval"][1]
        or second["interval"][0] <= first["macro_f1"] <= second["interval"][1]
    )
