"""Bins of some years of true age, and how predictions distribute in each.

A bin is drawn toward the predictions of all people about its age, moved to it along the curve that predictions follow,
as if by so many more people (Dirichlet smoothing, MacKay and Peto 1995): as many, and people from so far away, as make
people held out likeliest. Predictions that saturate are stretched first, by the inverse of that curve.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.labels import BAND_STARTS, BANDS, CLASSES, band
from pipeline.combiner.densities import FLOOR, TOWARD_MODEL
from pipeline.prediction.labelled import LabelledPredictions

YEARS = 5
"""The width of a bin."""
REACHES = (1.0, 2.0, 4.0, 8.0)
"""The deviations, in years, of the Gaussian over people about an age, that are compared."""
LEAST = 12.0
"""As many people it takes in at the least: it widens until then."""
WIDEST = 30.0
"""It widens no further, in years."""
FEW = 3
"""Of a bin with fewer people nothing is known."""
PSEUDO = 0.5
"""People that are added to those of each bin."""
ROUND = 5
"""The slope of the curve is a mean over so many years."""
FLATTEST = 0.1
"""The curve's slope, as a share of its mean slope, that it has at the least."""


class AgeBins:
    """Bins of true age, K of them; none lies across two bands.

    rows: validation predictions beside the truth. After that: start (K,) the youngest age of each; band (K,); place
    (P,) the bin of each person; share (K,) of the people, none nil. Ages count in whole years.
    """

    def __init__(self, rows: LabelledPredictions) -> None:
        self.rows, self.age = rows, np.floor(rows.age[rows.first])
        low, high = self.age.min(), self.age.max() + 1
        edges = [low, *(start for start in BAND_STARTS if low < start < high), high]
        self.start = np.concatenate([np.arange(a, b, YEARS) for a, b in pairwise(edges)])
        self.end = np.append(self.start[1:], high)
        self.band = band(self.start)
        self.place = np.searchsorted(self.start, self.age, side="right") - 1
        people = np.bincount(self.place, minlength=len(self.start)) + PSEUDO
        self.share = people / people.sum()

    def densities(self, edges: NDArray, group: NDArray) -> NDArray[np.float64]:
        """(K, F) the share of predicted ages between inner edges (F - 1,), in each bin.

        group: (P,) people are held out together, to choose a smoothing, who have the same number.
        """
        rows, size = self.rows, len(edges) + 1
        place = np.searchsorted(edges, rows.predicted_age, side="right")
        shares = np.bincount(rows.person * size + place, self._each, rows.people * size)
        shares, member = shares.reshape(-1, size), np.eye(len(self.start))[self.place]
        bands = self.band[self.place]
        total = np.zeros((len(REACHES), len(TOWARD_MODEL), len(BANDS)))
        for k in np.unique(group):
            others, out = (group != k).astype(np.float64), group == k
            table, people = member.T @ (shares * others[:, None]), member.T @ others
            for i, reach in enumerate(REACHES):
                model = self._model(edges, others, reach)
                for j, toward in enumerate(TOWARD_MODEL):
                    log = np.log(_drawn(table, people, model, np.full(len(people), toward)))
                    found = (shares[out] * log[self.place[out]]).sum(1)
                    total[i, j] += np.bincount(bands[out], found, len(BANDS))
        total /= np.maximum(np.bincount(bands, minlength=len(BANDS)), 1)  # each band counting alike
        best = int(total.max(1).sum(1).argmax())
        toward = np.take(TOWARD_MODEL, total[best].argmax(0))
        model = self._model(edges, np.ones(rows.people), REACHES[best])
        return _drawn(member.T @ shares, member.sum(0), model, toward[self.band])

    def weights(self, factor: NDArray) -> NDArray[np.float64]:
        """(..., P) how often people count where those of a bin do so factor (..., K) times; one in the mean of a class.

        A class is a band and gender, its mean one of photos.
        """
        photos = np.bincount(self.rows.person, self.rows.weights)
        each, member = factor[..., self.place], np.eye(CLASSES)[self.rows.kind] * photos[:, None]
        return each / (each @ member / np.maximum(member.sum(0), 1e-12))[..., self.rows.kind]

    def unknown(self, factor: NDArray) -> float:
        """The share of people that lies in bins where hardly anybody is held out; factor: (K,) as in `weights`."""
        share = self.share * factor
        return float(share[~self.known].sum() / share.sum())

    @property
    def known(self) -> NDArray[np.bool_]:
        """(K,) whether some people are held out in a bin, each counted once."""
        bins = len(self.start)
        people = np.unique(self.rows.who * bins + self.place) % bins
        return np.bincount(people, minlength=bins) >= FEW

    @property
    def _each(self) -> NDArray[np.float64]:
        """(n,) the share of each photo among its person's."""
        return self.rows.weights / np.bincount(self.rows.person, self.rows.weight)[self.rows.person]

    def _mean(self, predicted: NDArray) -> NDArray[np.float64]:
        """(P,) of each person's photos, predicted (n,)."""
        return np.bincount(self.rows.person, self._each * predicted)

    def _model(self, edges: NDArray, people: NDArray, reach: float) -> NDArray[np.float64]:
        """(K, F) what bins are drawn toward, from people (P,), 0 or 1 times each."""
        rows, size = self.rows, len(edges) + 1
        stretched = _stretch(self, people, reach)
        predicted, edges = stretched(rows.predicted_age), stretched(edges)
        curve = _Curve(self.age, self._mean(predicted), people, reach)
        expected = {age: curve.at(age) for age in np.unique(self.age)}
        residual = predicted - np.array([expected[age] for age in self.age])[rows.person]
        each, result = self._each, np.zeros((len(self.start), size))
        for k, (start, end) in enumerate(zip(self.start, self.end, strict=True)):
            there = self.age[(self.place == k) & (people > 0)]
            ages, times = np.unique(there if len(there) else np.arange(start, end), return_counts=True)
            for age, count in zip(ages, times, strict=True):
                weight = curve.weights(age)[rows.person] * each
                cell = np.searchsorted(edges, residual + curve.at(age), side="right")
                result[k] += count * np.bincount(cell, weight, size) / weight.sum()
        return result / result.sum(1, keepdims=True)


