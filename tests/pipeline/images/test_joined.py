"""Pixels of several sets, read as one array."""

import pickle

import numpy as np
import pytest

from pipeline.images.joined import JoinedPixels


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (count, 4, 3, 3), np.uint8) for count in (5, 1, 3)]
    mapped = []
    for number, array in enumerate(made):
        np.save(tmp_path / f"{number}.npy", array)
        mapped.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    return made, mapped


def test_rows_are_those_of_the_arrays_end_to_end(arrays):
    whole = np.concatenate(arrays[0])
    joined = JoinedPixels(arrays[1])
    assert joined.shape == whole.shape
    assert len(joined) == 9
    for row in range(9):
        np.testing.assert_array_equal(joined[row], whole[row])
    for row in (-1, 9):
        with pytest.raises(IndexError):
            joined[row]


def test_another_process_maps_the_files(arrays):
    joined = JoinedPixels(arrays[1])
    packed = pickle.dumps(joined)
    assert b"0.npy" in packed
    assert len(packed) < 1200  # no pixels
    other = pickle.loads(packed)
    for row in range(9):
        np.testing.assert_array_equal(other[row], joined[row])


def test_sizes_must_agree(arrays):
    with pytest.raises(ValueError, match="several sizes"):
        JoinedPixels([arrays[0][0], np.zeros((2, 5, 3, 3), np.uint8)])
