"""Photos shared out in chunks: each is predicted once, whoever takes it, and the table is that of one process."""

import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.images import photos as images
from pipeline.images.framing import View
from pipeline.images.photos import FittedPhoto, Photos
from pipeline.prediction import in_chunks, over_photos
from pipeline.prediction.chunks import Chunks
from pipeline.prediction.engine import REFERENCE
from pipeline.prediction.in_chunks import ChunkedWork, chunk_size

VIEW = View(2, 2)
NAMES = [f"{number:03d}.png" for number in range(50)]
ROWS = pd.DataFrame({"photo": pd.array(NAMES, "string"), "person": pd.array([pd.NA] * 50, "string")})


class Member:
    """Predicts a photo's own number, and counts how often it is asked."""

    fold, view, columns = 0, VIEW, ("age_years",)

    def __init__(self, seconds=0.0):
        self.asked, self.seconds = [], seconds

    def predict(self, pixels):
        time.sleep(self.seconds)
        self.asked += pixels[:, 0, 0, 0].tolist()
        return pixels[:, 0, 0, :1].astype(np.float32)


@pytest.fixture(autouse=True)
def pixels_of_names(monkeypatch):
    def decoded(photos, views, jobs):
        for name in photos.names:
            number = int(name[:3])
            yield "no photo" if number == 13 else FittedPhoto({VIEW: np.full((2, 2, 3), number, np.uint8)}, number == 7)

    monkeypatch.setattr(over_photos, "decode_all", decoded)
    monkeypatch.setattr(in_chunks, "LOOK", 0.01)


def work_of(place: Path, member: Member, key="k") -> ChunkedWork:
    return ChunkedWork(
        place, key, 8, ROWS, lambda rows: Photos(Path("none"), rows["photo"].tolist()), [member], REFERENCE, 1
    )


def test_chunks_are_whole_batches_and_few_photos_are_shared_out_too():
    assert [chunk_size(photos) for photos in (1, 1_141, 10_000, 20_000, 10_000_000)] == [256, 256, 640, 1024, 1024]
    assert all(chunk_size(photos) % 64 == 0 for photos in range(1, 40_000, 77))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_photo_is_predicted_once_by_however_many(tmp_path, processes):
    members = [Member(0.002) for _ in range(processes)]
    workers = [threading.Thread(target=work_of(tmp_path, member).predict) for member in members]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    asked = [number for member in members for number in member.asked]
    assert sorted(asked) == [number for number in range(50) if number != 13]
    work = work_of(tmp_path, members[0])
    assert work.undecoded() == in_chunks.Undecoded({"013.png": "no photo"}, ["007.png"])
    assert work.merge() == ["predictions.csv"]
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["photo"].tolist() == [name for name in NAMES if name != "013.png"]
    assert table["age_years"].tolist() == [float(name[:3]) for name in table["photo"]]
    assert set(table["engine"]) == {"torch"}


def test_a_chunk_that_another_has_is_waited_for_and_taken_over_when_it_is_let_go(tmp_path):
    work, member = work_of(tmp_path, Member()), Member()
    with work._written.taken(2) as mine:
        assert mine
        other = threading.Thread(target=work_of(tmp_path, member).predict)
        other.start()
        time.sleep(0.3)
        assert other.is_alive()
        assert work.undecoded() is None
        assert not set(range(16, 24)) & set(member.asked)
    other.join()  # whoever had it wrote nothing: it may have died
    assert set(member.asked) == set(range(50)) - {13}
    assert work.undecoded() is not None


def test_a_chunk_that_another_has_written_meanwhile_is_not_predicted_again(tmp_path):
    first, second = Member(), Member()
    work = work_of(tmp_path, first)
    with work._written.taken(0):
        other = threading.Thread(target=work_of(tmp_path, second).predict)
        other.start()
        while len(second.asked) < 41:
            time.sleep(0.01)
        work._predict(0, in_chunks.Progress("", 0, ""))
    other.join()
    assert set(first.asked) == set(range(8))
    assert not set(first.asked) & set(second.asked)


def test_a_damaged_chunk_is_made_again(tmp_path):
    work_of(tmp_path, Member()).predict()
    table = Chunks(tmp_path, "k")._table(3)
    table.write_bytes(table.read_bytes()[:-4])
    work = work_of(tmp_path, member := Member())
    assert work.undecoded() is None
    work.predict()
    assert member.asked == list(range(24, 32))


def test_a_chunk_is_made_again_once_its_bad_photos_can_be_decoded(tmp_path, monkeypatch):
    work_of(tmp_path, Member()).predict()
    work = work_of(tmp_path, member := Member())
    work.predict()
    assert member.asked == []
    monkeypatch.setattr(in_chunks, "mended", lambda source, bad: "013.png" in bad)
    work.predict()
    assert set(member.asked) == set(range(8, 16)) - {13}
    assert images.mended(Path, ["013.png"]) is False