class _Curve:
    """The mean prediction at an age: a line through the people about it. age, mean, people: (P,) each."""

    def __init__(self, age: NDArray, mean: NDArray, people: NDArray, reach: float) -> None:
        self.age, self.mean, self.people, self.reach = age, mean, people, reach
        self._known: dict[float, NDArray[np.float64]] = {}

    def weights(self, age: float) -> NDArray[np.float64]:
        """(P,) Gaussian weights about an age, wide enough for LEAST people."""
        if age not in self._known:
            width, least = self.reach, min(LEAST, self.people.sum() / 2)
            while True:
                weight = self.people * np.exp(-0.5 * ((self.age - age) / width) ** 2)
                if width > WIDEST or weight.sum() ** 2 >= least * (weight**2).sum() > 0:
                    break
                width *= 1.3
            self._known[age] = weight / weight.sum()
        return self._known[age]

    def at(self, age: float) -> float:
        """The prediction to expect; the line does not fall."""
        weight, off = self.weights(age), self.age - age
        x, y = weight @ off, weight @ self.mean
        slope = weight @ ((off - x) * (self.mean - y)) / (weight @ (off - x) ** 2 + 1e-3)
        return float(y - max(slope, 0.0) * x)


def _stretch(bins: AgeBins, people: NDArray, reach: float) -> Callable[[NDArray], NDArray]:
    """The inverse of the curve of predictions over ages, a line beyond its ends; nothing where it does not rise."""
    known = np.arange(bins.age.min(), bins.age.max() + 1)
    curve = _Curve(bins.age, bins._mean(bins.rows.predicted_age), people, reach)
    height = np.array([curve.at(age) for age in known])
    steep = (height[-1] - height[0]) / max(len(known) - 1, 1)
    if len(known) <= ROUND or steep <= 0:
        return lambda years: years
    slope = np.convolve(np.pad(np.diff(height), ROUND // 2, mode="edge"), np.ones(ROUND) / ROUND, "valid")
    slope = np.maximum(slope, FLATTEST * steep)
    height = height[0] + np.concatenate([[0.0], np.cumsum(slope)])

    def stretched(years: NDArray) -> NDArray[np.float64]:
        below, above = np.minimum(years - height[0], 0) / slope[0], np.maximum(years - height[-1], 0) / slope[-1]
        return np.interp(years, height, known) + below + above

    return stretched


def _drawn(table: NDArray, people: NDArray, model: NDArray, toward: NDArray) -> NDArray[np.float64]:
    """(K, F) sums of people's shares, table (K, F), drawn toward the model as if by so many people, toward (K,)."""
    found = (table + toward[:, None] * model) / (people + toward)[:, None]
    return (1 - FLOOR) * found + FLOOR / table.shape[1]
