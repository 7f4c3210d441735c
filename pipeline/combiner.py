"""The combiner: three specialists' answers and the mix of ages in, one of 18 labels out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from models.errors import UserError
from models.labels import BANDS, band, encode
from pipeline import store
from pipeline.answers import COLUMNS, Known, average_folds, by_network, cell, known
from pipeline.calibration import Eval, calibrate, mix_of_eval
from pipeline.mix_estimate import Estimate
from pipeline.runs import COMBINER_VERSION as VERSION
from pipeline.summary import report, summary, tried_note, unlike_note

FEW = 30
"""Of eval photos that count as fewer people the default does not estimate the mix."""
TASK = "face18: mask x gender x age band"


class Combiner(BaseEstimator):
    """Chooses two age thresholds for the mix of ages of the eval photos, and fuses answers to labels.

    prior: the mix of age bands to calibrate for: "train" (that of the validation people), three shares,
    "estimate" (from the eval answers), or "auto" (as far toward "estimate" as did not lose on sets of one's own
    people; not at all where these are too few, where the eval photos count as fewer than 30 people, or where they are
    more unlike than any such set).
    bandwidth: of the Gaussian kernel that spreads each validation answer, in years, or "auto" (cross-fitting
    chooses). draws: resamples behind every interval. seed: of those draws.

    After fit: thresholds_ (2 years), mix_ (3 shares), report_ (a dictionary for JSON: what it was fitted
    on and what it found) and calibration_ (the arrays behind it, with the score surface; not saved).
    """

    def __init__(
        self,
        prior: str | tuple[float, float, float] = "auto",
        bandwidth: float | str = "auto",
        draws: int = 200,
        seed: int = 0,
    ) -> None:
        self.prior = prior
        self.bandwidth = bandwidth
        self.draws = draws
        self.seed = seed

    def fit(
        self,
        validation: pd.DataFrame,
        predictions: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
        marks: Sequence[str] = (),
        photos_per_person: float | None = None,
    ) -> Combiner:
        """Calibrate on out-of-fold answers beside the truth, for the mix of the eval photos.

        validation: a row per photo with photo, person, fold, mask, gender, age and the answers;
        predictions: the eval answers, a row per photo and fold; notes: sentences for the report to begin
        with; marks: words to set beside every score of it; photos_per_person: how many eval photos count
        as one person, by default as many as a validation person has. Raises UserError for tables or a prior
        that cannot be used, and when an age band has no people.
        """
        given = check_prior(self.prior)
        bandwidth = check_bandwidth(self.bandwidth)
        rows = known(validation)
        check_bands(rows)
        if photos_per_person is None:
            photos_per_person = len(rows.person) / rows.people
        eval = None if predictions is None else Eval(*by_network(predictions), photos_per_person)
        notes = list(notes)
        guess = None if eval is None or given is not None else mix_of_eval(rows, eval, self.draws, self.seed)
        kind, toward = mix_kind(self.prior, rows, None if eval is None else eval.people, guess, notes)
        mix = rows.counts / rows.people if given is None else given
        found = calibrate(rows, mix, eval, bandwidth, self.draws, self.seed, guess, toward)
        self.thresholds_ = found.thresholds
        self.mix_ = found.shares.reshape(len(BANDS), -1).sum(1)
        self.calibration_ = found
        self.report_ = summary(found, kind, eval, notes, self.seed, marks) | {"photos_per_person": photos_per_person}
        return self

    def predict(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """The fused label of each photo, folds averaged, in order of appearance.

        Returns photo, label, mask, gender, band and the averaged answers.
        """
        rows = average_folds(predictions)
        mask, gender = np.divmod(cell(rows), 2)
        bands = band(rows["age_years"], self.thresholds_)
        labels = {"label": encode(mask, gender, bands), "mask": mask, "gender": gender, "band": bands}
        return pd.concat([rows[["photo"]], pd.DataFrame(labels), rows[list(COLUMNS)]], axis=1)

    def told(self) -> str:
        """What was fitted, in a few words."""
        return f"the thresholds {self.thresholds_[0]:.1f} and {self.thresholds_[1]:.1f}"

    def report(self) -> str:
        """What was fitted as a few lines of plain text."""
        return report(self.report_)

    def to_dict(self) -> dict[str, Any]:
        """The fitted combiner as plain values for JSON, with its schema version."""
        return {
            "task": TASK,
            "version": VERSION,
            "settings": self.get_params(),
            "thresholds": list(self.thresholds_),
            "mix": list(map(float, self.mix_)),
            "report": self.report_,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Combiner:
        """The combiner that `to_dict` described. Raises UserError for another version or task."""
        check_version(content)
        settings: dict[str, Any] = dict(content["settings"])
        if isinstance(settings["prior"], list):
            settings["prior"] = tuple(settings["prior"])
        self = cls(**settings)
        self.thresholds_ = (float(content["thresholds"][0]), float(content["thresholds"][1]))
        self.mix_ = np.array(content["mix"])
        self.report_ = content["report"]
        return self

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all."""
        store.write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Combiner:
        """Read what `save` wrote. Raises UserError when it is damaged, or of another version or task."""
        return cls.from_dict(store.read_json(Path(path)))


