"""The metrics of a calibration as a dictionary for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.combiner.class_prior import bands_of
from pipeline.combiner.expected_score import choice_interval
from pipeline.combiner.judging import judge, threshold_intervals
from pipeline.combiner.notes import interval_notes, shrinkage_notes
from pipeline.combiner.prior_estimate import Estimate
from pipeline.combiner.threshold_choice import ThresholdChoice
from pipeline.prediction.eval_predictions import EvalPredictions

LEVEL = 0.9
"""Of the expected score's interval."""
THRESHOLDS = ("lower threshold", "upper threshold")
"""What is fitted, in words."""


def summary(
    found: ThresholdChoice,
    kind: str,
    eval: EvalPredictions | None,
    notes: list[str],
    held_out: NDArray,
    seed: int = 0,
    caveats: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything `combiner.json` holds about a calibration.

    kind: "train", "given" or "estimate"; notes: sentences to begin with; held_out: (n,) the
    labels of `held_out_labels`; caveats: words to set beside every score,
    such as optimistic; the dictionary is plain JSON.
    """
    rows, guess = found.rows, found.estimate
    scores, centre = judge(found, held_out, seed)
    notes = list(notes)
    prior: dict[str, Any] = {
        "kind": kind,
        "train": bands_of(found.train).tolist(),
        "used": bands_of(found.shares).tolist(),
    }
    if guess is not None:
        prior |= estimate_told(guess)
    notes += shrinkage_notes(found.shrinkage, rows.persons_by_band, THRESHOLDS, "the fallback")
    expected = None
    if eval is not None:
        interval = choice_interval(found, eval.people, centre, LEVEL, seed)
        notes += interval_notes(rows.persons_by_band, bands_of(found.shares))
        expected = {"macro_f1": centre, "interval": interval, "level": LEVEL, "photos": len(eval.predicted_age)}
        expected |= {"caveats": list(caveats)} if caveats else {}
    return {
        "people": rows.persons,
        "photos": len(rows.person),
        "people_by_band": rows.persons_by_band.tolist(),
        "folds": rows.folds,
        "dropped": rows.dropped,
        "age_mix": prior,
        "thresholds": list(found.thresholds),
        "threshold_intervals": threshold_intervals(found),
        "fallback": list(found.fallback),
        "shrinkage": found.shrinkage.tolist(),
        "bandwidth": found.bandwidth,
        "networks": 1 if eval is None else eval.predicted_age.shape[1],
        "kept_by_averaging": found.keep,
        "scores": scores,
        "expected": expected,
        "caveats": list(caveats),
        "notes": notes,
    }


def estimate_told(guess: Estimate) -> dict[str, Any]:
    """What the report holds about an estimate of the prior, whether it is used or not."""
    low, high = np.quantile(bands_of(guess.draws), [0.025, 0.975], axis=0)
    told = {
        "estimate": guess.prior.tolist(),
        "interval": np.stack([low, high], axis=1).tolist(),
        "likeliest": guess.raw.tolist(),
        "misfit": guess.misfit,
        "limit": guess.limit,
        "unlike": guess.unlike,
        "tried": None,
    }
    if guess.tried is not None:
        told["tried"] = {
            "sets": len(guess.tried.truth),
            "error": guess.tried.error(guess.prior),
            "bias": guess.tried.bias(guess.prior).tolist(),
            "gains": guess.tried.gains.mean(0)[1:].tolist(),
            "held": guess.tried.held.mean(0).tolist(),
            "widen": guess.tried.widen,
        }
    return told
