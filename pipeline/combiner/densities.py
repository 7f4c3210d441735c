"""How predictions distribute in each band and gender: histograms of people, smoothed as people held out support.

A cell is a bin of the predicted age and the predicted gender. The bins hold equal shares of the predictions, every band
counting alike, so they are narrow where any band's predictions crowd. Each class (band x gender) is drawn toward its
band, and each band toward the model of `pooled_residuals`, as if by so many more people (Dirichlet smoothing, MacKay
and Peto 1995): how many, and how many bins, is chosen by the likelihood of people held out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, CLASSES, GENDERS
from pipeline.combiner.pooled_residuals import PooledResiduals
from pipeline.prediction.labelled import LabelledPredictions

BINS = (8, 12, 16, 24, 32, 48)
"""The numbers of bins that are compared."""
TOWARD_BAND = (2.0, 8.0, 32.0, 1e6)
"""As how many people its band may count for a class."""
TOWARD_MODEL = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)
"""As how many people the model may count for a band."""
TOWARD_POOL = 30.0
"""A band's own confusion of the genders counts as its people against this many of all bands."""
FLOOR = 1e-3
"""The share of a density that is spread evenly: nothing that is seen is impossible."""


@dataclass(frozen=True)
class Smoothing:
    """bins: of the predicted age; toward_band, toward_model: (3,) as how many people, for each band."""

    bins: int = 24
    toward_band: tuple[float, ...] = (8.0,) * len(BANDS)
    toward_model: tuple[float, ...] = (2.0,) * len(BANDS)


class Densities:
    """The distribution of (bin of the predicted age, predicted gender) in each class, from labelled people.

    rows: validation predictions beside the truth. After that: shares (P, F), each person's photos over the F cells, a
    row summing to one; kind (P,), each person's class; people (6,), how many people a class has; density (6, F).
    """

    def __init__(self, rows: LabelledPredictions, smoothing: Smoothing) -> None:
        self.kind, self.edges = rows.kind, _edges(rows, smoothing.bins)
        self.people = np.bincount(self.kind, minlength=CLASSES)
        self.shares = _shares(rows, self.code(rows.predicted_age, rows.cell % len(GENDERS)), len(GENDERS) * self.bins)
        model, even = _at_edges(PooledResiduals(rows), self.edges), _balanced(rows, self.edges)
        table = _by_class(self.shares, self.kind)
        ages = _smoothed(table.reshape(CLASSES, -1, len(GENDERS)).sum(-1), self.people, model, even, smoothing)
        confusion = _confusion(table)
        self.density = (ages[:, :, None] * confusion[:, None, :]).reshape(CLASSES, -1)

    @property
    def bins(self) -> int:
        """How many bins of the predicted age there are: fewer than were asked for where predictions are equal."""
        return len(self.edges) + 1

    def code(self, age: NDArray, gender: NDArray) -> NDArray[np.int64]:
        """The cell of each predicted age and predicted gender; any shape."""
        return np.searchsorted(self.edges, age, side="right") * len(GENDERS) + gender


def choose_smoothing(rows: LabelledPredictions, group: NDArray) -> Smoothing:
    """The smoothing under which people held out are likeliest, each band counting alike.

    group: (P,) people are held out together who have the same number. A likelihood is taken against that of all
    predictions, so that different bins can be compared.
    """
    model, kind = PooledResiduals(rows), rows.kind
    groups = [(group != k, model.density((group != k).astype(np.float64))) for k in np.unique(group)]
    best, chosen = -np.inf, Smoothing()
    for bins in BINS:
        edges = _edges(rows, bins)
        even = _balanced(rows, edges)
        shares = _shares(rows, np.searchsorted(edges, rows.predicted_age, side="right"), len(even))
        total = np.zeros((len(TOWARD_BAND), len(TOWARD_MODEL), len(BANDS)))
        for others, density in groups:
            table, seen = (_by_class(shares[some], kind[some]) for some in (others, ~others))
            people, prior = np.bincount(kind[others], minlength=CLASSES), _at_edges(model, edges, density)
            for i, toward_band in enumerate(TOWARD_BAND):
                for j, toward_model in enumerate(TOWARD_MODEL):
                    smoothing = Smoothing(bins, (toward_band,) * len(BANDS), (toward_model,) * len(BANDS))
                    found = np.log(_smoothed(table, people, prior, even, smoothing) / even)
                    total[i, j] += (seen * found).sum(1).reshape(len(BANDS), -1).sum(1)
        total /= np.maximum(rows.counts, 1)
        each = total.reshape(-1, len(BANDS))
        if each.max(0).sum() > best:
            best = each.max(0).sum()
            i, j = np.unravel_index(each.argmax(0), total.shape[:2])
            chosen = Smoothing(bins, tuple(np.take(TOWARD_BAND, i).tolist()), tuple(np.take(TOWARD_MODEL, j).tolist()))
    return chosen


