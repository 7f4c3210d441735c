"""Loader processes: the same photos however many there are, and a sure end whatever way one of them ends."""

import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import PLANS, trainer_of

from models.errors import UserError
from pipeline.runtime import store
from pipeline.runtime.machine import Plan
from pipeline.training import checkpoints
from pipeline.training.loader import Loader, LoaderLostError, SharedBatches

ROOT = Path(__file__).parents[3]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 16, 12, 3), np.uint8)
KEYS = [[(step // 2, (step * 3 + i) % 20) for i in range(5 - step % 2)] for step in range(11)]
PROMPT = 10.0
"""Seconds within which an end is to be told."""


class Shifted:
    """Alters a photo by what it is asked for, so that each is known; it ends its process at a photo's number."""

    def __init__(self, end=None, at=7):
        self.end, self.at = end, at

    def __call__(self, photo, epoch, row):
        if row == self.at and self.end is not None:
            self.end()
        return photo + np.uint8(epoch)


def plan(workers, threads=1):
    return Plan("cpu", "float32", True, threads, workers)


def read(workers, end=None, keys=KEYS, threads=1):
    with Loader(PIXELS, Shifted(end), keys, plan(workers, threads)) as photos:
        return list(photos)


@pytest.fixture
def start_method(request):
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def children():
    """All loader processes that this process began and that are not gone, dead ones not waited for among them."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        pid for pid in pids if not re.search("resource_tracker|forkserver", Path(f"/proc/{pid}/cmdline").read_text())
    }


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (0, 2), (1, 1), (2, 2), (3, 1), (40, 1)])
def test_the_photos_come_in_order_whoever_makes_them(workers, threads):
    found = read(workers, threads=threads)
    assert len(found) == len(KEYS)
    for (photos, rows), keys in zip(found, KEYS, strict=True):  # none was overwritten by a later one
        assert rows.dtype == torch.int64
        assert rows.tolist() == [row for _, row in keys]
        np.testing.assert_array_equal(photos.numpy(), [PIXELS[row] + np.uint8(epoch) for epoch, row in keys])


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["forkserver", "spawn"], indirect=True)
def test_processes_that_are_not_forked_share_the_memory_too(start_method):
    for (photos, rows), (others, rows_too) in zip(read(2), read(0), strict=True):
        assert torch.equal(photos, others)
        assert torch.equal(rows, rows_too)


def test_nothing_to_read_begins_nothing():
    assert read(2, keys=[]) == []
    assert read(0, keys=[], threads=2) == []


def test_beside_a_network_of_several_threads_one_batch_is_made_ahead():
    made = []
    begun = threading.Event()

    def note(photo, epoch, row):
        made.append((threading.get_ident(), epoch, row))
        if (epoch, row) == KEYS[1][-1]:
            begun.set()
        return photo

    with Loader(PIXELS, note, KEYS[:4], plan(0, threads=2)) as photos:
        batches = iter(photos)
        next(batches)
        assert begun.wait(PROMPT)  # the second, while nobody has asked for it
        assert made[-1][1:] not in KEYS[2]
        list(batches)
    assert [key for _, *key in made] == [[*key] for keys in KEYS[:4] for key in keys]
    assert {thread for thread, *_ in made} != {threading.get_ident()}
    assert len({thread for thread, *_ in made}) == 1


def test_what_the_thread_raised_is_raised_here():
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        read(0, end=fault, threads=2)


def test_reading_from_the_thread_that_is_broken_off_leaves_none():
    before = threading.active_count()
    with Loader(PIXELS, Shifted(), KEYS * 40, plan(0, threads=2)) as photos:
        for _ in photos:
            break
    assert threading.active_count() == before


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory_map():
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGBUS)


def segfault():
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def nameless_signal():
    os.kill(os.getpid(), signal.SIGRTMIN + 3)


def ends_well():
    os._exit(0)


def ends_ill():
    os._exit(7)


def exits():
    sys.exit(3)


ENDS = {
    killed: r"died of SIGKILL, as when the machine's memory is full",
    out_of_memory_map: r"died of SIGBUS, as when a disk fails",
    segfault: r"died of SIGSEGV$",
    nameless_signal: r"died of signal \d+$",
    ends_well: r"died \(it ended with status 0\)",
    ends_ill: r"died \(it ended with status 7\)",
    exits: r"died \(it ended with status 3\)",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_whatever_way_a_process_ends_it_is_told(end, workers):
    began = time.monotonic()
    with pytest.raises(LoaderLostError, match=f"^a loader process {ENDS[end]}"):
        read(workers, end)
    assert time.monotonic() - began < PROMPT


@pytest.mark.parametrize("start_method", ["forkserver"], indirect=True)
def test_one_that_is_not_forked_too(start_method):
    with pytest.raises(LoaderLostError, match="died of SIGKILL"):
        read(1, killed)


class OwnError(Exception):
    """One that cannot be put together again from its text."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


class LocalError(Exception):
    def __reduce__(self):
        raise TypeError("cannot be handed over")


def fault():
    raise ZeroDivisionError("a fault of ours")


def gone():
    (ROOT / "no such file").read_bytes()


def own():
    raise OwnError("one", "other")


def local():
    raise LocalError("nowhere else")


RAISED = {
    fault: (ZeroDivisionError, "a fault of ours"),
    gone: (FileNotFoundError, "no such file"),
    own: (RuntimeError, "OwnError: one other"),
    local: (RuntimeError, "LocalError: nowhere else"),
}


@pytest.mark.parametrize("raise_it", RAISED, ids=lambda end: end.__name__)
def test_what_a_process_raised_is_raised_here_with_where_it_was(raise_it):
    kind, text = RAISED[raise_it]
    with pytest.raises(kind, match=text) as told:
        read(1, raise_it)
    assert "in a loader process:" in told.value.__notes__[0]
    assert f"in {raise_it.__name__}" in told.value.__notes__[0]


@pytest.mark.timeout(60)
def test_one_that_raises_much_does_not_wait_for_one_that_asks_for_much():
    """Both would write into a full pipe, and neither read."""

    def long():
        raise ValueError("x" * 3_000_000)

    many = [[(step, i % 20) for i in range(60_000)] for step in range(9)]
    with (
        pytest.raises(RuntimeError, match="ValueError: xxx") as told,
        Loader(np.zeros((20, 1, 1, 3), np.uint8), Shifted(long), many, plan(2)) as photos,
    ):
        list(photos)
    assert len(str(told.value)) + len(told.value.__notes__[0]) < 8000


def test_a_missing_file_keeps_its_name():
    with pytest.raises(FileNotFoundError) as told:
        read(1, gone)
    assert told.value.filename == str(ROOT / "no such file")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_is_not_theirs(number):
    def ask():
        os.kill(os.getpid(), number)

    assert len(read(2, ask)) == len(KEYS)


@pytest.mark.parametrize("moment", range(4))
def test_one_that_is_killed_at_any_step_is_told(moment):
    def read_and_kill():
        with Loader(PIXELS, Shifted(), KEYS * 40, plan(2)) as photos:
            for step, _ in enumerate(photos):
                if step == moment * 7:
                    photos._processes[moment % 2].kill()

    with pytest.raises(LoaderLostError, match="SIGKILL"):
        read_and_kill()


def test_one_that_stands_still_is_ended_too():
    """As one that was stopped, or hangs in a library."""
    with Loader(PIXELS, Shifted(), KEYS * 40, plan(2)) as photos:
        next(iter(photos))
        for process in photos._processes:
            os.kill(process.pid, signal.SIGSTOP)


def test_reading_that_is_broken_off_leaves_nobody():
    with Loader(PIXELS, Shifted(), KEYS * 40, plan(2)) as photos:
        for step, _ in enumerate(photos):
            if step == 3:
                break


# ------------------------------------------------------------------------------------------------- memory and limits


def maps():
    return {line for line in Path("/proc/self/maps").read_text().splitlines() if "face18 batches" in line}


def test_shared_memory_lies_in_no_folder():
    """A container's /dev/shm holds 64 KB."""
    before = maps()
    batches = SharedBatches((3, 1000, 1000))
    (mapped,) = maps() - before
    batches.close()
    assert mapped.endswith("/memfd:face18 batches (deleted)")


def test_without_files_in_memory_those_on_disk_do(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(os, "posix_fallocate")
    for (photos, _), (others, _) in zip(read(2), read(0), strict=True):
        assert torch.equal(photos, others)


REFUSALS = [
    (os, "posix_fallocate", OSError(27, "File too large")),
    (os, "memfd_create", OSError(12, "Cannot allocate memory")),
    (multiprocessing.Process, "start", BlockingIOError(11, "Resource unavailable")),
    (multiprocessing, "Pipe", OSError(24, "Too many open files")),
]


@pytest.mark.parametrize(("place", "name", "refusal"), REFUSALS, ids=lambda given: str(given))
def test_what_the_system_refuses_is_told(monkeypatch, place, name, refusal):
    def refuse(*_):
        raise refusal

    monkeypatch.setattr(place, name, refuse)
    with pytest.raises(LoaderLostError, match=rf"loader processes \(2, with 0 MB .* begun \({refusal.strerror}\)$"):
        read(2)


# --------------------------------------------------------------------------------------------------- whole trainings


def test_a_killed_loader_process_is_told_by_the_training(tmp_path):
    trainer = trainer_of("mask", tmp_path, plan=replace(PLANS["mask"], workers=1), epochs=40, often=(1, 1e9))
    train_step, calls = trainer.train_step, itertools.count()
    before = set(multiprocessing.active_children())  # of other tests, not yet gone

    def kill(*given):
        if next(calls) == 4:
            (worker,) = set(multiprocessing.active_children()) - before
            os.kill(worker.pid, signal.SIGKILL)
        train_step(*given)

    trainer.train_step = kill
    with pytest.raises(
        UserError, match=r"mask fold 0: a loader process died of SIGKILL, .* the same command goes on"
    ) as told:
        trainer.run()
    assert "\n" not in str(told.value)
    assert "--workers 0" in str(told.value)
    assert store.is_whole(checkpoints.found(tmp_path)[-1])


@pytest.mark.parametrize("fault", [EOFError("ours"), ConnectionResetError("ours"), RuntimeError("ours")])
def test_a_fault_of_the_training_is_not_taken_for_a_loaders(tmp_path, fault):
    trainer = trainer_of("mask", tmp_path, plan=replace(PLANS["mask"], workers=1))

    def fail(*_):
        raise fault

    trainer.train_step = fail
    with pytest.raises(type(fault), match="ours"):
        trainer.run()


ORPHANS = """
import os, sys, time
sys.path[:0] = [{root!r}, {here!r}]
from test_loader import KEYS, PIXELS, Loader, Shifted, plan
with Loader(PIXELS, Shifted(), KEYS * 40, plan(3)) as photos:
    next(iter(photos))
    print(*(process.pid for process in photos._processes), flush=True)
    time.sleep(60)
"""


def test_processes_whose_training_was_killed_go_by_themselves():
    code = ORPHANS.format(root=str(ROOT), here=str(Path(__file__).parent))
    paths = os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as training:
        pids = training.stdout.readline().split()
        training.kill()
    assert len(pids) == 3
    until = time.monotonic() + PROMPT
    while (left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in left if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]]
    assert left == []
