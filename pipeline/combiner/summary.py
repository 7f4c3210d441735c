"""The metrics of a calibration as a dictionary for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.combiner.class_prior import bands_of
from pipeline.combiner.expected_score import choice_interval
from pipeline.combiner.judging import judge, threshold_intervals
from pipeline.combiner.mask_prior import MaskPrior
from pipeline.combiner.notes import interval_notes, second_notes, shrinkage_notes
from pipeline.combiner.prior_estimate import Estimate
from pipeline.combiner.second_opinion import second_opinion
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
    masks: MaskPrior | None = None,
    predicted: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Everything `combiner.json` holds about a calibration.

    kind: "train", "given" or "estimate"; notes: sentences to begin with; held_out: (n,) the
    labels of `held_out_labels`; caveats: words to set beside every score,
    such as optimistic; masks: the mask states of the eval photos, None where nothing is known of them; predicted:
    (18,) how many eval photos were given each label; the dictionary is plain JSON.
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
        notes += interval_notes(rows.persons_by_band, bands_of(found.shares))
        expected = _expected(found, eval, centre, held_out, predicted, seed) | (
            {"caveats": list(caveats)} if caveats else {}
        )
        notes += second_notes(expected)
    return {
        "people": rows.persons,
        "photos": len(rows.person),
        "people_by_band": rows.persons_by_band.tolist(),
        "folds": rows.folds,
        "dropped": rows.dropped,
        "age_mix": prior,
        "mask_states": None if masks is None else masks_told(masks),
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


def _expected(
    found: ThresholdChoice,
    eval: EvalPredictions,
    centre: float,
    held_out: NDArray,
    predicted: NDArray[np.int64] | None,
    seed: int,
) -> dict[str, Any]:
    """The score to expect of the eval photos; centre: the cross-fitted one; the others as `summary` has them."""
    interval = choice_interval(found, eval.people, centre, LEVEL, seed, eval.photos_per_person)
    told = {"macro_f1": centre, "interval": interval, "level": LEVEL, "photos": len(eval.predicted_age)}
    if predicted is not None:
        told["second"] = second_opinion(
            found.eval_like,
            held_out,
            predicted,
            found.possible,
            found.weights,
            eval.people,
            LEVEL,
            seed,
            found.ages,
        )
    return told


def masks_told(masks: MaskPrior) -> dict[str, Any]:
    """What the report holds about mask states, in the order of their numbers."""
    used = {"kind": "estimate" if masks.shifted else "train", "used": masks.share.tolist()}
    estimate = {"estimate": masks.estimate.tolist(), "interval": masks.interval.tolist()}
    bands = {} if masks.bands is None else {"bands": masks.bands.tolist()}
    return {"train": masks.train.tolist()} | used | estimate | bands


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
    if guess.ages is not None:
        factor = [None if np.isnan(times) else times for times in guess.ages.factor.tolist()]
        told["ages"] = {"start": guess.ages.start.tolist(), "factor": factor}
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
