"""From predictions to thresholds, for a class prior that is given or that the eval photos are found to have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.labels import class_of_label
from pipeline.combiner.class_prior import counted, factors, people_of, weighted, with_bands
from pipeline.combiner.cross_fitting import BANDWIDTH, best_bandwidth, inner_folds_of
from pipeline.combiner.pooled_residuals import PooledResiduals
from pipeline.combiner.prior_estimate import Estimate, estimate
from pipeline.combiner.self_test import Score
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.thresholds import choose, fallback_of, shrinkage_of, shrunk


@dataclass(frozen=True)
class ThresholdChoice:
    """What a calibration found.

    thresholds: 2 years; shares (6,), priors (B, 6): the prior by band * 2 + gender that they were chosen for, and
    the priors it stands for; possible (B, 6): those that the eval photos may have; estimate: what these rest on,
    None where the prior is known; rows: the validation predictions as they would be after averaging; keep: the
    share of their residuals kept; fallback, shrinkage (2,): the thresholds of last resort and how far each was drawn
    to them; weights (B, P): times each person counts in each resample; bandwidth: in years; eval_like: rows weighted as
    the eval photos are likely to be, which tell the score to expect; ages (B, P): how often people count beside those
    weights, by ages that the eval photos may have, None where these do not shift.
    """

    thresholds: tuple[float, float]
    shares: NDArray[np.float64]
    priors: NDArray[np.float64]
    possible: NDArray[np.float64]
    estimate: Estimate | None
    rows: LabelledPredictions
    keep: float
    fallback: tuple[float, float]
    shrinkage: NDArray[np.float64]
    weights: NDArray[np.int64]
    bandwidth: float
    eval_like: LabelledPredictions
    ages: NDArray[np.float64] | None = None

    @property
    def train(self) -> NDArray[np.float64]:
        """(6,) the validation people's shares."""
        return people_of(self.rows)

    @property
    def photo_weights(self) -> NDArray[np.float64]:
        """(n,) how much each validation photo counts for the prior."""
        return factors(self.shares, self.train)[class_of_label(self.rows.label)] * counted(self.rows).weights


def choose_thresholds(
    rows: LabelledPredictions,
    prior: NDArray,
    eval: EvalPredictions | None = None,
    bandwidth: float | None = BANDWIDTH,
    draws: int = 200,
    seed: int = 0,
    guess: Estimate | None = None,
    toward: float = 0.0,
) -> ThresholdChoice:
    """Thresholds for the prior (3,), and so far toward an estimate of the eval photos' prior.

    rows: out-of-fold predictions; eval: to know how much averaging several networks narrows the predictions;
    bandwidth: None lets cross-fitting choose; guess: the estimate, where the eval photos' prior is not known; toward:
    1 sets the thresholds for the estimate alone, 0 for the prior alone.
    """
    weights = rows.drawn_again(draws, np.random.default_rng(seed))
    train = people_of(rows)
    shares = with_bands(prior, train)
    priors, ages = shares[None], None
    possible = priors
    if guess is not None:
        possible = guess.draws
    if guess is not None and toward > 0:
        priors = shares + toward * (possible - shares)
        shares = shares + toward * (guess.shares - shares)
    rows, keep = narrowed(rows, 0.0 if eval is None else eval.removed)
    eval_like = rows
    if guess is not None and guess.ages is not None:
        ages = guess.ages.draws / guess.ages.weights
        eval_like = weighted(rows, guess.ages.weights[rows.person])
        rows = weighted(rows, 1 + toward * (guess.ages.weights - 1)[rows.person]) if toward else rows
    fallback = fallback_of(rows.age, rows.predicted_age, rows.counts)
    if bandwidth is None:
        bandwidth = best_bandwidth(rows, shares, seed)
    best = choose(rows.predicted_age, rows.label, rows.cell, factors(priors, train), bandwidth, fallback, rows.weight)
    shrinkage = shrinkage_of(rows.persons_by_band)
    thresholds = shrunk(best, fallback, shrinkage)
    return ThresholdChoice(
        thresholds,
        shares,
        priors,
        possible,
        guess,
        rows,
        keep,
        fallback,
        shrinkage,
        weights,
        bandwidth,
        counted(eval_like),
        ages,
    )


def prior_of_eval(
    rows: LabelledPredictions, eval: EvalPredictions, draws: int = 200, seed: int = 0, score: Score | None = None
) -> Estimate:
    """The estimate of the eval photos' prior; score: how labels score that are chosen for it, of `self_test`."""
    return estimate(rows, eval.predicted_age, eval.gender, eval.people, inner_folds_of(rows, seed), draws, seed, score)


def narrowed(rows: LabelledPredictions, removed: float) -> tuple[LabelledPredictions, float]:
    """Single-network predictions drawn in to spread as averages do: the residuals lose the removed variance."""
    if removed <= 0:
        return rows, 1.0
    expected = PooledResiduals(rows).line()[rows.person]
    residual = rows.predicted_age - expected
    keep = float(np.sqrt(max(0.05, 1 - removed / max(np.average(residual**2, weights=rows.weight), 1e-9))))
    return drawn_in(rows, keep), keep


def drawn_in(rows: LabelledPredictions, keep: float) -> LabelledPredictions:
    """Predictions of which a share of each residual is kept."""
    if keep == 1:
        return rows
    expected = PooledResiduals(rows).line()[rows.person]
    return replace(rows, predicted_age=expected + keep * (rows.predicted_age - expected))
