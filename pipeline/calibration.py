"""From answers to thresholds, and to the score they can be expected to reach on given eval photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.labels import BANDS, GENDERS, LABELS, MASKS, band
from pipeline.answers import Known
from pipeline.prior import CLASSES, AnswerModel, Estimate, count_as, estimate, person_weights
from pipeline.scoring import counts_of, f1_of, resample
from pipeline.thresholds import COARSE, ByClass, Surface, choose, class_of, crossings, default_grid

FEW = 30
"""Below so many people in a band a threshold is drawn toward the fallback, and no mix is estimated."""
LEAST = 3
"""With fewer people in a band that counts, the expected score has no interval: drawn again they hardly differ."""
BANDWIDTH = 2.0
"""The bandwidth, in years, unless cross-fitting clearly prefers another."""
BANDWIDTHS = (0.0, 1.0, 2.0, 3.0, 4.0)
"""The bandwidths, in years, that cross-fitting compares."""
PARTS = 5
"""Thresholds are judged on the people of one part, chosen on those of the others."""


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
        return count_as(len(self.answer), self.photos_per_person)

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
        shares = with_bands(mix, train)
        mixes = shares[None]
    rows, keep = narrowed(rows, 0.0 if eval is None else eval.removed)
    fallback = crossings(rows.age, rows.answer)
    if bandwidth is None:
        bandwidth = best_bandwidth(rows, shares, seed)
    best, surface = choose(rows.answer, rows.label, rows.cell, factors(mixes, train), bandwidth, fallback)
    pull = pull_of(rows.counts)
    thresholds = tuple(float(np.round((1 - p) * t + p * f, 6)) for p, t, f in zip(pull, best, fallback, strict=True))
    return Calibration(thresholds, shares, mixes, found, rows, keep, fallback, pull, surface, weights, bandwidth)


def few(people: int) -> float:
    """How far a threshold beside a band of so few people is drawn toward the fallback."""
    return 0.0 if people >= FEW else 1 - people / (people + FEW)


def pull_of(counts: NDArray) -> NDArray[np.float64]:
    """(2,) how far the lower and the upper threshold are drawn, by the people of each band (3,) beside them."""
    return np.array([few(counts[:2].min()), few(counts[1:].min())])


def people_of(rows: Known) -> NDArray[np.float64]:
    """(6,) shares of the people by band * 2 + gender."""
    kind = rows.band[rows.first] * 2 + rows.gender[rows.first]
    return np.bincount(kind, minlength=CLASSES) / rows.people


def with_bands(mix: NDArray, train: NDArray) -> NDArray[np.float64]:
    """(..., 6) shares that have the bands of mix (..., 3), and within a band the genders of train (6,)."""
    inside = train.reshape(len(BANDS), -1)
    shares = mix[..., None] * inside / inside.sum(1, keepdims=True)
    return shares.reshape(*mix.shape[:-1], CLASSES)


def bands_of(shares: NDArray) -> NDArray[np.float64]:
    """(..., 3) shares by band, of shares (..., 6) by band * 2 + gender."""
    return shares.reshape(*shares.shape[:-1], len(BANDS), -1).sum(-1)


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


def parts_of(rows: Known, seed: int = 0) -> NDArray[np.int64]:
    """(P,) a part from 0 to 4 for each person, stratified on gender x band."""
    stratum = rows.gender[rows.first] * len(BANDS) + rows.band[rows.first]
    order = np.lexsort((np.random.default_rng(seed).random(rows.people), stratum))
    part = np.empty(rows.people, np.int64)
    part[order] = np.arange(rows.people) % PARTS
    return part


def _held_out(rows: Known, seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64], tuple[float, float]]]:
    """For each part of the people: its rows (n,), the weights (n,) of all others', and the others' fallback."""
    part = parts_of(rows, seed)[rows.person]
    for k in range(PARTS):
        inside = part == k
        if inside.any():
            yield inside, (~inside).astype(np.float64), crossings(rows.age[~inside], rows.answer[~inside])


def cross_fitted(rows: Known, mixes: NDArray, bandwidth: float, pull: NDArray, seed: int = 0) -> NDArray[np.int64]:
    """(n,) labels, each answered under thresholds chosen, for mixes (B, 6), on the people of other parts.

    pull: (2,) how far each threshold is drawn toward the fallback.
    """
    times = factors(mixes, people_of(rows))
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        best, _ = choose(rows.answer, rows.label, rows.cell, times, bandwidth, fallback, other)
        drawn = tuple((1 - p) * t + p * f for p, t, f in zip(pull, best, fallback, strict=True))
        labels[inside] = rows.cell[inside] * len(BANDS) + band(rows.answer[inside], drawn)
    return labels


def cross_fitted_coarse(
    rows: Known, factor: NDArray, bandwidth: float, by_mask: bool = False, seed: int = 0
) -> NDArray[np.int64]:
    """(n,) labels as `cross_fitted` gives them, for one mix and on the coarse grid: quick, for comparisons.

    by_mask: a pair of thresholds for each answered mask state instead of one for all.
    """
    grid, mask = default_grid(rows.answer, COARSE), rows.cell // len(GENDERS)
    labels = np.empty(len(rows.person), np.int64)
    for inside, other, fallback in _held_out(rows, seed):
        table = ByClass(rows.answer, rows.label, rows.cell, grid, bandwidth, other)
        every = table.present
        for m in range(len(MASKS)) if by_mask else (None,):
            if m is not None:
                # the score is a sum over answered mask states: each has its own best thresholds
                table.present = every & (np.arange(len(every)) // (len(GENDERS) * len(BANDS)) == m)
            here = inside if m is None else inside & (mask == m)
            best = table.surface(factor).best(fallback) if table.present.any() else fallback
            labels[here] = rows.cell[here] * len(BANDS) + band(rows.answer[here], best)
    return labels


def best_bandwidth(rows: Known, shares: NDArray, seed: int = 0) -> float:
    """The bandwidth of the best cross-fitted score, where it beats the usual one by more than twice its error.

    shares: (6,) the mix. The error is that of the difference over resampled people.
    """
    factor = factors(shares, people_of(rows))
    weights = factor[class_of(rows.label)]
    drawn = {}
    for h in BANDWIDTHS:
        labels = cross_fitted_coarse(rows, factor, h, seed=seed)
        drawn[h] = resample(rows.label, labels, rows.person, draws=200, seed=seed, weights=weights)
    gain = {h: drawn[h] - drawn[BANDWIDTH] for h in BANDWIDTHS}
    clear = {h: float(g.mean()) for h, g in gain.items() if g.mean() > 2 * g.std()}
    return max(clear, key=clear.get) if clear else BANDWIDTH


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


def expected_score(
    found: Calibration, people: int, centre: float, level: float = 0.9, seed: int = 0
) -> list[float] | None:
    """The interval of the macro-F1 to expect of so many eval people; centre: the cross-fitted score in the eval mix."""
    return expected_interval(centre, expected_scores(found, people, seed), found.rows, found.shares, level)


def expected_interval(
    centre: float, drawn: NDArray, rows: Known, shares: NDArray, level: float = 0.9, wider: float = 1.0
) -> list[float] | None:
    """The interval around a cross-fitted score, from the scores (B,) of resampled validation people.

    shares: (6,) the eval mix; wider: by what the resamples leave out. Resamples give the spread alone: their mean is
    biased low, since a resample holds fewer different people. Their percentiles are too narrow where people are few, so
    they are widened as Student's t is wider, by the people of the smallest gender x band (Hesterberg 2015). None where
    a band of the mix has fewer than LEAST people: a single person drawn again is the same person.
    """
    if rows.counts[bands_of(shares) > 0].min() < LEAST:
        return None
    people = people_of(rows) * rows.people
    few = max(3, round(people[people > 0].min()))
    tail = (1 + level) / 2
    wider *= stats.t.ppf(tail, few - 1) / stats.norm.ppf(tail) * np.sqrt(few / (few - 1))
    low, high = centre + wider * (np.quantile(drawn, [1 - tail, tail]) - drawn.mean())
    return [float(max(low, 0.0)), float(min(high, 1.0))]


def _whole(mix: NDArray, people: int) -> NDArray[np.int64]:
    """So many people shared out by the mix, in whole numbers that sum to them."""
    edges = np.rint(np.cumsum(mix) / mix.sum() * people).astype(np.int64)
    return np.diff(edges, prepend=0)
