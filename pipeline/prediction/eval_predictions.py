"""Predictions about photos whose truth is not known, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EvalPredictions:
    """Eval predictions as arrays, n photos by K networks; NaN where a network is missing.

    predicted_age (n, K) years; gender (n, K) predicted; photos_per_person: how many photos count as one person; mask
    (n, K) predicted states, -1 where a network is missing, None where nobody asks for them.
    """

    predicted_age: NDArray[np.float64]
    gender: NDArray[np.int64]
    photos_per_person: float
    mask: NDArray[np.int64] | None = None

    @property
    def people(self) -> int:
        """As how many people the photos count whose persons are not known."""
        return max(2, round(len(self.predicted_age) / self.photos_per_person))

    @property
    def removed(self) -> float:
        """The variance of a predicted age, in squared years, that averaging the networks removes."""
        times = np.isfinite(self.predicted_age).sum(1)
        several = times > 1
        if not several.any():
            return 0.0
        inside = np.nanvar(self.predicted_age[several], axis=1, ddof=1)
        return float((inside * (1 - 1 / times[several])).sum() / len(times))
