"""Which priors of the age bands photos without labels leave possible.

The evidence is that of `evidence`; the hyperprior, over priors, holds both "as in train" and "anything".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from models.labels import BANDS
from pipeline.combiner.evidence import Evidence

ANYTHING = 0.5
"""The share of the hyperprior that is spread evenly over all priors."""
NEAR_TRAIN = (10.0, 100.0, 1000.0, 10000.0)
"""The rest is split equally: as near to the train prior as so many people drawn at its shares would be."""
POINTS = 48
"""The priors that are looked at are a square of so many a side, over all that is possible."""
FINEST = 1e-3
"""No share is followed below."""


def hyperprior(priors: NDArray, train: NDArray) -> NDArray[np.float64]:
    """(Q,) the logarithm of the hyperprior's density at priors (Q, 3), given the train prior, train (3,).

    Dirichlet densities around the train prior, of several widths, and one that is even.
    """
    log, logs = np.log(np.maximum(priors, 1e-12)), [np.full(len(priors), np.log(ANYTHING) + gammaln(len(BANDS)))]
    for people in NEAR_TRAIN:
        shape = 1 + people * train
        height = gammaln(shape.sum()) - gammaln(shape).sum() + log @ (shape - 1)
        logs.append(height + np.log((1 - ANYTHING) / len(NEAR_TRAIN)))
    return logsumexp(logs, axis=0)


def drawn_from_hyperprior(rng: np.random.Generator, train: NDArray) -> NDArray[np.float64]:
    """(3,) a prior as `hyperprior` has them; train: (3,)."""
    people = 0.0 if rng.random() < ANYTHING else NEAR_TRAIN[rng.integers(len(NEAR_TRAIN))]
    return rng.dirichlet(1 + people * train)


@dataclass(frozen=True)
class Posterior:
    """The priors that photos leave possible: priors (Q, 3) on a grid of that step, and the probability of each (Q,)."""

    priors: NDArray[np.float64]
    probability: NDArray[np.float64]
    step: tuple[float, float]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(3,) the mean prior."""
        return self.probability @ self.priors

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count, 3) priors, evenly spread over the probability, each somewhere in its cell of the grid."""
        order = rng.permutation(len(self.priors))
        place = np.searchsorted(np.cumsum(self.probability[order]), (np.arange(count) + rng.random()) / count)
        ends = self.priors[order[np.minimum(place, len(order) - 1)]][:, [0, 2]]
        ends = ends + (rng.random((count, 2)) - 0.5) * self.step
        return _whole(ends)[rng.permutation(count)]


def posterior(found: Evidence, train: NDArray, widen: float = 1.0, points: int = POINTS) -> Posterior:
    """The priors that the photos leave possible.

    train: (3,) the train prior; widen: by how much the statistic is too large where the prior is the true one, as found
    on one's own people; points: a side of the grid. The grid covers what is possible twice: once everything, to see
    where, and then that.
    """
    corners = np.array([[0.0, 1.0], [0.0, 1.0]])
    for rough in (True, False):
        priors, step = _grid(corners, points)
        statistic, sharp = found.statistic(priors)
        log = sharp - statistic / 2 / widen + hyperprior(priors, train)
        if rough:
            far = log - log.max() > -20
            ends = priors[far][:, [0, 2]]
            corners = np.stack([ends.min(0) - step, ends.max(0) + step], axis=1).clip(0, 1)
    probability = np.exp(log - log.max())
    return Posterior(priors, probability / probability.sum(), step)


def _grid(corners: NDArray, points: int) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Priors (Q, 3), their young and old shares the middles of cells between corners (2, 2), and the cells' sides."""
    step = (corners[:, 1] - corners[:, 0]) / points
    young, old = (corners[i, 0] + step[i] * (np.arange(points) + 0.5) for i in range(2))
    ends = np.stack(np.meshgrid(young, old, indexing="ij"), axis=-1).reshape(-1, 2)
    return _whole(ends[ends.sum(1) < 1]), (float(step[0]), float(step[1]))


def _whole(ends: NDArray) -> NDArray[np.float64]:
    """(n, 3) priors of the shares of young and old, ends (n, 2)."""
    priors = np.stack([ends[:, 0], 1 - ends.sum(1), ends[:, 1]], axis=1)
    priors = np.maximum(priors, FINEST)
    return priors / priors.sum(1, keepdims=True)
