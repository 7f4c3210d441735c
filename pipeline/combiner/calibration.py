"""Label probabilities, calibrated on validation photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from models.labels import BANDS, GENDERS, LABELS, MASKS, decode

SPREAD = 0.5
"""The biases are held to zero as if drawn from a Gaussian of this deviation, in logits: few people move them little."""
TEMPERATURES = (0.2, 5.0)
"""The lowest and the highest."""

_MASK, _GENDER, _BAND = decode(np.arange(LABELS))
_TERMS = np.concatenate(
    [np.eye(len(MASKS))[_MASK], np.eye(len(GENDERS))[_GENDER], np.eye(len(BANDS))[_BAND],
     np.eye(len(GENDERS) * len(BANDS))[_GENDER * len(BANDS) + _BAND]], 1,
)  # fmt: skip
"""(18, 14) which biases a label has: one of its mask state, its gender, its band, and its gender x band."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and a bias (18,) for each label, in logits.

    The temperature mends how sure a network is (Guo et al. 2017), the biases that it learned from another class
    prior than validation's, as with --sampling balanced (Alexandari et al. 2020).
    """

    temperature: float
    biases: NDArray[np.float64]

    def log(self, probabilities: NDArray) -> NDArray[np.float64]:
        """Probabilities (n, 18), each above 0 -> the logarithms of calibrated ones (n, 18)."""
        return log_softmax(np.log(probabilities) / self.temperature + self.biases, 1)


def fit_calibration(probabilities: NDArray, label: NDArray, people: int) -> Calibration:
    """The calibration that gives the true labels the greatest likelihood, a person counting once.

    probabilities: (n, 18), each above 0; label: (n,) true; people: how many the photos are of. A label's bias is a sum:
    a gender x band without people goes with its gender and its band.
    """
    log, each = np.log(probabilities), people / len(label)
    rows = np.arange(len(label))

    def loss(given: NDArray) -> tuple[float, NDArray]:
        scale, biases = np.exp(-given[0]), given[1:]
        found = log_softmax(log * scale + _TERMS @ biases, 1)
        wrong = np.exp(found)
        wrong[rows, label] -= 1
        slope = np.concatenate([[-(wrong * log).sum() * scale], wrong.sum(0) @ _TERMS]) * each
        slope[1:] += biases / SPREAD**2
        return float(-found[rows, label].sum() * each + (biases**2).sum() / 2 / SPREAD**2), slope

    size = _TERMS.shape[1]
    bounds = [tuple(np.log(TEMPERATURES)), *[(None, None)] * size]
    best = minimize(loss, np.zeros(1 + size), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(best[0])), _TERMS @ best[1:])
