"""A kill of each kind, a few failing writes and lost loaders; `make test-faults` does 200, and every write."""

import json
import shutil

import loaders
import pytest
import sharing
from kills import KINDS, count, drawn_kills, kill, places
from whole_runs import RUN
from writes import counted, fail


@pytest.fixture(scope="module")
def home_and_writes(tmp_path_factory):
    return counted(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def home(home_and_writes):
    return home_and_writes[0]


LONG = ("checkpoint", "validation")  # more of what "epoch" is: a training goes on


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in LONG else k for k in KINDS])
def test_a_killed_run_ends_in_the_same_bytes(home, kind):
    place = places(kind)[-1]
    moments = count(home, kind, place)
    assert moments > 3
    assert kill(home, kind, place, moments // 2, f"kill-{kind}") == ""


@pytest.fixture(scope="module")
def writes(home_and_writes):
    return home_and_writes[1]


@pytest.fixture(scope="module")
def prepared(home):
    """Where loaders are lost: the photos are prepared, and what a training without them ends in is there."""
    made = json.loads((home.whole / RUN / "mask/fold0/settings.json").read_text())
    assert made["plan"]["workers"] == 0
    shutil.copytree(home.whole / "data", home.home / "data")
    shutil.copytree(home.whole / RUN, home.home / "runs/plain")
    return home.home


@pytest.mark.parametrize("broken", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["full", "broken"])
@pytest.mark.parametrize("share", [0.1, *(pytest.param(late, marks=pytest.mark.slow) for late in (0.5, 0.95))])
def test_a_failed_write_is_told_and_mended_by_the_same_command(home, writes, share, broken):
    wanted = int(share * writes) // 2 * 2 + broken  # in turn the disk is full and broken
    assert fail(home, wanted, f"write-{wanted}") == ""


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_training_that_loses_a_loader_process_ends_at_once(prepared, number):
    assert loaders.kill(prepared, number, seed=32) == ""


def test_a_training_needs_no_shared_memory_of_the_system(prepared):
    assert loaders.in_tiny_shared_memory(prepared, 1, seed=32) == ""


@pytest.fixture(scope="module")
def alone(home):
    """The predictions of one process, and the seconds it takes."""
    return sharing.undisturbed(home, 1, "by-1")


@pytest.mark.parametrize("number", [0, *(pytest.param(more, marks=pytest.mark.slow) for more in range(1, 6))])
def test_killed_processes_that_predict_together_leave_the_bytes_of_one(home, alone, number):
    assert sharing.disturbed(home, number, 32, *alone) == ""


def test_kills_are_drawn_by_the_seed():
    moments = {("epoch", "mask"): 5, ("epoch", "age"): 2, ("submission", "submit"): 50}
    one, two, other = (drawn_kills(40, seed, moments) for seed in (1, 1, 2))
    assert one == two != other
    assert [kind for kind, *_ in one].count("epoch") == 20
    assert {(place, n) for kind, place, n in one if kind == "epoch"} == {
        *(("mask", n) for n in range(5)),
        *(("age", n) for n in range(2)),
    }
