"""Which age mix a combiner is calibrated for."""

from __future__ import annotations

import numpy as np

from models.errors import UserError
from models.labels import BANDS
from pipeline.combiner.notes import ages_note, nobody, tried_note, unlike_note
from pipeline.combiner.prior_estimate import Estimate
from pipeline.prediction.labelled import LabelledPredictions

FEW = 30
"""Of eval photos that count as fewer people the default does not estimate the prior."""


def prior_kind(
    prior: str | tuple[float, ...],
    rows: LabelledPredictions,
    eval_people: int | None,
    guess: Estimate | None,
    notes: list[str],
) -> tuple[str, float]:
    """What a prior asks for, "given", "train" or "estimate", and how far toward the estimate labels are chosen for.

    prior: as a combiner takes it; rows: the validation people; eval_people: as how many people the eval photos count,
    None without eval predictions; guess: the estimate, None where a band has no people; notes gets what a reader must
    know of it. Raises UserError where an estimate is asked for without eval predictions.
    """
    if not isinstance(prior, str):
        return "given", 0.0
    if eval_people is None:
        if prior == "estimate":
            raise UserError(
                "the age mix is estimated from eval predictions and there are none: run predict, or --prior train"
            )
        if prior == "auto":
            notes.append("no eval predictions: calibrated for the age mix of the train people")
        return "train", 0.0
    if guess is None:
        if prior != "train":
            notes.append(
                f"the age mix of the eval photos is not estimated, as {nobody(rows.counts)}: calibrated for the age "
                "mix of the train people; --prior 0.42,0.28,0.30 gives the age mix"
            )
        return "train", 0.0
    if guess.unlike:
        notes.append(unlike_note(guess))
    if guess.ages is not None:
        notes.append(ages_note(guess.ages))
    if prior == "train":
        return "train", 0.0
    tried = [] if guess.tried is None else [tried_note(guess.tried, guess.prior, guess.ages is not None)]
    if prior == "estimate":
        notes += tried
        return "estimate", 1.0
    more = ""
    if guess.tried is None:
        few = int(rows.persons_by_band.argmin())
        who = f"{rows.persons_by_band[few]} validation people {BANDS[few]}"
        why = f"with only {who} it cannot be tried on your own people"
        more = "; more folds (FOLDS=all), where not all are trained, bring more"
    elif eval_people < FEW:
        why = f"as the eval photos count as only {eval_people} people (at least {FEW} are needed)"
    elif guess.beyond:
        why = "as the eval photos are more unlike your people than any set of these was"
    else:
        notes += tried
        if guess.step:
            return "estimate", guess.step
        why = "as it does not gain"
    notes.append(
        f"the estimate of the age mix is not used, {why}: calibrated for the age mix of the train people{more}; "
        "--prior estimate insists, --prior 0.42,0.28,0.30 gives the age mix"
    )
    return "train", 0.0


def check_prior(prior: str | tuple[float, float, float]) -> np.ndarray | None:
    """The three shares of a given prior, None for a named one; raises UserError for any other."""
    if isinstance(prior, str):
        if prior in ("train", "estimate", "auto"):
            return None
        raise UserError(f"the prior is train, estimate, auto or three shares such as 0.42,0.28,0.30, not {prior!r}")
    shares = np.asarray(prior, np.float64)
    if shares.shape != (len(BANDS),):
        raise UserError(f"the prior needs three shares, one for each age band, not {shares.size}")
    if not np.isfinite(shares).all() or (shares < 0).any():
        raise UserError(f"the prior {tuple(prior)} holds a share that is negative or not a number")
    if abs(shares.sum() - 1) > 1e-3:
        raise UserError(f"the shares of the prior sum to {shares.sum():.4g}, not to one")
    return shares / shares.sum()
