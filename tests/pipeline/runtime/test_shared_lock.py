"""A lock that is held alone or together, by open files of one process: the kernel tells them apart like processes."""

import os
import threading
import time
from contextlib import contextmanager

import pytest

from pipeline.runtime import holder, shared_lock, store
from pipeline.runtime.shared_lock import never


@contextmanager
def entered(path, *may, joining=False):
    with shared_lock.shared_lock(path, "the run x") as lock:
        if joining:
            lock.join()
        else:
            lock.enter(*may)
        yield lock


def in_thread(work):
    """Runs it beside the test; what it returns goes into a list."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    return thread, found


def test_the_first_is_alone_until_it_shares(tmp_path):
    path = tmp_path / "lock"
    with entered(path) as first:
        assert first.alone
        first.share()
        assert not first.alone
        with entered(path) as second, entered(path, joining=True) as third:
            assert not second.alone
            assert not third.alone
            assert not second.try_alone()
            assert not second.alone
        assert first.try_alone()
        assert first.alone


def test_who_must_be_alone_waits_for_all_others(tmp_path):
    path = tmp_path / "lock"
    with entered(path) as first:
        first.share()

        def alone():
            with entered(path, never) as lock:
                return lock.alone

        thread, found = in_thread(alone)
        time.sleep(0.2)
        assert found == []
    thread.join(20)
    assert found == [True]


def test_who_comes_while_one_is_alone_waits_and_is_told_for_whom(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "MOMENT", 0.1)
    path = tmp_path / "lock"

    def come():
        with entered(path) as lock:
            return lock.alone

    with entered(path) as first:
        other, found = in_thread(come)
        time.sleep(0.4)
        assert found == []
        first.share()
        other.join(20)
    assert found == [False]
    assert f"the run x is already being worked on by process {os.getpid()}" in capsys.readouterr().err


def test_nobody_comes_in_before_one_that_waits_for_the_others_to_leave(tmp_path):
    """Between leaving the others and being alone it holds nothing; who comes then must not be alone first."""
    path, order = tmp_path / "lock", []
    stay, begun = threading.Event(), threading.Event()

    def staying():
        with entered(path):
            begun.set()
            stay.wait(20)
            order.append("the other left")

    def coming():
        with entered(path) as lock:
            order.append(f"came, alone: {lock.alone}")

    with entered(path) as first:
        first.share()
        other, _ = in_thread(staying)
        assert begun.wait(20)
        finishing, _ = in_thread(lambda: (first.become_alone(), order.append("alone"), time.sleep(0.3)))
        time.sleep(0.2)
        late, _ = in_thread(coming)
        time.sleep(0.2)
        stay.set()
        other.join(20)
        finishing.join(20)
        assert order == ["the other left", "alone"]
        assert first.alone
    late.join(20)
    assert order == ["the other left", "alone", "came, alone: True"]


def test_of_two_that_want_to_be_alone_one_is_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_lock, "GRACE", 0.1)
    path, within = tmp_path / "lock", []
    meet = threading.Barrier(2)

    def work():
        with entered(path, joining=True) as lock:
            meet.wait(20)
            lock.become_alone()
            within.append(1)
            assert sum(within) == 1
            time.sleep(0.1)
            within.append(-1)
            return lock.alone

    workers = [in_thread(work) for _ in range(2)]
    for worker, _ in workers:
        worker.join(20)
    assert [found for _, found in workers] == [[True], [True]]


def test_who_may_only_join_others_waits_until_it_may(tmp_path):
    path, there = tmp_path / "lock", threading.Event()
    with entered(path) as first:
        first.share()
        other, found = in_thread(lambda: _joined(path, there))
        time.sleep(0.2)
        assert found == []
        there.set()
        other.join(20)
    assert found == [False]


def _joined(path, there):
    with entered(path, there.is_set) as lock:
        return lock.alone


def test_where_no_claim_can_be_made_a_lock_is_held_all_the_same(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    with entered(path) as lock:
        assert lock.alone
        lock.share()
        lock.become_alone()
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]


def test_one_that_leaves_keeps_the_note_of_another(tmp_path):
    path = tmp_path / "lock"
    with path.open("a+b", buffering=0) as file:
        holder.write(file)
        note = path.read_bytes().replace(str(os.getpid()).encode(), str(os.getppid()).encode(), 1)
        path.write_bytes(note)
        holder.clear(file)
        assert path.read_bytes() == note
        path.write_bytes(b"")
        holder.write(file)
        holder.clear(file)
        assert path.read_bytes() == b""


def test_a_free_lock_is_taken_once(tmp_path):
    path = tmp_path / "lock"
    with store.free_lock(path) as mine, store.free_lock(path) as other:
        assert (mine, other) == (True, False)
    with store.free_lock(path) as mine:
        assert mine


@pytest.mark.parametrize("alone", [True, False])
def test_a_lock_dies_with_its_owner(tmp_path, alone):
    path = tmp_path / "lock"
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        with entered(path) as lock:
            if not alone:
                lock.share()
            os.write(tell, b"x")
            time.sleep(60)
    os.read(ready, 1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with entered(path, never) as lock:
        assert lock.alone
