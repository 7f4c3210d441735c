"""One trial of estimating the eval prior, by every method, and the metrics over many: what the scripts beside share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pooled_line
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.labels import LABELS, fused
from pipeline.combiner.class_prior import bands_of
from pipeline.combiner.cross_fitting import cross_fitted
from pipeline.combiner.evidence import em
from pipeline.combiner.expected_score import centre_of, choice_interval
from pipeline.combiner.judging import PRIORS
from pipeline.combiner.prior_choice import prior_kind
from pipeline.combiner.second_opinion import second_opinion
from pipeline.combiner.summary import LEVEL
from pipeline.combiner.threshold_choice import ThresholdChoice, choose_thresholds, prior_of_eval
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.metrics import macro_f1
from pipeline.scoring.surface import BinnedAges

BINS = 10


def binned_em(rows: LabelledPredictions, eval: EvalPredictions, seed: int = 0) -> NDArray[np.float64]:
    """EM on histograms over ten quantile bins of the predicted age (Saerens et al. 2002): nothing smoothed."""
    edges = np.quantile(rows.predicted_age, np.arange(1, BINS) / BINS)
    table = _table(rows.band, np.digitize(rows.predicted_age, edges), BINS) + 1e-9
    seen = np.bincount(np.digitize(eval.predicted_age, edges).ravel(), minlength=BINS)
    return em(table / table.sum(1, keepdims=True), seen.astype(float))


def corrected_em(rows: LabelledPredictions, eval: EvalPredictions, seed: int = 0) -> NDArray[np.float64]:
    """EM on calibrated probabilities of the bands (after Alexandari et al. 2020): a logistic fit with intercepts."""
    found = band_probabilities(rows)
    bins = np.arange(0.25, 120, 0.5)
    likelihood = found(bins).T / np.bincount(rows.band)[:, None]
    return em(likelihood, np.histogram(eval.predicted_age, np.arange(0, 120.1, 0.5))[0].astype(float))


def black_box_shift(rows: LabelledPredictions, eval: EvalPredictions, seed: int = 0) -> NDArray[np.float64]:
    """The confusions of the likeliest band, inverted (Lipton et al. 2018); negative shares are cut off."""
    found = band_probabilities(rows)
    weight = 1 / np.bincount(rows.band)
    confusion = _table(rows.band, (found(rows.predicted_age) * weight).argmax(1), 3)
    seen = np.bincount((found(eval.predicted_age.ravel()) * weight).argmax(1), minlength=3) / eval.predicted_age.size
    prior = np.linalg.lstsq((confusion / confusion.sum(1, keepdims=True)).T, seen, rcond=None)[0]
    prior = np.maximum(prior, 1e-3)
    return prior / prior.sum()


def density_ml(
    rows: LabelledPredictions, eval: EvalPredictions, seed: int = 0, bandwidth: float = 1.0
) -> NDArray[np.float64]:
    """Greatest likelihood on kernel densities of the predictions of each band (after Moreo et al. 2024)."""
    edges = np.arange(0, 120.1, 0.5)
    bend = np.arange(-20, 21) * 0.5
    kernel = np.exp(-0.5 * (bend / bandwidth) ** 2)
    table = [np.convolve(np.histogram(rows.predicted_age[rows.band == b], edges)[0], kernel, "same") for b in range(3)]
    table = np.stack(table) + 1e-9
    return em(table / table.sum(1, keepdims=True), np.histogram(eval.predicted_age, edges)[0].astype(float))


METHODS: dict[str, Callable[..., NDArray]] = {
    "binned EM": binned_em,
    "EM on calibrated probabilities": corrected_em,
    "BBSE": black_box_shift,
    "kernel densities": density_ml,
    "pooled line (the old one)": pooled_line.estimate,
}


def _table(band: NDArray, cell: NDArray, cells: int) -> NDArray[np.float64]:
    return np.bincount(band * cells + cell, minlength=3 * cells).reshape(3, cells).astype(float)


def band_probabilities(rows: LabelledPredictions) -> Callable[[NDArray], NDArray]:
    """(n, 3) probabilities of the bands given predicted ages (n,), by a logistic fit on their powers."""

    def features(age: NDArray) -> NDArray:
        unit = (np.ravel(age) - 40) / 15
        return np.stack([unit, unit**2, unit**3], axis=1)

    model = LogisticRegression(C=100.0, max_iter=500).fit(features(rows.predicted_age), rows.band)
    return lambda age: model.predict_proba(features(age))


def trial(
    rows: LabelledPredictions, eval: EvalPredictions, truth: LabelledPredictions, seed: int, resamples: int = 100
) -> dict[str, Any]:
    """All metrics of one set of eval photos: what each method makes of it, and what the truth is.

    rows: the people who calibrate; truth: the eval photos beside their labels, which no method sees.
    """
    prior, train = truth.counts / truth.people, rows.counts / rows.people
    age = eval.predicted_age.mean(1)

    def score(thresholds: tuple[float, float]) -> float:
        return macro_f1(truth.label, fused(truth.cell, age, thresholds))

    start = time.perf_counter()
    guess = prior_of_eval(rows, eval, resamples, seed)
    _, toward = prior_kind("auto", rows, eval.people, guess, [])
    found = {
        step: choose_thresholds(rows, train, eval, 2.0, resamples, seed, guess, step) for step in {0.0, toward, 1.0}
    }
    seconds = time.perf_counter() - start
    labels = {step: fused(truth.cell, age, one.thresholds) for step, one in found.items()}
    reached = {step: macro_f1(truth.label, given) for step, given in labels.items()}
    rivals = {name: method(rows, eval, seed) for name, method in METHODS.items()}

    def given(shares: NDArray) -> float:
        return score(choose_thresholds(rows, shares, eval, 2.0, 1, seed).thresholds)

    low, high = np.quantile(bands_of(guess.draws), [0.025, 0.975], axis=0)
    return {
        "age_mix": prior,
        "train": train,
        "people": truth.people,
        "score": {
            "30/60": score((30, 60)),
            "train age mix": reached[0.0],
            "auto": reached[toward],
            "estimate": reached[1.0],
            "true age mix": given(prior),
            "best possible": BinnedAges(age, truth.label, truth.cell).surface().values.max(),
        }
        | {name: given(shares) for name, shares in rivals.items()},
        "share": {
            "estimate": guess.prior,
            "ages inside bands as in train": guess.prior if guess.ages is None else guess.ages.as_in_train,
            "greatest likelihood": guess.raw,
            **rivals,
        },
        "covers age mix": (low <= prior) & (prior <= high),
        "unlike": guess.unlike,
        "ages": guess.ages is not None,
        "toward": toward,
        "expected": {
            "auto": _expected(found[toward], eval, seed),
            "estimate": _expected(found[1.0], eval, seed),
            "second": _second(found[toward], eval, labels[toward], seed),
        },
        "seconds": seconds,
    }


def _expected(found: ThresholdChoice, eval: EvalPredictions, seed: int) -> list[float]:
    labels = cross_fitted(found.rows, found.priors[:PRIORS], found.bandwidth, found.shrinkage, seed)
    centre = centre_of(found.eval_like, labels, found.possible)
    return [centre, *(choice_interval(found, eval.people, centre, seed=seed) or (None, None))]


def _second(found: ThresholdChoice, eval: EvalPredictions, labels: NDArray, seed: int) -> list[float | None]:
    held_out = cross_fitted(found.rows, found.priors[:PRIORS], found.bandwidth, found.shrinkage, seed)
    counts, rows = np.bincount(labels, minlength=LABELS), found.eval_like
    told = second_opinion(rows, held_out, counts, found.possible, found.weights, eval.people, LEVEL, seed, found.ages)
    return [None] * 3 if told is None else [told["macro_f1"], *told["interval"]]


def gather(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of one world, or table, over its trials."""
    scores = {name: np.array([r["score"][name] for r in results]) for name in results[0]["score"]}
    priors, train = (np.array([r[name] for r in results]) for name in ("age_mix", "train"))
    thirds = np.array_split(np.argsort(np.abs(priors - train).max(1), kind="stable"), 3)
    plain = scores["30/60"].mean()
    errors = {
        name: np.abs(np.array([r["share"][name] for r in results]) - priors).max(1) for name in results[0]["share"]
    }
    return {
        "trials": len(results),
        "eval people": round(float(np.mean([r["people"] for r in results])), 1),
        "macro_f1": {name: round(float(v.mean()), 4) for name, v in scores.items()},
        "recovered of what the true age mix gains": {
            name: round(float((v.mean() - plain) / (scores["true age mix"].mean() - plain)), 3)
            for name, v in scores.items()
            if name not in ("30/60", "true age mix")
        },
        "above the train age mix": {
            name: {
                "mean": interval(scores[name] - scores["train age mix"]),
                "by third of distance from train": [
                    round(float((scores[name] - scores["train age mix"])[t].mean()), 4) for t in thirds
                ],
            }
            for name in ("auto", "estimate", "binned EM", "true age mix")
        },
        "largest share error": {name: round(float(error.mean()), 4) for name, error in errors.items()},
        "more than the estimate's": {
            name: interval(error - errors["estimate"]) for name, error in errors.items() if name != "estimate"
        },
        "age mix covered at 95 %": np.mean([r["covers age mix"] for r in results], axis=0).round(3).tolist(),
        "ages shifted inside bands": round(float(np.mean([r.get("ages", False) for r in results])), 3),
        "warned": round(float(np.mean([r["unlike"] for r in results])), 3),
        "estimate used": {
            str(step): round(float(np.mean([r["toward"] == step for r in results])), 3) for step in (0.0, 0.5, 1.0)
        },
        "expected score": {
            name: _coverage(np.array([r["expected"][name] for r in results], float), scores[of])
            for name, of in (("auto", "auto"), ("estimate", "estimate"), ("second", "auto"))
            if name in results[0]["expected"]
        },
        "seconds": round(float(np.median([r["seconds"] for r in results])), 2),
    }


