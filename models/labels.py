"""The 18-label code: label = mask * 6 + gender * 3 + band.

mask 0 worn right, 1 worn wrong, 2 not worn; gender 0 male, 1 female; band 0 under 30, 1 from 30 to 59,
2 of 60 and over.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MASKS = ("worn", "wrong", "none")
GENDERS = ("male", "female")
BANDS = ("under 30", "30 to 59", "60 and over")
MASK_WORDS = ("mask right", "mask wrong", "no mask")
"""The mask states as a person reads them beside a photo."""
BAND_STARTS = (30.0, 60.0)
"""The ages, in years, at which the second and the third band begin."""
OLDEST = 100
"""Ages train as at most this many years."""
LABELS = len(MASKS) * len(GENDERS) * len(BANDS)
CLASSES = len(BANDS) * len(GENDERS)
"""The classes of people: band * 2 + gender. A prior has a share for each."""
CELLS = len(MASKS) * len(GENDERS)
"""What a photo shows beside the age: mask * 2 + gender."""
NAMES = tuple(f"{mask}, {gender}, {band}" for mask in MASKS for gender in GENDERS for band in BANDS)
"""The 18 labels in words, in the order of their numbers."""


def encode(mask: ArrayLike, gender: ArrayLike, band: ArrayLike) -> NDArray[np.int64]:
    """The label of each (mask, gender, band); arrays of whole numbers that broadcast."""
    return (
        np.asarray(mask, np.int64) * (len(GENDERS) * len(BANDS))
        + np.asarray(gender, np.int64) * len(BANDS)
        + np.asarray(band, np.int64)
    )


def decode(label: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(mask, gender, band) of each label; the inverse of `encode`."""
    label = np.asarray(label, np.int64)
    return label // (len(GENDERS) * len(BANDS)), label // len(BANDS) % len(GENDERS), label % len(BANDS)


def band(age: ArrayLike, thresholds: tuple[float, float] = BAND_STARTS) -> NDArray[np.int64]:
    """The band of each age (or predicted age) in years: how many of the two thresholds it reaches.

    NaN has no band and belongs to no row that reaches here: it raises ValueError.
    """
    age = np.asarray(age, np.float64)
    if np.isnan(age).any():
        raise ValueError("an age is missing; only known ages have a band")
    return (age >= thresholds[0]).astype(np.int64) + (age >= thresholds[1])


def class_of(gender: ArrayLike, band: ArrayLike) -> NDArray[np.int64]:
    """The class of each person; arrays of whole numbers that broadcast."""
    return np.asarray(band, np.int64) * len(GENDERS) + np.asarray(gender, np.int64)


def class_of_label(label: ArrayLike) -> NDArray[np.int64]:
    """The class that each label of the 18 belongs to."""
    _, gender, band = decode(label)
    return class_of(gender, band)


def by_gender_first(kind: ArrayLike) -> NDArray[np.int64]:
    """Classes numbered by gender, then band: the order in which people are dealt to folds and drawn."""
    kind = np.asarray(kind, np.int64)
    return kind % len(GENDERS) * len(BANDS) + kind // len(GENDERS)


def label_of(cell: ArrayLike, band: ArrayLike) -> NDArray[np.int64]:
    """The label of each cell and band; arrays of whole numbers that broadcast."""
    return np.asarray(cell, np.int64) * len(BANDS) + np.asarray(band, np.int64)


def fused(cell: ArrayLike, age: ArrayLike, thresholds: tuple[float, float] = BAND_STARTS) -> NDArray[np.int64]:
    """The label of each photo: its cell, and the band of its (predicted) age in years under the thresholds."""
    return label_of(cell, band(age, thresholds))
