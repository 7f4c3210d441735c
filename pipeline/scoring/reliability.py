"""Whether predictions mean what they say: bins of them beside what was true (DeGroot and Fienberg 1983)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.scoring.bootstrap import LEVEL, resample_means

BINS = 10
COLUMNS = ("said", "found", "found_low", "found_high", "photos")


def reliability_table(
    said: ArrayLike, found: ArrayLike, truth: ArrayLike, person: ArrayLike, bins: int = BINS, draws: int = 1000
) -> pd.DataFrame:
    """`COLUMNS`, a row a bin, from low to high: the mean prediction, the mean of what was true, with a 95 % interval.

    said: (n,) predictions, probabilities or years; found: (n,) what they are of, 0 or 1 or years; truth: (n,) labels
    and person: (n,), for the interval, which resamples people. Bins hold equally many photos; equal predictions stay
    together, so that there may be fewer.
    """
    said, found = np.asarray(said, np.float64), np.asarray(found, np.float64)
    truth, person = np.asarray(truth, np.int64), np.asarray(person)
    edges = np.unique(np.quantile(said, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, said, side="left")
    rows = []
    for number in np.unique(place):
        here = place == number
        drawn = resample_means(truth[here], found[here][None], person[here], draws=draws)[:, 0]
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        rows.append((said[here].mean(), found[here].mean(), low, high, int(here.sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def calibration_error(table: pd.DataFrame) -> float:
    """The mean distance between what bins said and what was true, by photos (Naeini, Cooper, Hauskrecht 2015)."""
    return float(np.average((table["said"] - table["found"]).abs(), weights=table["photos"]))