def _coverage(expected: NDArray, reached: NDArray) -> dict[str, Any]:
    told = np.isfinite(expected).all(1)
    if not told.any():
        return {"without an interval": len(told)}
    expected, reached = expected[told], reached[told]
    return {
        "without an interval": int((~told).sum()),
        "covered at 90 %": round(float(np.mean((expected[:, 1] <= reached) & (reached <= expected[:, 2]))), 3),
        "signed error": interval(expected[:, 0] - reached),
        "mean width": round(float(np.mean(expected[:, 2] - expected[:, 1])), 4),
    }


def interval(values: Iterable[float]) -> list[float]:
    """Mean and 95 % interval of the mean over trials."""
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(v), 4) for v in (values.mean(), values.mean() - half, values.mean() + half)]


def kept(path: Path | None) -> dict[tuple[str, int], dict[str, Any]]:
    """The trials in a file of JSON lines: {(world, seed): metrics}."""
    lines = path.read_text().splitlines() if path and path.is_file() else []
    return {(line["scenario"], line["seed"]): line["metrics"] for line in map(json.loads, lines)}


def run_all(
    worlds: dict[str, Callable[[int], dict[str, Any]]], trials: int, jobs: int, keep: Path | None = None
) -> dict[str, Any]:
    """Gathered metrics of each world, ten trials of each in turn; those in the file `keep` are not run again."""
    done = kept(keep)
    with Parallel(jobs) as parallel:
        for start in range(0, trials, 10):
            for name, one in worlds.items():
                seeds = [s for s in range(start, min(start + 10, trials)) if (name, s) not in done]
                found = parallel(delayed(one)(seed) for seed in seeds)
                lines = [
                    json.dumps({"scenario": name, "seed": seed, "metrics": metrics}, default=_plain)
                    for seed, metrics in zip(seeds, found, strict=True)
                ]
                if keep:
                    with keep.open("a") as file:
                        file.writelines(line + "\n" for line in lines)
                done |= {(name, seed): json.loads(line)["metrics"] for seed, line in zip(seeds, lines, strict=True)}
    return {name: gather([done[name, seed] for seed in range(trials)]) for name in worlds}


def _plain(value: Any) -> Any:
    """Arrays and numpy numbers as JSON knows them."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
