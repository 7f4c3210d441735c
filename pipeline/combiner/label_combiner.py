"""The combiner of the rivals that predict probabilities of labels: corrects them for the prior of the eval photos.

Such a network predicts for the class prior (shares by band x gender) it was trained on. Where a class is more common
among the eval photos, its labels' probabilities are multiplied by how much more (Saerens, Latinne, Decaestecker 2002),
once they have been calibrated on validation photos. Two offsets, of the young and of the old against the middle band,
are then chosen for macro-F1, as the specialists' two thresholds are: every system may tune as much, and where people
are few as little.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import LABELS, class_of_label, decode
from pipeline.combiner.calibration import Calibration, fit_calibration
from pipeline.combiner.class_prior import bands_of, factors, people_of, shares_of, with_bands
from pipeline.combiner.cross_fitting import inner_folds_of
from pipeline.combiner.expected_score import centre_of, expected_interval, expected_scores
from pipeline.combiner.held_out import held_out_table
from pipeline.combiner.notes import absence, interval_notes, shrinkage_notes
from pipeline.combiner.offsets import NONE, best_offsets, offset_score, with_offsets
from pipeline.combiner.prior_choice import check_prior, prior_kind
from pipeline.combiner.prior_estimate import Estimate
from pipeline.combiner.report import label_report
from pipeline.combiner.schema import TASK, VERSION, check_version
from pipeline.combiner.summary import LEVEL, estimate_told
from pipeline.combiner.threshold_choice import prior_of_eval
from pipeline.prediction import label_tables
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.runtime import store
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.thresholds import shrinkage_of, shrunk

NAMES = ("offset of the young", "offset of the old")
"""What is fitted, in words."""


class LabelCombiner:
    """Corrects probabilities of labels for a class prior, and predicts the label of greatest corrected probability.

    prior: as the ThresholdCombiner's: "train", three shares by band, "estimate" or "auto". draws: resamples behind
    every interval. seed: of those draws and of the inner folds. After fit: calibration_, shares_ (6,), train_ (6,),
    offsets_ (2,), report_ and held_out_ (a `held_out_table`; this one is not saved).
    """

    def __init__(self, prior: str | tuple[float, float, float] = "auto", seed: int = 0, draws: int = 200) -> None:
        self.prior = prior
        self.seed = seed
        self.draws = draws

    def fit(
        self,
        validation: pd.DataFrame,
        predictions: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
        caveats: Sequence[str] = (),
        photos_per_person: float | None = None,
    ) -> LabelCombiner:
        """Calibrate on out-of-fold predictions beside the truth, for the class prior of the eval photos.

        The arguments, and what raises UserError, are those of `ThresholdCombiner.fit`.
        """
        given, notes = check_prior(self.prior), list(notes)
        rows, probabilities = label_tables.labelled_probabilities(validation)
        more_caveats, more_notes = absence(rows.counts, NAMES, NONE)
        notes, caveats = [*notes, *more_notes], [*caveats, *more_caveats]
        photos_per_person = photos_per_person or len(rows.person) / rows.persons
        shares = people_of(rows)
        self.train_ = train = shares_of(shares * rows.people)
        self.calibration_ = fit_calibration(probabilities, rows.label, rows.persons)
        eval = (
            None if predictions is None else EvalPredictions(*label_tables.by_network(predictions), photos_per_person)
        )
        guess = None
        if eval is not None and given is None and not more_notes:
            score = offset_score(rows, self.calibration_.log(probabilities))
            guess = prior_of_eval(rows, eval, self.draws, self.seed, score)
        kind, toward = prior_kind(self.prior, rows, None if eval is None else eval.people, guess, notes)
        possible, prior = self._choose_prior(given, shares, guess, kind, toward)
        weights = factors(self.shares_, train)[class_of_label(rows.label)]
        shrinkage = shrinkage_of(rows.persons_by_band)
        notes += shrinkage_notes(shrinkage, rows.persons_by_band, NAMES, "0")
        self.offsets_ = shrunk(
            best_offsets(self._scores(probabilities), rows.label, weights), NONE, shrinkage, decimals=None
        )
        held_out = self._cross_fitted(rows, probabilities, weights, shrinkage)
        self.held_out_ = held_out_table(
            rows, probabilities.argmax(1), held_out, with_offsets(self._scores(probabilities), self.offsets_)
        )
        notes += [] if eval is None else interval_notes(rows.persons_by_band, bands_of(possible.mean(0)))
        self.report_ = {
            "people": rows.persons,
            "photos": len(rows.person),
            "photos_per_person": photos_per_person,
            "people_by_band": rows.persons_by_band.tolist(),
            "folds": rows.folds,
            "dropped": rows.dropped,
            "age_mix": prior,
            "temperature": self.calibration_.temperature,
            "offsets": list(self.offsets_),
            "shrinkage": shrinkage.tolist(),
            "scores": {
                "train": _scores(rows.label, probabilities, held_out),
                "eval": _scores(rows.label, probabilities, held_out, weights),
            },
            "expected": None if eval is None else self._expected(rows, held_out, possible, eval, caveats),
            "caveats": list(caveats),
            "notes": notes,
        }
        return self

    def _choose_prior(
        self, given: NDArray | None, shares: NDArray, guess: Estimate | None, kind: str, toward: float
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Set shares_; returns the priors that are possible (B, 6), and what the report holds of the prior.

        given: (3,) shares by band; shares: (6,) of the validation people; the others as `prior_kind` has them.
        """
        prior = {"kind": kind, "train": bands_of(shares).tolist()}
        self.shares_ = self.train_ if given is None else with_bands(given, self.train_)
        possible = self.shares_[None]
        if guess is not None:
            # the genders inside a band stay the train people's: a weak network tells six shares badly
            possible = with_bands(bands_of(guess.draws), self.train_)
            self.shares_ = self.train_ + toward * (with_bands(guess.prior, self.train_) - self.train_)
            prior |= estimate_told(guess)
        prior["used"] = bands_of(shares if kind == "train" else self.shares_).tolist()
        return possible, prior

    def _cross_fitted(
        self, rows: LabelledPredictions, probabilities: NDArray, weights: NDArray, shrinkage: NDArray
    ) -> NDArray[np.int64]:
        """(n,) labels, each as people of other inner folds would have it: calibration and offsets are theirs.

        probabilities: (n, 18); weights: (n,) of the photos; shrinkage: (2,) of the offsets.
        """
        labels, fold = np.empty(len(rows.label), np.int64), inner_folds_of(rows, self.seed)
        for k in np.unique(fold):
            here = (fold == k)[rows.person]
            calibration = fit_calibration(probabilities[~here], rows.label[~here], len(np.unique(rows.who[fold != k])))
            scores = self._scores(probabilities, calibration)
            offsets = shrunk(
                best_offsets(scores[~here], rows.label[~here], weights[~here]), NONE, shrinkage, decimals=None
            )
            labels[here] = with_offsets(scores[here], offsets)
        return labels

    def _expected(
        self,
        rows: LabelledPredictions,
        labels: NDArray,
        possible: NDArray,
        eval: EvalPredictions,
        caveats: Sequence[str],
    ) -> dict[str, Any]:
        """The score to expect of cross-fitted labels (n,), where the eval prior may be any that is possible (B, 6)."""
        centre = centre_of(rows, labels, possible)
        weights = rows.drawn_again(self.draws, np.random.default_rng(self.seed))
        again = expected_scores(rows, labels, possible, weights, eval.people, self.seed)
        interval = expected_interval(centre, again, rows, possible.mean(0), LEVEL)
        return {
            "macro_f1": centre,
            "interval": interval,
            "level": LEVEL,
            "photos": len(eval.predicted_age),
            "caveats": list(caveats),
        }

    def _scores(self, probabilities: NDArray, calibration: Calibration | None = None) -> NDArray[np.float64]:
        """(n, 18) the logarithm of corrected probabilities (n, 18); calibration: where it is not the fitted one."""
        times = factors(self.shares_, self.train_)[class_of_label(np.arange(LABELS))]
        return (calibration or self.calibration_).log(probabilities) + np.log(np.maximum(times, 1e-9))

    def predict(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """The label of each photo, folds averaged, in order of appearance: photo, label, mask, gender, band."""
        rows = label_tables.averaged(predictions)
        label = with_offsets(self._scores(label_tables.probabilities_of(rows)), self.offsets_)
        mask, gender, bands = decode(label)
        return pd.DataFrame({"photo": rows["photo"], "label": label, "mask": mask, "gender": gender, "band": bands})

    def told(self) -> str:
        """What was fitted, in a few words."""
        return f"the offsets {self.offsets_[0]:+.2f} and {self.offsets_[1]:+.2f}"

    def report(self) -> str:
        """What was fitted as a few lines of plain text."""
        return label_report(self.report_)

    def save(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        prior = self.prior if isinstance(self.prior, str) else list(self.prior)
        content = {
            "task": TASK,
            "version": VERSION,
            "kind": "labels",
            "settings": {"prior": prior, "seed": self.seed, "draws": self.draws},
        }
        calibration = {"temperature": self.calibration_.temperature, "biases": self.calibration_.biases.tolist()}
        fitted = calibration | {"offsets": list(self.offsets_)}
        priors = {"shares": self.shares_.tolist(), "train": self.train_.tolist()}
        store.write_json(path, content | fitted | priors | {"report": self.report_})

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> LabelCombiner:
        """What `save` wrote, read as JSON. Raises UserError when it is of another version or task."""
        check_version(content)
        self = cls(**content["settings"])
        biases = np.array(content["biases"])
        self.calibration_ = Calibration(float(content["temperature"]), biases)
        self.offsets_ = tuple(map(float, content["offsets"]))
        self.shares_, self.train_ = np.array(content["shares"]), np.array(content["train"])
        self.report_ = content["report"]
        return self


def _scores(
    label: NDArray, probabilities: NDArray, held_out: NDArray, weights: NDArray | None = None
) -> dict[str, dict[str, float]]:
    """Macro-F1 of the likeliest labels and of the cross-fitted ones.

    label: (n,) true; probabilities: (n, 18); held_out: (n,) the cross-fitted labels; weights: (n,).
    """
    return {
        "plain": {"macro_f1": macro_f1(label, probabilities.argmax(1), weights)},
        "cross_fitted": {"macro_f1": macro_f1(label, held_out, weights)},
    }
