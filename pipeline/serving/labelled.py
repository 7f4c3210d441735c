"""What is said of photos that are shown to a trained run, or to an exported one."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Labelled(NamedTuple):
    """What a run says of photos.

    photos: a row for each, in order: photo, label, mask, gender, band in words, years and probabilities; columns that
    the system does not predict are left out. faces: the same for each face that was found, with its number and box;
    None where none are looked for.
    bad: the photos that cannot be decoded, with the reason, which have no row; cut_short: those whose file is.
    """

    photos: pd.DataFrame
    faces: pd.DataFrame | None
    bad: dict[str, str]
    cut_short: list[str]
