"""What a loader process gets that is not forked: photos by the path of their file, and nothing else that is large."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import settings_of

from models.tasks import build_task
from pipeline.images.augment import Augmenter
from pipeline.images.mapped import MappedPixels, by_path
from pipeline.runtime.machine import Plan
from pipeline.training.loader import Loader

ROOT = Path(__file__).parents[3]
PHOTOS, SIZE = 2000, (64, 48)
KEYS = [(0, 0), (0, 7), (3, 7), (1, PHOTOS - 1)]


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """18 MB of photos in a file, as prepared ones are."""
    path = tmp_path_factory.mktemp("prepared") / "pixels.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (PHOTOS, *SIZE, 3), np.uint8))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def data_set_of(pixels):
    """What the loader of a training hands to its processes."""
    augmenter = Augmenter(build_task("mask", settings_of("mask")).augmentation, seed=3)
    return Loader(pixels, augmenter, [KEYS], Plan("cpu", "float32", True, 1, 1)).photos


def assert_same_photos(one, other):
    batches = np.zeros((2, len(KEYS), *SIZE, 3), np.uint8)
    for photos, batch in zip((one, other), batches, strict=True):
        photos.write(KEYS, batch)
    np.testing.assert_array_equal(*batches)
    assert len(np.unique(batches[0], axis=0)) == len(KEYS)


def test_a_pickled_data_set_is_small_and_gives_the_same_photos(pixels):
    photos = data_set_of(pixels)
    pickled = pickle.dumps(photos)
    assert len(pickled) < 100_000 < pixels.nbytes / 100
    again = pickle.loads(pickled)
    assert isinstance(again.pixels, np.memmap)
    assert again.pixels.mode == "r"
    np.testing.assert_array_equal(again.pixels, pixels)
    assert_same_photos(photos, again)
    assert_same_photos(photos, copy.copy(photos))


def test_it_is_opened_wherever_the_other_process_works(pixels, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(pixels.filename).parent)
    photos = data_set_of(np.load("pixels.npy", mmap_mode="r"))
    monkeypatch.chdir(tmp_path)
    assert_same_photos(photos, pickle.loads(pickle.dumps(photos)))


def test_photos_in_memory_go_as_they_are(pixels):
    photos = data_set_of(np.array(pixels[:10]))
    again = pickle.loads(pickle.dumps(photos))
    np.testing.assert_array_equal(again.pixels, photos.pixels)


def test_some_rows_of_a_map_are_not_taken_for_the_file(pixels):
    assert isinstance(by_path(pixels), MappedPixels)
    assert isinstance(pixels[5:9], np.memmap)
    for some in (pixels[5:9], pixels[::2], pixels[[3, 1]], pixels[0]):
        assert by_path(some) is some
    written = np.memmap(pixels.filename, np.uint8, "c", pixels.offset, pixels.shape)
    assert by_path(written) is written


def test_a_file_that_is_gone_is_told_before_a_loader_process_begins(tmp_path):
    np.save(tmp_path / "pixels.npy", np.zeros((3, *SIZE, 3), np.uint8))
    photos = data_set_of(np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    (tmp_path / "pixels.npy").unlink()
    with pytest.raises(FileNotFoundError) as told:
        pickle.dumps(photos)
    assert told.value.filename == str(tmp_path / "pixels.npy")


UNPICKLE = """
import importlib.abc, os, pickle, sys
class Look(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "albumentations":
            print(os.environ.get("NO_ALBUMENTATIONS_UPDATE"))
sys.meta_path.insert(0, Look())
print(len(pickle.load(sys.stdin.buffer).pixels))
"""


def test_another_process_looks_for_no_updates_either(pixels):
    own = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", UNPICKLE], cwd=ROOT, env=own, input=pickle.dumps(data_set_of(pixels)),
        capture_output=True,
    )  # fmt: skip
    assert done.stdout.decode().split() == ["1", str(PHOTOS)], done.stderr.decode()
