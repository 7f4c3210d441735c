"""The age mix of the photos of each mask state, where it is not that of all.

In a street the old may wear masks and the young none. The prior of the bands among photos of one predicted state is
told as that of all photos is (`evidence`, `posterior`), by validation photos of that state, and drawn toward that of
all; it is gone by where the photos do not leave the latter possible. It tells which score to expect. Thresholds are
chosen for the prior of all photos: by state they did not score better, even where its age mix was known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, CLASSES, GENDERS, MASKS
from pipeline.combiner.class_prior import bands_of, counted, weighted
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.densities import Densities, choose_smoothing
from pipeline.combiner.evidence import Evidence, chi2_quantile, evidence
from pipeline.combiner.mask_prior import MaskPrior
from pipeline.combiner.posterior import FINEST, posterior
from pipeline.combiner.prior_choice import FEW
from pipeline.combiner.prior_estimate import UNTRIED
from pipeline.combiner.threshold_choice import ThresholdChoice
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions

TURNS = 60
"""Both margins of a table are met in turn so often."""
SURE = 0.99
"""So sure it must be that a state's age mix is another than that of all photos."""


def by_state(
    masks: MaskPrior, eval: EvalPredictions, found: ThresholdChoice, seed: int = 0
) -> tuple[MaskPrior, ThresholdChoice]:
    """The mask states with their age mixes, and the choice with its rows weighted to these, where states differ."""
    rows, prior = found.eval_like, bands_of(found.possible).mean(0)
    if found.ages is not None:  # densities by state are of the validation people's ages
        return masks, found
    tried = None if found.estimate is None else found.estimate.tried
    priors = state_priors(rows, eval, prior, inner_folds_of(rows, seed), UNTRIED if tried is None else tried.widen)
    if priors is None:
        return masks, found
    joint = raked(masks.share[:, None] * np.maximum(priors, FINEST), masks.share, prior)
    bands = np.where(joint.any(1, keepdims=True), joint, prior)
    bands /= bands.sum(1, keepdims=True)
    return replace(masks, bands=bands), replace(found, eval_like=counted(weighted(rows, state_weights(rows, joint))))


def state_priors(
    rows: LabelledPredictions, eval: EvalPredictions, prior: NDArray, group: NDArray, widen: float = 1.0
) -> NDArray[np.float64] | None:
    """(3, 3) shares of the bands among photos of each mask state, None where all states have those of all photos.

    eval: with predicted mask states; prior: (3,) shares of the bands among all; group: (P,) as `estimate` takes it;
    widen: by how much the statistic is too large where a prior is the true one.
    """
    if eval.mask is None or not rows.counts.all():
        return None
    smoothing = choose_smoothing(rows, group)
    known = np.isfinite(eval.predicted_age) & (eval.mask >= 0)
    weight = known / np.maximum(known.sum(1, keepdims=True), 1)
    if weight.sum() < FEW:
        return None

    def told(some: LabelledPredictions, here: NDArray) -> Evidence:
        densities = Densities(some, smoothing)
        code = densities.code(eval.predicted_age[here], eval.gender[here])
        seen = np.bincount(code, weight[here], densities.density.shape[1])
        # a photo is hardly more than a person
        return evidence(densities, seen / seen.sum(), min(float(eval.people), weight[here].sum()))

    # what densities are off by is off for all states: a state's mix is to be another than all photos', told alike
    others = np.maximum([prior, told(rows, known).likeliest], FINEST)
    found = np.tile(prior, (len(MASKS), 1))
    for state in range(len(MASKS)):
        some, here = _of_photos(rows, rows.cell // len(GENDERS) == state), known & (eval.mask == state)
        if some is None or weight[here].sum() < FEW:
            continue
        one = told(some, here)
        if one.statistic(others)[0].min() > chi2_quantile(SURE, len(BANDS) - 1) * widen:
            found[state] = posterior(one, prior, widen).mean
    return None if (found == prior).all() else found


def state_weights(rows: LabelledPredictions, joint: NDArray) -> NDArray[np.float64]:
    """(n,) how often photos count beside their weights, and others of their class, to stand for shares (3, 3).

    joint: by mask state and band.
    """
    place = rows.label // CLASSES * len(BANDS) + rows.band
    own = np.bincount(place, rows.weights, joint.size)
    return (joint.ravel() / np.maximum(own, 1e-12))[place]


def raked(table: NDArray, rows: NDArray, columns: NDArray) -> NDArray[np.float64]:
    """The table of these margins whose odds are those of another: of all such tables the nearest (Kullback-Leibler).

    Rows and columns are met in turn (Deming and Stephan 1940), the columns at the end and exactly.
    """
    for _ in range(TURNS):
        table = table * (rows / np.maximum(table.sum(1), 1e-300))[:, None]
        table = table * (columns / np.maximum(table.sum(0), 1e-300))
    return table


def _of_photos(rows: LabelledPredictions, some: NDArray[np.bool_]) -> LabelledPredictions | None:
    """The rows of some photos, their people numbered anew; None where a band has none."""
    if not np.bincount(rows.band[some], minlength=len(BANDS)).all():
        return None
    people, person = np.unique(rows.person[some], return_inverse=True)
    fields = {name: getattr(rows, name)[some] for name in ("age", "predicted_age", "label", "band", "gender", "cell")}
    return replace(
        rows,
        person=person,
        people=len(people),
        identities=np.unique(rows.who[people], return_inverse=True)[1],
        photo=None,
        weight=None,
        **fields,
    )
