"""The labels of photos held out, by networks and a combiner that did not learn from them."""

from __future__ import annotations

import pandas as pd
from numpy.typing import NDArray

from pipeline.prediction.labelled import LabelledPredictions


def held_out_table(
    rows: LabelledPredictions, plain: NDArray, cross_fitted: NDArray, in_sample: NDArray
) -> pd.DataFrame:
    """A row for each validation photo with all labels: photo, its true label, and three labels predicted.

    plain: (n,) before any calibration; cross_fitted: (n,) calibrated on other people; in_sample: (n,) by the
    calibration that is used, in which the person had a part. Where photos weigh differently inside a class of people,
    for other mask states or ages, their weight stands beside.
    """
    labels = {"plain": plain, "cross_fitted": cross_fitted, "in_sample": in_sample}
    weight = {} if rows.weight is None else {"weight": rows.weight}
    return pd.DataFrame({"photo": rows.photo, "label": rows.label} | labels | weight)
