"""Whether predictions mean what they say: bins of them beside what was true (DeGroot and Fienberg 1983)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri

from pipeline.scoring.bootstrap import LEVEL, resample_means

BINS = 10
COLUMNS = ("said", "found", "found_low", "found_high", "photos")


def reliability_table(
    said: ArrayLike, found: ArrayLike, person: ArrayLike, bins: int = BINS, draws: int = 1000
) -> pd.DataFrame:
    """`COLUMNS`, a row a bin, from low to high: the mean prediction, the mean of what was true, with a 95 % interval.

    said: (n,) predictions, probabilities or years; found: (n,) what they are of, 0 or 1 or years; person: (n,), by whom
    intervals go: of years they resample people; of shares they are Wilson's (1927), of as many trials as people, so
    that eight right of eight leave room for a ninth that is wrong. Bins hold equally many photos; equal predictions
    stay together, so that there may be fewer.
    """
    said, person = np.asarray(said, np.float64), np.asarray(person)
    share = np.asarray(found).dtype == bool
    found = np.asarray(found, np.float64)
    edges = np.unique(np.quantile(said, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, said, side="right")
    rows = []
    for number in np.unique(place):
        here = place == number
        if share:
            low, high = wilson(float(found[here].mean()), len(np.unique(person[here])))
        else:
            drawn = resample_means(np.zeros(here.sum(), int), found[here][None], person[here], draws=draws)[:, 0]
            low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        rows.append((said[here].mean(), found[here].mean(), low, high, int(here.sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def wilson(share: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share of so many trials (Wilson 1927)."""
    z = float(ndtri((1 + LEVEL) / 2))
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_error(table: pd.DataFrame) -> float:
    """The mean distance between what bins said and what was true, by photos (Naeini, Cooper, Hauskrecht 2015)."""
    return float(np.average((table["said"] - table["found"]).abs(), weights=table["photos"]))
