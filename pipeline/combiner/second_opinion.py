"""A second opinion on the score to expect, which knows what was predicted on the eval photos.

Half of the denominator of each F1 is how often a label is predicted, and on eval photos that is known exactly. The
table of true by predicted labels is the one that has these counts, and the prior as its other margin, and confuses
labels as they are confused on people held out: the linear equations of LEAP (Volpi, Moreo and Sebastiani 2025) for 18
labels, solved by raking (Deming and Stephan 1940), which keeps shares positive and odds as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import CLASSES, LABELS, MASKS, class_of_label
from pipeline.combiner.expected_score import expected_interval
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.metrics import f1_of

TURNS = 60
"""Both margins are met in turn so often."""
PSEUDO = 2.0
"""Photos that are added to each label's confusions, as masks and classes of people are confused apart."""
HALF = 0.5
"""Photos: a label of fewer is taken not to occur, and macro-F1 is over labels that do."""


def second_opinion(
    rows: LabelledPredictions,
    held_out: NDArray,
    predicted: NDArray[np.int64],
    possible: NDArray,
    masks: NDArray | None,
    weights: NDArray,
    people: int,
    level: float,
    seed: int = 0,
) -> dict[str, Any]:
    """macro_f1 and its interval (None where a band has too few people).

    held_out: (n,) labels of validation photos by other people's thresholds; predicted: (18,) how many eval photos were
    given each label; possible: (B, 6) priors; masks: (B, 3) mask states, None as in train; weights: (B, P) of resampled
    validation people; people: as how many the eval photos count.
    """
    rng = np.random.default_rng([seed, 27])
    count = predicted.sum()
    share = predicted / count
    priors = label_priors(rows, possible, masks)
    drawn = np.empty(len(weights))
    for i, times in enumerate(weights):
        prior = priors[i % len(priors)]
        table = raked(prior[:, None] * confusions(rows, held_out, times), prior, share)
        # of the eval people, so many as there are, chance makes more or fewer of each kind
        made = rng.standard_gamma(table * people) + 1e-12
        drawn[i] = _score(made / made.sum(0) * share, count)
    prior = priors.mean(0)
    table = raked(prior[:, None] * confusions(rows, held_out, np.ones(rows.people)), prior, share)
    centre = _score(table, count)
    return {"macro_f1": centre, "interval": expected_interval(centre, drawn, rows, possible.mean(0), level)}


def label_priors(rows: LabelledPredictions, possible: NDArray, masks: NDArray | None) -> NDArray[np.float64]:
    """(B, 18) shares of labels: of classes of people (B, 6) times mask states (B, 3), as in train where these are None.

    possible: by band * 2 + gender.
    """
    if masks is None:
        own = np.bincount(rows.label // CLASSES, rows.weights, len(MASKS))
        masks = np.repeat(own[None] / own.sum(), len(possible), axis=0)
    labels = np.arange(LABELS)
    return possible[:, class_of_label(labels)] * masks[:, labels // CLASSES]


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


def raked(table: NDArray, rows: NDArray, columns: NDArray) -> NDArray[np.float64]:
    """The table of these margins whose odds are those of another: of all such tables the nearest (Kullback-Leibler).

    Columns are met at the end, exactly.
    """
    for _ in range(TURNS):
        table = table * (rows / np.maximum(table.sum(1), 1e-300))[:, None]
        table = table * (columns / np.maximum(table.sum(0), 1e-300))
    return table


def _score(table: NDArray, count: int) -> float:
    """Macro-F1 of shares of true by predicted labels (18, 18), over labels of which there are some."""
    true = table.sum(1)
    there = true * count >= min(HALF, (true * count).max())
    return float(f1_of(np.diag(table), table.sum(0), true)[there].mean())


def disagree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether each of two expected scores lies outside the other's interval."""
    if first["interval"] is None or second["interval"] is None:
        return False
    return not (
        first["interval"][0] <= second["macro_f1"] <= first["interval"][1]
        or second["interval"][0] <= first["macro_f1"] <= second["interval"][1]
    )
