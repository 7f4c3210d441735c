"""Which ages photos without labels have, where these shift inside a band and no mixture of the bands explains them.

The photos are a mixture of bins of true age (`age_bins`), deconvolved (Efron, Empirical Bayes deconvolution estimates,
2016). A bin's share is the validation people's times a factor whose logarithm is smooth inside a band and free between
bands: its curvature is held down (as by Bunse, Moreo, Sebastiani and Senz 2024), as far as the marginal likelihood has
it (Laplace's approximation, MacKay 1992). A band's share is the sum of its bins'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS

FREE = 2.0
"""The deviation, in logits, of the factor of a band."""
BENDS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""The deviations, in logits, of a step between bins from the step before, that are compared."""
STEP = 2.0
"""The deviation, in logits, of a step."""
RIDGE = 1e-3
"""Holds what nothing else does: the factor that all bins may share."""


@dataclass(frozen=True)
class Deconvolution:
    """The ages of photos.

    factor: (K,) how often people of a bin count, beside one another; prior: (3,) shares by band; factors (B, K), priors
    (B, 3): others that the photos leave possible; fitted: (F,) the predictions that they would show.
    """

    factor: NDArray[np.float64]
    prior: NDArray[np.float64]
    factors: NDArray[np.float64]
    priors: NDArray[np.float64]
    fitted: NDArray[np.float64]


def deconvolve(
    bands: NDArray[np.int64], share: NDArray, density: NDArray, seen: NDArray, people: float, draws: int, seed: int = 0
) -> Deconvolution:
    """The likeliest ages, and others that the photos leave possible.

    bands: (K,) of the bins; share: (K,) of validation people; density: (K, F) of predictions in each; seen: (F,) shares
    of the photos' predictions; people: as how many these count.
    """
    best, chosen = -np.inf, None
    for bend in BENDS:
        penalty = _penalty(bands, bend)
        log, hessian, loss = _likeliest(share, density, seen * people, penalty)
        evidence = np.linalg.slogdet(penalty)[1] / 2 - np.linalg.slogdet(hessian)[1] / 2 - loss
        if evidence > best:
            best, chosen = evidence, (log, hessian)
    assert chosen is not None
    log, hessian = chosen
    rng = np.random.default_rng([seed, 25])
    root = np.linalg.inv(np.linalg.cholesky(hessian))  # its transpose times itself is the covariance
    drawn = log + rng.normal(size=(draws, len(log))) @ root
    found, inside = _shares(share, log), np.eye(len(BANDS))[bands]
    return Deconvolution(np.exp(log), found @ inside, np.exp(drawn), _shares(share, drawn) @ inside, found @ density)


def _shares(share: NDArray, log: NDArray) -> NDArray[np.float64]:
    """(..., K) shares with the logarithms of their factors (..., K)."""
    times = share * np.exp(log - log.max(-1, keepdims=True))
    return times / times.sum(-1, keepdims=True)


def _likeliest(
    share: NDArray, density: NDArray, count: NDArray, penalty: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(K,) the logarithms of factors of least loss, its second derivative there (K, K), and the loss.

    count: (F,) people by their predictions. The derivative is Gauss and Newton's, so that it is positive.
    """
    from scipy.optimize import minimize  # takes a third of a second, and few photos need it

    def loss(log: NDArray) -> tuple[float, NDArray]:
        found = _shares(share, log)
        mixed = found @ density
        slope = found * (count.sum() - density @ (count / mixed)) + penalty @ log
        return float(log @ penalty @ log / 2 - count @ np.log(mixed)), slope

    best = minimize(loss, np.zeros(len(share)), jac=True, method="L-BFGS-B")
    found = _shares(share, best.x)
    mixed = found @ density
    ways = found[:, None] * (density / mixed - 1)
    return best.x, (ways * count) @ ways.T + penalty, float(best.fun)


def _penalty(bands: NDArray[np.int64], bend: float) -> NDArray[np.float64]:
    """(K, K) of the logarithms of factors: of bends and steps inside a band, and of each band's mean."""
    steps, inside = np.diff(np.eye(len(bands)), axis=0), np.diff(bands) == 0
    bends = np.diff(steps, axis=0)[inside[1:] & inside[:-1]] / bend
    means = np.stack([(bands == b) / (bands == b).sum() for b in np.unique(bands)]) / FREE
    rows = np.concatenate([bends, steps[inside] / STEP, means])
    return rows.T @ rows + RIDGE * np.eye(len(bands))
