"""How many photos (or people) are of each kind: counts of predicted labels, corrected for what is taken for what.

A share of predicted labels is a mixture of the true shares; how labels are confused is known from people held out
(adjusted counting: Forman, Quantifying counts and costs, 2008). Here the true counts are drawn by Gibbs sampling: true
labels given predicted ones and shares, then shares given the counts (Tanner and Wong, 1987), each chain with a
confusion of its own, drawn by a Bayesian bootstrap of the people held out (Rubin, 1981).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, CLASSES, GENDERS, LABELS, MASKS

CHAINS, STEPS = 200, 60
"""Draws, and steps of each from where it starts."""
CLIMBS = 500
"""Steps of expectation and maximization to the shares where chains start: from equal ones weak networks take long."""
LEVEL = 0.9
"""Of the intervals."""
PSEUDO = 2.0
"""People held out that are added to each class of what is confused with what, to tell of confusions never seen."""
SHRINKAGE = 5.0
"""Units in all photos' shares that are added to a group of them."""
KINDS = {
    "mask": np.arange(LABELS) // CLASSES,
    "gender": np.arange(LABELS) // len(BANDS) % len(GENDERS),
    "band": np.arange(LABELS) % len(BANDS),
    "label": np.arange(LABELS),
}
"""The value of each label, by what is counted."""
PEOPLE_KINDS = {
    "gender": np.arange(CLASSES) // len(BANDS),
    "band": np.arange(CLASSES) % len(BANDS),
    "gender and band": np.arange(CLASSES),
}
"""The same of people, for whom a class stands in a label's place."""


