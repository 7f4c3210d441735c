"""The specialists' combiner: three specialists' predictions and a class prior in, one of 18 labels out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.errors import UserError
from models.labels import BAND_STARTS, LABELS, decode, fused
from pipeline.combiner.class_prior import bands_of, weighted
from pipeline.combiner.held_out import held_out_table
from pipeline.combiner.judging import held_out_labels
from pipeline.combiner.mask_prior import MaskPrior, masks_of
from pipeline.combiner.notes import absence
from pipeline.combiner.prior_choice import check_prior, prior_kind
from pipeline.combiner.report import report
from pipeline.combiner.schema import TASK, VERSION, check_version
from pipeline.combiner.state_priors import by_state
from pipeline.combiner.summary import THRESHOLDS, summary
from pipeline.combiner.threshold_choice import choose_thresholds, prior_of_eval
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import labelled_predictions
from pipeline.prediction.tables import COLUMNS, average_folds, by_network, cell
from pipeline.runtime import store


class ThresholdCombiner:
    """Chooses two age thresholds for the class prior of the eval photos, and fuses predictions into labels.

    prior: the shares of the age bands to calibrate for: "train" (those of the validation people), three shares,
    "estimate" (from the eval predictions), or "auto" (as far toward "estimate" as did not lose on sets of one's own
    people; not at all where these are too few, where the eval photos count as fewer than 30 people, or where they are
    more unlike than any such set and people of other ages inside the bands do not explain them).
    bandwidth: of the Gaussian kernel that spreads each validation prediction, in years, or "auto" (cross-fitting
    chooses). draws: resamples behind every interval. seed: of those draws.

    The mask states of the eval photos are estimated unless the prior is "train" or these photos count as fewer than 30
    people; photos held out are weighted to them.

    After fit: thresholds_ (2 years), prior_ (3 shares), report_ (a dictionary for JSON: what it was fitted on and what
    it found), held_out_ (a `held_out_table`) and masks_ (a MaskPrior, or None); the last two are not saved.
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with, by name, as scikit-learn asks an estimator; its base class is not worth its import."""
        return {"bandwidth": self.bandwidth, "draws": self.draws, "prior": self.prior, "seed": self.seed}

    def fit(
        self,
        validation: pd.DataFrame,
        predictions: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
        caveats: Sequence[str] = (),
        photos_per_person: float | None = None,
        masks: MaskPrior | str | None = "estimate",
    ) -> ThresholdCombiner:
        """Calibrate on out-of-fold predictions beside the truth, for the class prior of the eval photos.

        validation: a row per photo with photo, person, fold, mask, gender, age and the predictions;
        predictions: those about eval photos, a row per photo and fold; notes: sentences for the report to begin
        with; caveats: words to set beside every score of it; photos_per_person: how many eval photos count
        as one person, by default as many as a validation person has; masks: the eval photos' mask states where
        they are told already, None as in train. Beside an age band without people a threshold is not fitted: it is the
        band's own age. Raises UserError for tables or a prior that cannot be used.
        """
        given = check_prior(self.prior)
        bandwidth = check_bandwidth(self.bandwidth)
        rows = labelled_predictions(validation)
        if photos_per_person is None:
            photos_per_person = len(rows.person) / rows.persons
        eval = None if predictions is None else _arrays(predictions, photos_per_person)
        more_caveats, more_notes = absence(rows.counts, THRESHOLDS, BAND_STARTS)
        notes, caveats = [*notes, *more_notes], [*caveats, *more_caveats]
        if isinstance(masks, str):
            known = eval is None or self.prior == "train"
            masks = None if known else masks_of(rows, eval, self.draws, self.seed, notes)
        self.masks_ = masks
        if masks is not None and masks.shifted:
            rows = weighted(rows, masks.weights(rows))
        known = eval is None or given is not None or bool(more_notes)
        guess = None if known else prior_of_eval(rows, eval, self.draws, self.seed)
        kind, toward = prior_kind(self.prior, rows, None if eval is None else eval.people, guess, notes)
        prior = rows.counts / rows.people if given is None else given
        found = choose_thresholds(rows, prior, eval, bandwidth, self.draws, self.seed, guess, toward)
        self.thresholds_ = found.thresholds
        self.prior_ = bands_of(found.shares)
        held_out = held_out_labels(found, self.seed)
        plain, in_sample = (
            fused(found.rows.cell, found.rows.predicted_age, pair) for pair in (BAND_STARTS, found.thresholds)
        )
        if eval is not None and masks is not None:
            masks, found = by_state(masks, eval, found, self.seed)
        self.held_out_ = held_out_table(found.eval_like, plain, held_out, in_sample)
        predicted = None
        if predictions is not None:
            predicted = np.bincount(self.predict(predictions)["label"], minlength=LABELS)
        self.report_ = summary(found, kind, eval, notes, held_out, self.seed, caveats, masks, predicted) | {
            "photos_per_person": photos_per_person
        }
        return self

    def predict(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """The fused label of each photo, folds averaged, in order of appearance.

        Returns photo, label, mask, gender, band and the averaged predictions.
        """
        rows = average_folds(predictions)
        label = fused(cell(rows), rows["age_years"], self.thresholds_)
        mask, gender, bands = decode(label)
        labels = {"label": label, "mask": mask, "gender": gender, "band": bands}
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
            "age_mix": list(map(float, self.prior_)),
            "report": self.report_,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ThresholdCombiner:
        """The combiner that `to_dict` described. Raises UserError for another version or task."""
        check_version(content)
        settings: dict[str, Any] = dict(content["settings"])
        if isinstance(settings["prior"], list):
            settings["prior"] = tuple(settings["prior"])
        self = cls(**settings)
        self.thresholds_ = (float(content["thresholds"][0]), float(content["thresholds"][1]))
        self.prior_ = np.array(content["age_mix"])
        self.report_ = content["report"]
        return self

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all."""
        store.write_json(Path(path), self.to_dict())


def check_bandwidth(bandwidth: float | str) -> float | None:
    """The bandwidth in years, None for "auto"; raises UserError for any other."""
    if bandwidth == "auto":
        return None
    if isinstance(bandwidth, str) or not 0 <= bandwidth <= 20:
        raise UserError(f'the bandwidth is "auto" or from 0 to 20 years, not {bandwidth!r}')
    return float(bandwidth)


def _arrays(predictions: pd.DataFrame, photos_per_person: float) -> EvalPredictions:
    age, gender, mask = by_network(predictions)
    return EvalPredictions(age, gender, photos_per_person, mask)