def check_version(content: dict[str, Any]) -> None:
    """Raises UserError for a combiner file of another version or task."""
    if content.get("task") != TASK:
        raise UserError("the combiner file is for another task: run calibrate again")
    if content.get("version") != VERSION:
        raise UserError(
            f"the combiner file is of version {content.get('version')}, this code reads {VERSION}: run calibrate again"
        )


def check_bands(rows: Known) -> None:
    """Raises UserError where an age band has no validation people."""
    if (rows.counts == 0).any():
        absent = " and ".join(BANDS[b] for b in np.flatnonzero(rows.counts == 0))
        raise UserError(f"no validation person is {absent}: train more folds (FOLDS=all) or bring such people")


def mix_kind(
    prior: str | tuple[float, ...], rows: Known, eval_people: int | None, guess: Estimate | None, notes: list[str]
) -> tuple[str, float]:
    """Which mix a prior means, "given", "train" or "estimate", and how far toward the estimate labels are chosen for.

    eval_people: as how many people the eval photos count, None without eval answers; guess: the estimate; notes gets
    what a reader must know of it. Raises UserError where an estimate is asked for without eval answers.
    """
    if not isinstance(prior, str):
        return "given", 0.0
    if eval_people is None:
        if prior == "estimate":
            raise UserError("the mix is estimated from eval answers and there are none: run predict, or --prior train")
        if prior == "auto":
            notes.append("no eval answers: calibrated for the mix of the train people")
        return "train", 0.0
    assert guess is not None, "there are eval answers"
    if guess.unlike:
        notes.append(unlike_note(guess))
    if prior == "train":
        return "train", 0.0
    tried = [] if guess.tried is None else [tried_note(guess.tried, guess.mix)]
    if prior == "estimate":
        notes += tried
        return "estimate", 1.0
    more = ""
    if guess.tried is None:
        few = int(rows.counts.argmin())
        why = f"with only {rows.counts[few]} validation people {BANDS[few]} it cannot be tried on your own people"
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
        f"the estimate of the age mix is not used, {why}: calibrated for the mix of the train people{more}; --prior "
        "estimate insists, --prior 0.42,0.28,0.30 gives the mix"
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


def check_bandwidth(bandwidth: float | str) -> float | None:
    """The bandwidth in years, None for "auto"; raises UserError for any other."""
    if bandwidth == "auto":
        return None
    if isinstance(bandwidth, str) or not 0 <= bandwidth <= 20:
        raise UserError(f'the bandwidth is "auto" or from 0 to 20 years, not {bandwidth!r}')
    return float(bandwidth)