@dataclass(frozen=True)
class HeldOutLabels:
    """Labels of photos held out: true (n,), predicted (V, n) in V ways, whose photo each is (n,), numbers from 0.

    Labels by thresholds that these very people chose are a little better than those of others will be, and by those
    that other people of them chose a little worse, so both are given, and chains take turns. weight: (n,) how often
    each counts beside others of its class, None where they count alike.
    """

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    person: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Shares:
    """Draws (CHAINS, K) of the shares of labels, or of classes of people (gender * 3 + band)."""

    draws: NDArray[np.float64]

    def of(self, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The shares of the values of a kind, their mean and the ends of their interval."""
        values = (KINDS if self.draws.shape[1] == LABELS else PEOPLE_KINDS)[kind]
        drawn = np.stack([self.draws[:, values == value].sum(1) for value in range(values.max() + 1)], 1)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return drawn.mean(0), low, high


class Counting:
    """Corrected shares of labels. held_out: labels by the combiner that labels the photos, on people it did not see.

    What is confused with what is learned for masks and for classes of people apart, each person held out counting once.
    masks: all photos held out, where those of held_out were chosen by the mask states that were predicted.
    """

    def __init__(self, held_out: HeldOutLabels, seed: int = 0, masks: HeldOutLabels | None = None):
        self._rng = np.random.default_rng(seed)
        who = self._rng.exponential(size=(CHAINS, held_out.person.max() + 1))
        weight = who[:, held_out.person]
        kind = held_out.true % CLASSES
        photos = np.bincount(held_out.person)[held_out.person]
        if masks is not None:
            mask, seen = masks.true // CLASSES, masks.predicted // CLASSES
            each = self._rng.exponential(size=(CHAINS, masks.person.max() + 1))[:, masks.person]
            each = each / np.bincount(masks.person)[masks.person]
        else:
            mask, seen, each = held_out.true // CLASSES, held_out.predicted // CLASSES, weight / photos
        self._mask = _confusions(mask, seen, each, len(MASKS), np.ones((3, 3)) / 3)
        found = held_out.predicted % CLASSES
        self.correlation = correlation(kind, found[0], held_out.person)
        each = weight if held_out.weight is None else weight * held_out.weight
        self._class = _confusions(kind, found, each / photos, CLASSES, _apart(kind, found[0]))

    def shares(
        self,
        predicted: NDArray[np.int64],
        people: float | None,
        photos_per_person: float = 1.0,
        toward: Shares | None = None,
    ) -> Shares:
        """True shares of photos with these predicted labels (n,).

        people: of how many people they are (`effective` ones of unequal numbers of photos), where gender and band were
        decided for people; else None, and photos tell as much as their correlation within people leaves. toward: the
        shares of all photos, where these are a group.
        """
        number = (
            float(people) if people is not None else len(predicted) / (1 + (photos_per_person - 1) * self.correlation)
        )
        joint = np.bincount(predicted, minlength=LABELS).reshape(len(MASKS), CLASSES) / len(predicted)
        prior = None if toward is None else toward.draws.mean(0).reshape(len(MASKS), CLASSES)
        of_mask = self._chains(joint.sum(1), len(predicted), self._mask, None if prior is None else prior.sum(1))
        of_class = self._chains(joint.sum(0), number, self._class, None if prior is None else prior.sum(0))
        return Shares(np.einsum("bma,mc,bcd->bad", of_mask, joint, of_class).reshape(CHAINS, LABELS))

    def shares_of_people(self, predicted: NDArray[np.int64], toward: Shares | None = None) -> Shares:
        """True shares of people of these predicted classes (P,), gender * 3 + band."""
        observed = np.bincount(predicted, minlength=CLASSES) / len(predicted)
        prior = None if toward is None else toward.draws.mean(0)
        of_class = self._chains(observed, len(predicted), self._class, prior)
        return Shares(np.einsum("c,bcd->bd", observed, of_class))

    def _chains(
        self, observed: NDArray, number: float, confusion: NDArray, prior: NDArray | None
    ) -> NDArray[np.float64]:
        """(CHAINS, predicted, true) what share of each predicted value is of each true one.

        observed: (K,) shares of predicted values, of so many units; confusion: (CHAINS, true, predicted).
        """
        size = len(observed)
        units = np.broadcast_to(_whole(observed, max(1, round(number))), (CHAINS, size))
        alpha = np.full(size, 0.5) if prior is None else 0.5 / size + SHRINKAGE * prior
        shares = np.broadcast_to(np.full(size, 1 / size) if prior is None else prior + 1e-6, (CHAINS, size))
        for _ in range(CLIMBS):
            likely = shares[:, :, None] * confusion
            likely /= likely.sum(1, keepdims=True)
            shares = (alpha / units.sum(1, keepdims=True) + likely @ observed) / (
                1 + alpha.sum() / units.sum(1, keepdims=True)
            )
        for _ in range(STEPS):
            likely = shares[:, :, None] * confusion
            likely = np.swapaxes(likely / likely.sum(1, keepdims=True), 1, 2)
            drawn = self._rng.multinomial(units, likely)
            gamma = self._rng.standard_gamma(alpha + drawn.sum(1)) + 1e-12
            shares = gamma / gamma.sum(1, keepdims=True)
        return np.where(units[:, :, None] > 0, drawn / np.maximum(units, 1)[:, :, None], likely)


def effective(photos: NDArray[np.int64]) -> float:
    """How many people of equal numbers of photos tell as much as these (P,) (Kish, Survey Sampling, 1965)."""
    return float(photos.sum() ** 2 / (photos**2).sum())


def _whole(shares: NDArray[np.float64], units: int) -> NDArray[np.int64]:
    """So many units in these shares, whole ones: the largest remainders are rounded up."""
    whole = np.floor(shares * units).astype(np.int64)
    up = np.argsort(whole - shares * units, kind="stable")[: units - whole.sum()]
    whole[up] += 1
    return whole


def _confusions(
    true: NDArray[np.int64], predicted: NDArray[np.int64], weight: NDArray, size: int, usual: NDArray
) -> NDArray[np.float64]:
    """(CHAINS, size, size) shares of each true value's predicted ones (V, n), for weights (CHAINS, n) of the rows.

    usual: (size, size) rows that stand for PSEUDO people of each true value.
    """
    places = true * size + predicted
    sums = np.zeros((len(weight), size * size))
    for chain, one in enumerate(weight):
        sums[chain] = np.bincount(places[chain % len(places)], one, size * size)
    table = sums.reshape(-1, size, size) + PSEUDO * usual
    return table / table.sum(2, keepdims=True)


def correlation(true: NDArray[np.int64], predicted: NDArray[np.int64], person: NDArray[np.int64]) -> float:
    """How alike the predictions of a person's photos are beyond what their class says, from 0 to 1.

    The intraclass correlation of what differs from the mean of their true class, over all predicted classes.
    """
    size, people = int(max(true.max(), predicted.max())) + 1, int(person.max()) + 1
    mean = np.zeros((size, size))
    np.add.at(mean, (true, predicted), 1)
    mean /= np.maximum(mean.sum(1, keepdims=True), 1)
    off = np.eye(size)[predicted] - mean[true]
    sums = np.zeros((people, size))
    np.add.at(sums, person, off)
    squares, photos = (off**2).sum(), np.bincount(person, minlength=people).astype(np.float64)
    pairs = (photos * (photos - 1)).sum()
    if pairs == 0 or squares == 0:
        return 1.0
    return float(np.clip(((sums**2).sum() - squares) / pairs / (squares / len(true)), 0, 1))


def _apart(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
    """(6, 6) how classes would be confused if genders and bands were confused apart from each other."""
    genders, bands = len(GENDERS), len(BANDS)
    gender, band = np.ones((genders, genders)) / genders, np.ones((bands, bands)) / bands
    np.add.at(gender, (true // bands, predicted // bands), 1)
    np.add.at(band, (true % bands, predicted % bands), 1)
    gender, band = (table / table.sum(1, keepdims=True) for table in (gender, band))
    return np.kron(gender, band)
