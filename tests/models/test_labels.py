"""The 18-label code is the contest's, and reads back what it writes."""

import numpy as np
import pytest

from models.labels import BANDS, GENDERS, LABELS, MASKS, NAMES, band, decode, encode


def test_all_18_labels_by_the_contests_formula():
    seen = []
    for mask in range(3):
        for gender in range(2):
            for age_band in range(3):
                label = int(encode(mask, gender, age_band))
                assert label == mask * 6 + gender * 3 + age_band
                assert tuple(int(part) for part in decode(label)) == (mask, gender, age_band)
                assert NAMES[label] == f"{MASKS[mask]}, {GENDERS[gender]}, {BANDS[age_band]}"
                seen.append(label)
    assert seen == list(range(LABELS)) == list(range(18))
    assert len(set(NAMES)) == 18


def test_arrays_round_trip_and_broadcast():
    labels = np.arange(18)
    mask, gender, age_band = decode(labels)
    assert mask.dtype == gender.dtype == age_band.dtype == np.int64
    np.testing.assert_array_equal(encode(mask, gender, age_band), labels)
    np.testing.assert_array_equal(encode(np.arange(3)[:, None], 1, [0, 2]), [[3, 5], [9, 11], [15, 17]])


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, 0), (18, 0), (29, 0), (29.999, 0), (30, 1), (59, 1), (np.nextafter(60, 0), 1), (60, 2), (100, 2)],
)
def test_band_edges(age, expected):
    assert band(age) == expected


def test_band_counts_the_thresholds_reached():
    predictions = np.array([20, 27.4, 27.5, 40, 56.9, 57.0, 80], np.float32)
    np.testing.assert_array_equal(band(predictions, (27.5, 57.0)), [0, 0, 1, 1, 1, 2, 2])
    assert band(predictions).dtype == np.int64


@pytest.mark.parametrize("age", [np.nan, [20.0, np.nan]])
def test_a_missing_age_has_no_band(age):
    with pytest.raises(ValueError, match="age is missing"):
        band(age)
