"""Photos of all who ask, together: each gets its own reply, and one that fails takes no other with it."""

import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.images.decode import PhotoBytes
from pipeline.serving.batcher import Batcher, BusyError
from pipeline.serving.labelled import Labelled


class Lengths:
    """Labels a photo with the number of its bytes; those that begin with x cannot be decoded, with ! or ? break it."""

    together = 4

    def __init__(self):
        self.may_look, self.may_label = threading.Event(), threading.Event()
        self.may_look.set()
        self.may_label.set()
        self.looked = []

    def look_at(self, photo):
        self.may_look.wait()
        self.looked.append(photo.name)
        if photo.content.startswith(b"!"):
            raise RuntimeError("a fault of ours")
        if photo.content.startswith(b"x"):
            return "it is no photo"
        return SimpleNamespace(content=photo.content, left_out=photo.content.count(b"f"))

    def label_seen(self, names, photos):
        self.may_label.wait()
        if any(photo.content.startswith(b"?") for photo in photos):
            raise RuntimeError("another fault")
        rows = pd.DataFrame({"photo": names, "label": [len(photo.content) for photo in photos]})
        cut = [name for name, photo in zip(names, photos, strict=True) if photo.content.endswith(b"~")]
        return Labelled(rows, None, {}, cut)


def photo(content, name="a"):
    return PhotoBytes(content, name)


def ask(batcher, photo):
    (reply,) = batcher.ask([photo])
    return reply


def test_each_photo_gets_its_own_reply():
    sizes = []
    with Batcher(Lengths(), 3, 1000, sizes.append) as batcher, ThreadPoolExecutor(20) as clients:
        asked = list(clients.map(lambda n: ask(batcher, photo(b"a" * n, f"{n}")), range(1, 301)))
        assert [one.result()["label"] for one in asked] == list(range(1, 301))
        assert [one.result()["photo"] for one in asked] == [f"{n}" for n in range(1, 301)]
    assert sum(sizes) == 300
    assert max(sizes) <= 4
    assert len(sizes) < 150  # they met


def test_names_need_not_differ():
    with Batcher(Lengths(), 2, 10) as batcher:
        asked = [ask(batcher, photo(b"a" * n, "same")) for n in (1, 2, 3)]
        assert [one.result() for one in asked] == [{"photo": "same", "label": n} for n in (1, 2, 3)]


def test_one_alone_does_not_wait_for_others():
    with Batcher(Lengths(), 1, 10) as batcher:
        ask(batcher, photo(b"a")).result()
        start = time.perf_counter()
        for _ in range(20):
            ask(batcher, photo(b"a")).result()
        assert time.perf_counter() - start < 1  # twenty times PATIENCE would be two seconds


def test_a_photo_that_is_none_and_a_file_cut_short():
    with Batcher(Lengths(), 1, 10) as batcher:
        asked = [ask(batcher, photo(content)) for content in (b"x", b"ok", b"ab~")]
        assert asked[0].result() == {"photo": "a", "error": "it is no photo"}
        assert asked[1].result() == {"photo": "a", "label": 2}
        assert asked[2].result() == {"photo": "a", "label": 3, "cut_short": True}
        assert ask(batcher, photo(b"off")).result() == {"photo": "a", "label": 3, "faces_left_out": 2}


@pytest.mark.parametrize("content", [b"!", b"?"])
def test_after_a_fault_the_next_is_answered(content):
    with Batcher(Lengths(), 1, 10) as batcher:
        with pytest.raises(RuntimeError, match="fault"):
            ask(batcher, photo(content)).result()
        assert ask(batcher, photo(b"ok")).result()["label"] == 2
        assert batcher.waiting == 0


def test_no_more_wait_than_it_takes_on():
    labels = Lengths()
    labels.may_label.clear()
    with Batcher(labels, 2, 3) as batcher:
        asked = batcher.ask([photo(b"ok")] * 2)
        with pytest.raises(BusyError):  # which takes neither of them
            batcher.ask([photo(b"ok")] * 2)
        assert batcher.waiting == 2
        asked += batcher.ask([photo(b"ok")])
        labels.may_label.set()
        assert [one.result()["label"] for one in asked] == [2, 2, 2]
        assert ask(batcher, photo(b"ok")).result()["label"] == 2


def test_decoded_photos_do_not_pile_up():
    """Where the networks are slower, decoding waits: a decoded crowd takes megabytes."""
    labels = Lengths()
    labels.may_label.clear()
    with Batcher(labels, 2, 1000) as batcher:
        asked = batcher.ask([photo(b"ok", str(n)) for n in range(200)])
        time.sleep(0.3)
        assert len(labels.looked) <= 1 + 2 * labels.together + labels.together + 2
        labels.may_label.set()
        assert all(one.result()["label"] == 2 for one in asked)


def test_the_longest_wait_is_told():
    labels = Lengths()
    labels.may_label.clear()
    with Batcher(labels, 1, 10) as batcher:
        assert batcher.longest_wait == 0
        first = ask(batcher, photo(b"ok"))
        time.sleep(0.1)
        ask(batcher, photo(b"ok"))
        assert batcher.longest_wait >= 0.1
        labels.may_label.set()
        first.result()
    assert batcher.longest_wait == 0


def test_a_photo_that_nobody_waits_for_is_not_kept_in_memory():
    labels = Lengths()
    labels.may_look.clear()
    with Batcher(labels, 1, 10) as batcher:
        ask(batcher, photo(b"first"))
        content = bytearray(b"a photo")
        kept = memoryview(content)
        reply = ask(batcher, PhotoBytes(kept, "b"))
        held = sys.getrefcount(kept)
        reply.cancel()
        assert sys.getrefcount(kept) < held
        labels.may_look.set()


def test_what_nobody_waits_for_is_not_looked_at():
    labels = Lengths()
    labels.may_look.clear()
    with Batcher(labels, 1, 10) as batcher:
        first, second, third = (ask(batcher, photo(b"ok", name)) for name in "abc")
        assert second.cancel()
        labels.may_look.set()
        assert first.result()["label"] == third.result()["label"] == 2
        with pytest.raises(CancelledError):
            second.result()
        assert batcher.waiting == 0
    assert labels.looked == ["a", "c"]


def test_it_ends_when_all_have_their_replies():
    labels = Lengths()
    with Batcher(labels, 2, 100) as batcher:
        asked = [ask(batcher, photo(b"ok")) for _ in range(50)]
    assert all(one.result(timeout=0)["label"] == 2 for one in asked)


@pytest.mark.parametrize("stuck", ["may_look", "may_label"])
def test_it_ends_in_time_whatever_is_stuck(stuck):
    labels = Lengths()
    getattr(labels, stuck).clear()
    batcher = Batcher(labels, 2, 100)
    batcher.start()
    batcher.ask([photo(b"ok")] * 30)
    start = time.monotonic()
    batcher.close(0.3)
    assert 0.2 < time.monotonic() - start < 5
    getattr(labels, stuck).set()  # its threads end