def _edges(rows: LabelledPredictions, bins: int) -> NDArray[np.float64]:
    """The inner edges of bins that hold equal shares of the predicted ages, every band counting alike."""
    order = np.argsort(rows.predicted_age, kind="stable")
    weight = _weights(rows)[order]
    place = np.searchsorted(np.cumsum(weight), np.arange(1, bins) / bins)
    return np.unique(rows.predicted_age[order][np.minimum(place, len(order) - 1)])


def _balanced(rows: LabelledPredictions, edges: NDArray) -> NDArray[np.float64]:
    """(bins,) the share of each bin, every band counting alike; never nil."""
    place = np.searchsorted(edges, rows.predicted_age, side="right")
    share = np.maximum(np.bincount(place, _weights(rows), minlength=len(edges) + 1), 1e-6)
    return share / share.sum()


def _weights(rows: LabelledPredictions) -> NDArray[np.float64]:
    """(n,) weights of the photos, every band having the same in all; their sum is one."""
    weight = rows.weights * (1 / np.maximum(np.bincount(rows.band, rows.weight, len(BANDS)), 1))[rows.band]
    return weight / weight.sum()


def _shares(rows: LabelledPredictions, place: NDArray, size: int) -> NDArray[np.float64]:
    """(P, size) each person's photos over places, place (n,)."""
    photos = np.bincount(rows.person, rows.weight)
    table = np.bincount(rows.person * size + place, rows.weights / photos[rows.person], minlength=rows.people * size)
    return table.reshape(rows.people, size)


def _at_edges(model: PooledResiduals, edges: NDArray, density: NDArray | None = None) -> NDArray[np.float64]:
    """(3, bins) the model's share of each bin."""
    density = model.density() if density is None else density
    below = np.cumsum(density, axis=1)
    inside = np.stack([np.interp(edges, model.grid, row) for row in below])
    return np.diff(inside, axis=1, prepend=0, append=1)


def _by_class(shares: NDArray, kind: NDArray) -> NDArray[np.float64]:
    """(6, F) the sums of people's shares (P, F), by their class, kind (P,)."""
    return np.eye(CLASSES)[kind].T @ shares


def _smoothed(
    table: NDArray, people: NDArray, model: NDArray, even: NDArray, smoothing: Smoothing
) -> NDArray[np.float64]:
    """(6, bins) densities, of the sums of people's shares, table (6, bins), and how many people these are, (6,).

    model: (3, bins) what each band is drawn toward; even: (bins,) what is nowhere impossible.
    """
    toward_model, toward_band = np.array(smoothing.toward_model), np.array(smoothing.toward_band)
    count = people.reshape(len(BANDS), -1).sum(1)
    band = table.reshape(len(BANDS), len(GENDERS), -1).sum(1)
    band = (band + toward_model[:, None] * model) / (count + toward_model)[:, None]
    weight = np.repeat(toward_band, len(GENDERS))
    found = (table + weight[:, None] * np.repeat(band, len(GENDERS), axis=0)) / (people + weight)[:, None]
    return (1 - FLOOR) * found + FLOOR * even


def _confusion(table: NDArray) -> NDArray[np.float64]:
    """(6, 2) how often each gender is predicted in each class, each band drawn to the genders of all bands.

    table: (6, F) the sums of people's shares.
    """
    said = table.reshape(len(BANDS), len(GENDERS), -1, len(GENDERS)).sum(2)
    pool = said.sum(0) + 0.5
    pool /= pool.sum(1, keepdims=True)
    return ((said + TOWARD_POOL * pool) / (said.sum(2, keepdims=True) + TOWARD_POOL)).reshape(CLASSES, -1)
