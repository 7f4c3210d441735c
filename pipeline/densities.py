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

from models.labels import BANDS, GENDERS
from pipeline.answers import Known
from pipeline.pooled_residuals import PooledResiduals

CLASSES = len(BANDS) * len(GENDERS)
"""The classes of a mix; a class is band * 2 + gender."""
BINS = (8, 12, 16, 24, 32, 48)
"""The numbers of bins that are compared."""
TOWARD_BAND = (2.0, 8.0, 32.0, 1e6)
"""As how many people its band may count for a class."""
TOWARD_MODEL = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0)
"""As how many people the model may count for a band."""
TOWARD_POOL = 30.0
"""A band's own confusion of the genders counts as its people against this many of all bands."""
FLOOR = 1e-3
"""The part of a density that is spread evenly: nothing that is seen is impossible."""
PARTS = 5
"""People are held out in so many parts."""


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

    def __init__(self, rows: Known, smoothing: Smoothing) -> None:
        self.smoothing, self.people = smoothing, np.bincount(_kind(rows), minlength=CLASSES)
        self.edges = _edges(rows, smoothing.bins)
        self.kind = _kind(rows)
        code, size = self.code(rows.answer, rows.cell % len(GENDERS)), (len(self.edges) + 1) * len(GENDERS)
        photos = np.bincount(rows.person)
        self.shares = np.bincount(
            rows.person * size + code, 1 / photos[rows.person], minlength=rows.people * size
        ).reshape(rows.people, size)
        model = _at_edges(PooledResiduals(rows), self.edges)
        ages = _smoothed(_by_class(_ages(self.shares), self.kind), self.people, model, smoothing)
        self.density = (ages[:, :, None] * _confusion(self.shares, self.kind)[:, None, :]).reshape(CLASSES, -1)

    def code(self, age: NDArray, gender: NDArray) -> NDArray[np.int64]:
        """The cell of each predicted age and predicted gender; any shape."""
        return np.searchsorted(self.edges, age, side="right") * len(GENDERS) + gender


def choose_smoothing(rows: Known, part: NDArray) -> Smoothing:
    """The smoothing under which people held out are likeliest, each band counting alike.

    part: (P,) people are held out together who have the same number. Likelihoods are those of the place of a
    prediction among all, so that different numbers of bins can be compared.
    """
    model, kind = PooledResiduals(rows), _kind(rows)
    parts = [(part != k, model.density((part != k).astype(np.float64))) for k in np.unique(part)]
    best, chosen = -np.inf, Smoothing()
    for bins in BINS:
        edges = _edges(rows, bins)
        place = np.searchsorted(edges, rows.answer, side="right")
        size, photos = len(edges) + 1, np.bincount(rows.person)
        shares = np.bincount(rows.person * size + place, 1 / photos[rows.person], minlength=rows.people * size)
        shares = shares.reshape(rows.people, size)
        total = np.zeros((len(TOWARD_BAND), len(TOWARD_MODEL), len(BANDS)))
        for others, density in parts:
            table = _by_class(shares[others], kind[others])
            people = np.bincount(kind[others], minlength=CLASSES)
            prior = _at_edges(model, edges, density)
            seen = _by_class(shares[~others], kind[~others])
            for i, toward_band in enumerate(TOWARD_BAND):
                for j, toward_model in enumerate(TOWARD_MODEL):
                    smoothing = Smoothing(bins, (toward_band,) * len(BANDS), (toward_model,) * len(BANDS))
                    found = np.log(_smoothed(table, people, prior, smoothing) * size)
                    total[i, j] += (seen * found).sum(1).reshape(len(BANDS), -1).sum(1)
        total /= np.maximum(np.bincount(kind, minlength=CLASSES).reshape(len(BANDS), -1).sum(1), 1)
        top = total.reshape(-1, len(BANDS)).argmax(0)
        value = total.reshape(-1, len(BANDS)).max(0).sum()
        if value > best:
            i, j = np.unravel_index(top, total.shape[:2])
            best = value
            chosen = Smoothing(
                bins, tuple(TOWARD_BAND[index] for index in i), tuple(TOWARD_MODEL[index] for index in j)
            )
    return chosen


def _kind(rows: Known) -> NDArray[np.int64]:
    """(P,) the class of each person."""
    return rows.band[rows.first] * len(GENDERS) + rows.gender[rows.first]


def _edges(rows: Known, bins: int) -> NDArray[np.float64]:
    """The inner edges of bins that hold equal shares of the predicted ages, every band counting alike."""
    order = np.argsort(rows.answer, kind="stable")
    weight = (1 / np.maximum(np.bincount(rows.band, minlength=len(BANDS)), 1))[rows.band[order]]
    below = np.cumsum(weight) / weight.sum()
    place = np.searchsorted(below, np.arange(1, bins) / bins)
    return np.unique(rows.answer[order][np.minimum(place, len(order) - 1)])


def _at_edges(model: PooledResiduals, edges: NDArray, density: NDArray | None = None) -> NDArray[np.float64]:
    """(3, bins) the model's share of each bin."""
    density = model.density() if density is None else density
    below = np.cumsum(density, axis=1)
    inside = np.stack([np.interp(edges, model.grid, row) for row in below])
    return np.diff(inside, axis=1, prepend=0, append=1)


def _ages(shares: NDArray) -> NDArray[np.float64]:
    """Shares of the bins alone, of shares (..., F)."""
    return shares.reshape(*shares.shape[:-1], -1, len(GENDERS)).sum(-1)


def _by_class(shares: NDArray, kind: NDArray) -> NDArray[np.float64]:
    """(6, F) the sums of people's shares (P, F)."""
    return np.eye(CLASSES)[kind].T @ shares


def _smoothed(table: NDArray, people: NDArray, model: NDArray, smoothing: Smoothing) -> NDArray[np.float64]:
    """(6, bins) densities, of the sums of people's shares (6, bins), people (6,) and the model's bands (3, bins)."""
    toward_model, toward_band = np.array(smoothing.toward_model), np.array(smoothing.toward_band)
    count = people.reshape(len(BANDS), -1).sum(1)
    band = table.reshape(len(BANDS), len(GENDERS), -1).sum(1)
    band = (band + toward_model[:, None] * model) / (count + toward_model)[:, None]
    pull = np.repeat(toward_band, len(GENDERS))
    found = (table + pull[:, None] * np.repeat(band, len(GENDERS), axis=0)) / (people + pull)[:, None]
    return (1 - FLOOR) * found + FLOOR / found.shape[1]


def _confusion(shares: NDArray, kind: NDArray) -> NDArray[np.float64]:
    """(6, 2) how often each gender is predicted in each class, each band drawn to the genders of all bands."""
    said = _by_class(shares.reshape(len(shares), -1, len(GENDERS)).sum(1), kind).reshape(len(BANDS), len(GENDERS), -1)
    pool = said.sum(0) + 0.5
    pool /= pool.sum(1, keepdims=True)
    return ((said + TOWARD_POOL * pool) / (said.sum(2, keepdims=True) + TOWARD_POOL)).reshape(CLASSES, -1)
