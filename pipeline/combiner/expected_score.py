"""The macro-F1 that eval photos can be expected to reach, whose truth and class prior are not known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from models.labels import CLASSES, LABELS, class_of_label, fused
from pipeline.combiner.class_prior import bands_of, factors, people_of
from pipeline.combiner.threshold_choice import ThresholdChoice
from pipeline.prediction.labelled import LabelledPredictions
from pipeline.scoring.bootstrap import by_number, by_share
from pipeline.scoring.metrics import counts_of, f1_of

FEWER = 0.8
"""Eval people with fewer photos than this share of a validation person's are drawn with fewer."""
LEAST = 3
"""With fewer people in a band that counts, the expected score has no interval: drawn again they hardly differ."""


def centre_of(rows: LabelledPredictions, labels: NDArray, priors: NDArray) -> float:
    """Macro-F1 of labels (n,), mean over priors (B, 6)."""
    kind, times = class_of_label(rows.label), factors(priors, people_of(rows))
    pair, table = rows.label * LABELS + labels, np.zeros((CLASSES, 3 * LABELS))
    for k in range(CLASSES):
        inside = kind == k
        weights = None if rows.weight is None else rows.weight[inside]
        table[k] = counts_of(np.zeros(inside.sum(), np.int64), pair[inside], 1, weights)[0]
    hit, predicted, true = (times @ table).reshape(-1, 3, LABELS).transpose(1, 0, 2)
    return float((f1_of(hit, predicted, true).sum(1) / (true > 0).sum(1)).mean())


def expected_scores(
    rows: LabelledPredictions,
    labels: NDArray,
    priors: NDArray,
    weights: NDArray,
    people: int,
    seed: int = 0,
    ages: NDArray | None = None,
    photos_per_person: float | None = None,
) -> NDArray[np.float64]:
    """(B,) macro-F1 that so many eval people may reach: one for each resample of people and prior that has photos.

    labels: (n,) predicted; priors: (M, 6) taken in turn; weights: (B, P) of resampled validation people. Each draw
    makes eval people out of these in one of the priors and scores them: so the prior, the validation people and the
    luck of the eval people all count. Where photos weigh differently a person is drawn by their mean weight, and some
    of their photos are left out or there more than once; ages: (M, P) by what people's weights are multiplied, taken in
    turn as well. photos_per_person: of the eval people, as many as a validation person has where left out.
    """
    rng, kind = np.random.default_rng(seed), rows.kind
    share = 1.0 if photos_per_person is None else photos_per_person * rows.persons / len(rows.person)
    alike = rows.weight is None and share > FEWER
    each, photos = _by_person(rows)
    pair, photos = rows.label * LABELS + labels, photos * share
    units = counts_of(rows.person, pair, rows.people) if alike else None
    total = np.zeros((len(weights), 3 * LABELS))
    for i, times in enumerate(weights):
        size, drawn = _whole(priors[i % len(priors)], people), np.zeros(rows.people, np.int64)
        often = times if alike else times * each * (1 if ages is None else ages[i % len(ages)])
        for k in np.flatnonzero(size):
            inside = np.flatnonzero((kind == k) & (often > 0))
            if len(inside):
                drawn[inside] = (by_number if alike else by_share)(rng, often[inside], size[k], 1)[0]
        if units is not None:
            total[i] = drawn @ units
        else:
            seen = drawn[rows.person]
            seen = seen * photos.astype(np.int64) + rng.binomial(seen, photos % 1)
            total[i] = counts_of(np.zeros(len(pair), np.int64), pair, 1, seen.astype(np.float64))[0]
    hit, predicted, true = total.reshape(-1, 3, LABELS).transpose(1, 0, 2)
    there = (true > 0).sum(1)
    # a draw may leave no photo of a few people
    return f1_of(hit, predicted, true).sum(1)[there > 0] / there[there > 0]


def _by_person(rows: LabelledPredictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(P,) the mean weight of each person's photos, and (n,) the weights of photos beside it."""
    mean = np.bincount(rows.person, rows.weights) / np.bincount(rows.person)
    return mean, rows.weights / np.maximum(mean, 1e-12)[rows.person]


def choice_interval(
    found: ThresholdChoice,
    people: int,
    centre: float,
    level: float = 0.9,
    seed: int = 0,
    photos_per_person: float | None = None,
) -> list[float] | None:
    """The interval of the macro-F1 to expect of so many eval people; centre: the cross-fitted score in their prior.

    photos_per_person: as `expected_scores` takes it.
    """
    rows = found.eval_like
    labels = fused(rows.cell, rows.predicted_age, found.thresholds)
    drawn = expected_scores(rows, labels, found.possible, found.weights, people, seed, found.ages, photos_per_person)
    return expected_interval(centre, drawn, rows, found.possible.mean(0), level)


def expected_interval(
    centre: float, drawn: NDArray, rows: LabelledPredictions, shares: NDArray, level: float = 0.9
) -> list[float] | None:
    """The interval around a cross-fitted score, from the scores (B,) of resampled validation people.

    shares: (6,) the eval prior. Resamples give the spread alone: their mean is biased low, since a resample holds fewer
    different people. Their percentiles are too narrow where people are few, so they are widened as Student's t is
    wider, by the people of the smallest gender x band (Hesterberg 2015). None where a band of that prior has fewer than
    LEAST people: a single person drawn again is the same person.
    """
    if rows.persons_by_band[bands_of(shares) > 0].min() < LEAST:
        return None
    people = _effective_by_class(rows)
    few = max(3, int(people[people > 0].min()))
    tail = (1 + level) / 2
    wider = stdtrit(few - 1, tail) / ndtri(tail) * np.sqrt(few / (few - 1))
    low, high = centre + wider * (np.quantile(drawn, [1 - tail, tail]) - drawn.mean())
    return [float(max(low, 0.0)), float(min(high, 1.0))]


def _effective_by_class(rows: LabelledPredictions) -> NDArray[np.int64]:
    """(6,) people of each class, each counted once in it; as how many they count where some weigh more (Kish 1965)."""
    people = rows.persons_by_class
    if rows.weight is None:
        return people
    mean, _ = _by_person(rows)
    total, squares = (np.bincount(rows.kind, each, CLASSES) for each in (mean, mean**2))
    return np.minimum(people, np.rint(total**2 / np.maximum(squares, 1e-12))).astype(np.int64)


def _whole(prior: NDArray, people: int) -> NDArray[np.int64]:
    """(6,) so many people shared out by prior (6,), in whole numbers that sum to them."""
    edges = np.rint(np.cumsum(prior) / prior.sum() * people).astype(np.int64)
    return np.diff(edges, prepend=0)
