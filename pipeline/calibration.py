"""From answers to thresholds, and to the score they can be expected to reach on given eval photos."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, LABELS, band
from pipeline.answers import Known
from pipeline.prior import CLASSES, AnswerModel, Estimate, estimate, person_weights
from pipeline.scoring import counts_of, f1_of
from pipeline.thresholds import Surface, choose, class_of, crossings

FEW = 30
"""Below so many people in a band a threshold is drawn toward the fallback, and no mix is estimated."""
BANDWIDTH = 2.0
"""The bandwidth, in years, unless cross-fitting clearly prefers another."""


@dataclass(frozen=True)
class Eval:
    """Eval answers as arrays, n photos by K networks; NaN where a network is missing.

    answer (n, K) years; gender (n, K) answered; photos_per_person: how many photos count as one person.
    """

    answer: NDArray[np.float64]
    gender: NDArray[np.int64]
    photos_per_person: float

    @property
    def people(self) -> int:
        """How many people the photos count as."""
        return max(2, round(len(self.answer) / self.photos_per_person))

    @property
    def removed(self) -> float:
        """The variance of an age answer, in squared years, that averaging the networks removes."""
        times = np.isfinite(self.answer).sum(1)
        several = times > 1
        if not several.any():
            return 0.0
        inside = np.nanvar(self.answer[several], axis=1, ddof=1)
        return float((inside * (1 - 1 / times[several])).sum() / len(times))


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    thresholds: 2 years; shares (6,), mixes (B, 6): the mix by band * 2 + gender and plausible others;
    estimate: how it was estimated, None where it was given; rows: the validation answers as they would be
    after averaging; keep: the part of their residuals kept; fallback, pull (2,): the thresholds of last
    resort and how far each was drawn to them; each (B, 2): the thresholds of each resample.
    """

    thresholds: tuple[float, float]
    shares: NDArray[np.float64]
    mixes: NDArray[np.float64]
    estimate: Estimate | None
    rows: Known
    keep: float
    fallback: tuple[float, float]
    pull: NDArray[np.float64]
    surface: Surface
    weights: NDArray[np.int64]
    bandwidth: float

    @property
    def train(self) -> NDArray[np.float64]:
        """(6,) the validation people's shares."""
        return people_of(self.rows)

    @property
    def photo_weights(self) -> NDArray[np.float64]:
        """(n,) how much each validation photo counts for the mix."""
        return factors(self.shares, self.train)[class_of(self.rows.label)]


def calibrate(
    rows: Known,
    mix: NDArray | None,
    eval: Eval | None,
    bandwidth: float | None = BANDWIDTH,
    draws: int = 200,
    seed: int = 0,
) -> Calibration:
    """Thresholds for the mix, or for the mix estimated from the eval answers where mix is None.

    rows: out-of-fold answers; mix: (3,) shares by band; eval: needed for the estimate, and to know how
    much averaging several networks narrows the answers; bandwidth: None lets cross-fitting choose.
    """
    rng = np.random.default_rng(seed)
    weights = person_weights(rows, draws, rng)
    train = people_of(rows)
    found = None
    if mix is None:
        assert eval is not None, "a mix is estimated from eval answers"
        found = estimate(rows, eval.answer, eval.gender, weights, eval.photos_per_person, rng)
        shares, mixes = found.shares, found.draws
    else:
        inside = train.reshape(len(BANDS), -1)
        shares = (mix[:, None] * inside / inside.sum(1, keepdims=True)).ravel()
        mixes = shares[None]
    rows, keep = narrowed(rows, 0.0 if eval is None else eval.removed)
    fallback = crossings(rows.age, rows.answer)
    if bandwidth is None:
        from pipeline.judging import best_bandwidth

        bandwidth = best_bandwidth(rows, shares, seed)
    best, surface = choose(rows.answer, rows.label, rows.cell, factors(mixes, train), bandwidth, fallback)
    pull = np.array([few(rows.counts[:2].min()), few(rows.counts[1:].min())])
    thresholds = tuple(float(np.round((1 - p) * t + p * f, 6)) for p, t, f in zip(pull, best, fallback, strict=True))
    return Calibration(thresholds, shares, mixes, found, rows, keep, fallback, pull, surface, weights, bandwidth)


def few(people: int) -> float:
    """How far a threshold beside a band of so few people is drawn toward the fallback."""
    return 0.0 if people >= FEW else 1 - people / (people + FEW)


def people_of(rows: Known) -> NDArray[np.float64]:
    """(6,) shares of the people by band * 2 + gender."""
    kind = rows.band[rows.first] * 2 + rows.gender[rows.first]
    return np.bincount(kind, minlength=CLASSES) / rows.people


def factors(shares: NDArray, train: NDArray) -> NDArray[np.float64]:
    """How often a photo of each class counts, so that train people stand for the shares; (..., 6)."""
    return np.where(train > 0, shares / np.maximum(train, 1e-12), 0.0)


def narrowed(rows: Known, removed: float) -> tuple[Known, float]:
    """Single-network answers drawn in to spread as averages do: the residuals lose the removed variance."""
    if removed <= 0:
        return rows, 1.0
    expected = AnswerModel(rows, (rows.answer.min(), rows.answer.max())).line()[rows.person]
    residual = rows.answer - expected
    keep = float(np.sqrt(max(0.05, 1 - removed / max((residual**2).mean(), 1e-9))))
    return replace(rows, answer=expected + keep * residual), keep


def fuse(rows: Known, thresholds: tuple[float, float]) -> NDArray[np.int64]:
    """(n,) labels answered under the thresholds."""
    return rows.cell * len(BANDS) + band(rows.answer, thresholds)


def expected_scores(found: Calibration, people: int, seed: int = 0) -> NDArray[np.float64]:
    """(B,) macro-F1 that so many eval people may reach: one for each resample of people and mix.

    Each draw makes eval people out of resampled validation people in a plausible mix, and scores them under
    the thresholds chosen: so the mix, the validation people and the luck of the eval people all count.
    """
    rows, rng = found.rows, np.random.default_rng(seed)
    labels = fuse(rows, found.thresholds)
    units = counts_of(rows.person, rows.label * LABELS + labels, rows.people)
    kind = rows.band[rows.first] * 2 + rows.gender[rows.first]
    total = np.zeros((len(found.weights), 3 * LABELS))
    for i, times in enumerate(found.weights):
        mix = found.mixes[i % len(found.mixes)]
        size = _whole(mix, people)
        for k in np.flatnonzero(size):
            inside = np.flatnonzero((kind == k) & (times > 0))
            if len(inside):
                pool = np.repeat(inside, times[inside])
                total[i] += units[pool[rng.integers(0, len(pool), size[k])]].sum(0)
    hit, predicted, true = total.reshape(-1, 3, LABELS).transpose(1, 0, 2)
    return f1_of(hit, predicted, true).sum(1) / (true > 0).sum(1)


def _whole(mix: NDArray, people: int) -> NDArray[np.int64]:
    """So many people shared out by the mix, in whole numbers that sum to them."""
    edges = np.rint(np.cumsum(mix) / mix.sum() * people).astype(np.int64)
    return np.diff(edges, prepend=0)
