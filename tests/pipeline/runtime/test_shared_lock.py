"""A lock that is held alone or together, by open files of one process: the kernel tells them apart like processes."""

import os
import threading
import time

import pytest

from models.errors import UserError
from pipeline.runtime import holder, store
from pipeline.runtime.shared_lock import shared


def test_the_first_is_alone_until_it_shares(tmp_path):
    path = tmp_path / "lock"
    with shared(path, "work") as first:
        assert first.alone
        first.share()
        assert not first.alone
        with shared(path, "work") as second, shared(path, "work", joining=True) as third:
            assert not second.alone
            assert not third.alone
            assert not second.try_alone()
            with pytest.raises(UserError, match="already being worked on"), store.locked(path, "other work"):
                pass
        assert first.try_alone()
        assert first.alone
    with store.locked(path, "other work"):
        pass


def test_who_joins_is_never_alone(tmp_path):
    with shared(tmp_path / "lock", "work", joining=True) as lock:
        assert not lock.alone


def test_who_comes_while_one_is_alone_waits_and_is_told_for_whom(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "MOMENT", 0.1)
    path, came = tmp_path / "lock", []

    def come():
        with shared(path, "the run x") as lock:
            came.append(lock.alone)

    with shared(path, "the run x") as first:
        other = threading.Thread(target=come)
        other.start()
        time.sleep(0.4)
        assert came == []
        first.share()
        other.join()
    assert came == [False]
    assert f"the run x is already being worked on by process {os.getpid()}" in capsys.readouterr().err


def test_becoming_alone_waits_for_the_others_to_leave(tmp_path):
    path, order = tmp_path / "lock", []
    with shared(path, "work") as first:
        first.share()

        def stay():
            with shared(path, "work", joining=True):
                time.sleep(0.3)
                order.append("the other left")

        other = threading.Thread(target=stay)
        other.start()
        while not holder_count(path, first):
            time.sleep(0.01)
        first.become_alone()
        order.append("alone")
        assert first.alone
        other.join()
    assert order == ["the other left", "alone"]


def holder_count(path, lock) -> bool:
    """Whether somebody else holds the lock too; `lock` holds it together as before."""
    if lock.try_alone():
        lock.share()
        return False
    return True


def test_two_that_both_want_to_be_alone_do_not_wait_for_one_another(tmp_path):
    path, were = tmp_path / "lock", []
    meet = threading.Barrier(2)

    def work(first):
        with shared(path, "work", joining=True) as lock:
            meet.wait()
            lock.become_alone()
            were.append(lock.alone)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=20)
    assert were == [True, True]


def test_one_that_leaves_keeps_the_note_of_another(tmp_path):
    path = tmp_path / "lock"
    with path.open("a+b", buffering=0) as file:
        holder.write(file)
        note = path.read_bytes().replace(str(os.getpid()).encode(), str(os.getppid()).encode(), 1)
        path.write_bytes(note)
        holder.clear(file)
        assert path.read_bytes() == note
        holder.write(file)
        holder.clear(file)
        assert path.read_bytes() == b""


def test_a_free_lock_is_taken_once(tmp_path):
    path = tmp_path / "lock"
    with store.free_lock(path) as mine, store.free_lock(path) as other:
        assert (mine, other) == (True, False)
    with store.free_lock(path) as mine:
        assert mine
