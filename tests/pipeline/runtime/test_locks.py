"""A lock has one owner, and who waits for it or is refused is told whose it is; with real processes."""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UserError
from pipeline.runtime import holder, store

ROOT = Path(__file__).parents[3]
BY_US = """
import sys
from pathlib import Path
from pipeline.runtime import store
with store.locked(Path(sys.argv[1]), "other work"):
    print("held", flush=True)
    sys.stdin.read()
"""
BARE = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
"""Holds it and leaves no note, as a process that has just taken it."""
WAIT = """
import sys
from pathlib import Path
from pipeline.runtime import store
store.MOMENT, store.EVERY = map(float, sys.argv[2:])
with store.locked(Path(sys.argv[1]), "the run x", wait=True):
    print("got it")
"""
MOMENT = str(store.MOMENT)
by_proc = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="this system tells no beginnings")
SINCE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def begun(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, env=os.environ | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Makes other processes that hold tmp_path/lock until their input ends."""
    monkeypatch.setattr(store, "MOMENT", 0.3)  # how long a refusal waits for the holder's name
    processes = []

    def hold(code, *more):
        processes.append(begun(code, str(tmp_path / "lock"), *more))
        assert processes[-1].stdout.readline() == b"held\n"
        return processes[-1]

    yield hold
    for process in processes:
        process.kill()
        with process:
            pass


def refusal(path):
    """What is said to who does not want to wait."""
    with pytest.raises(UserError) as told, store.locked(path, "the run x"):
        pytest.fail("got the lock")
    return str(told.value)


# ------------------------------------------------------------------------------------------------------- the lock


def test_a_lock_refuses_a_second_process_and_names_the_first(tmp_path, held):
    process = held(BY_US)
    command = re.escape(f"-c {tmp_path / 'lock'}")
    begin, end = "the run x is already being worked on by process", "wait for it or stop it first."
    told = refusal(tmp_path / "lock")
    found = re.fullmatch(rf"{begin} {process.pid} \('{command}', since ({SINCE})\); {end}", told)
    assert found, told
    assert abs(time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) - time.time()) < 60


def test_a_lock_dies_with_its_owner(tmp_path, held):
    process = held(BY_US)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "lock").read_bytes())["process"] == process.pid
    with store.locked(tmp_path / "lock", "the run x"):
        assert json.loads((tmp_path / "lock").read_bytes())["process"] == os.getpid()


def test_a_lock_is_free_again_after_the_block_and_after_an_error(tmp_path):
    path = tmp_path / "new" / "lock"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), store.locked(path, "work"):
            raise ZeroDivisionError
        assert path.read_bytes() == b""
    with store.locked(path, "work"):
        assert f"process {os.getpid()} (" in refusal(path)


def test_a_process_forked_off_leaves_the_lock_and_its_note_alone(tmp_path):
    with store.locked(tmp_path / "lock", "work"):
        before = (tmp_path / "lock").read_bytes()
        child = os.fork()
        if not child:
            try:
                with store.locked(tmp_path / "other", "other work"):
                    raise KeyboardInterrupt
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / "lock").read_bytes() == before
        assert f"process {os.getpid()} (" in refusal(tmp_path / "lock")


# --------------------------------------------------------------------------------------------------------- waiting


def test_waiting_for_a_lock(tmp_path, held):
    process, got = held(BY_US), threading.Event()

    def wait():
        with store.locked(tmp_path / "lock", "the run x", wait=True):
            got.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not got.wait(0.3)
    process.stdin.close()
    assert got.wait(20)
    waiter.join()


def test_who_waits_is_told_for_whom_and_again_now_and_then(tmp_path, held):
    process = held(BY_US, "--age", "two words")
    waiter = begun(WAIT, str(tmp_path / "lock"), MOMENT, "0.4")
    lines = [waiter.stderr.readline().decode() for _ in range(3)]
    process.stdin.close()
    out, rest = waiter.communicate(timeout=20)
    assert out == b"got it\n"
    command = re.escape(f"-c {tmp_path / 'lock'} --age 'two words'")
    sentence = (
        rf"face18: the run x is already being worked on by process {process.pid} "
        rf"\(\"{command}\", since {SINCE}\); waiting for it, (\d+) s so far\.\n"
    )
    found = [re.fullmatch(sentence, line) for line in [*lines, *rest.decode().splitlines(keepends=True)]]
    assert all(found), lines
    assert int(found[0][1]) >= 1


def test_a_moments_wait_is_not_worth_a_word(tmp_path, held):
    process, waiter = held(BY_US), begun(WAIT, str(tmp_path / "lock"), "20", "60")
    time.sleep(0.3)
    process.stdin.close()
    assert waiter.communicate(timeout=20) == (b"got it\n", b"")


def test_a_long_wait_is_told_once_a_minute(tmp_path, held):
    process, waiter = held(BY_US), begun(WAIT, str(tmp_path / "lock"), MOMENT, str(store.EVERY))
    assert b"waiting for it" in waiter.stderr.readline()
    time.sleep(1.5)
    process.stdin.close()
    assert waiter.communicate(timeout=20) == (b"got it\n", b"")


def test_of_several_processes_the_first_speaks(tmp_path, held):
    process = held(BY_US)
    first, second = (begun(WAIT, str(tmp_path / "lock"), MOMENT, "60", RANK=rank, WORLD_SIZE="2") for rank in "01")
    assert str(process.pid).encode() in first.stderr.readline()
    time.sleep(1)
    process.stdin.close()
    assert first.communicate(timeout=20) == (b"got it\n", b"")
    assert second.communicate(timeout=20) == (b"got it\n", b"")


# ---------------------------------------------------------------------------------------------- whom nobody names


def killed(process):
    process.send_signal(signal.SIGKILL)
    while b") Z " not in Path(f"/proc/{process.pid}/stat").read_bytes():  # dead, and not yet waited for
        time.sleep(0.01)


def note_of(**changed):
    """What this process would write, but for what is changed."""
    own = holder.Holder(os.getpid(), holder._began(os.getpid()), os.uname().nodename, "train age", 1_700_000_000)
    return json.dumps(own.__dict__ | changed).encode()


@by_proc
@pytest.mark.parametrize("waited_for", [False, True])
def test_a_killed_holder_is_not_taken_for_the_present_one(tmp_path, held, waited_for):
    process = held(BY_US)
    killed(process)
    if waited_for:
        process.wait()
    held(BARE)
    assert json.loads((tmp_path / "lock").read_bytes())["process"] == process.pid  # its note still stands
    assert refusal(tmp_path / "lock").startswith("the run x is already being worked on by another process;")


def test_a_holder_that_lives_on_is_not_taken_for_the_present_one(tmp_path, held):
    with store.locked(tmp_path / "lock", "work"):
        pass
    held(BARE)
    assert "by another process;" in refusal(tmp_path / "lock")


@by_proc
def test_another_process_of_its_number_is_not_taken_for_the_holder(tmp_path, held):
    (tmp_path / "lock").write_bytes(note_of(began="1"))
    held(BARE)
    assert "by another process;" in refusal(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(note_of())
    assert f"by process {os.getpid()} ('train age'" in refusal(tmp_path / "lock")


def test_where_no_beginning_is_told_the_number_decides(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert holder.Holder(os.getpid(), None, os.uname().nodename, "", 0).may_live()
    assert not holder.Holder(ended.pid, None, os.uname().nodename, "", 0).may_live()


def test_of_another_machine_the_note_is_told_as_the_last_one(tmp_path, held):
    held(BARE)
    (tmp_path / "lock").write_bytes(note_of(process=4711, began="1", host="far\nhost"))
    told = refusal(tmp_path / "lock")
    expected = r"by another process, by the last note process 4711 on 'far\nhost' ('train age', since 2023-11-1"
    assert expected in told
    assert "\n" not in told


def test_who_has_just_taken_a_lock_is_named_once_its_note_stands(tmp_path, held, monkeypatch):
    held(BARE)
    monkeypatch.setattr(store, "MOMENT", 20)
    timer = threading.Timer(0.2, (tmp_path / "lock").write_bytes, [note_of(command="late")])
    timer.start()
    assert f"by process {os.getpid()} ('late'" in refusal(tmp_path / "lock")
    timer.join()


# ---------------------------------------------------------------------------------------- whatever bytes stand there


def test_a_command_of_any_bytes_is_one_sentence(tmp_path, held):
    name = b"caf\xc3\xa9\n\xff\x1b[31m\xf0\x9f\x98\x80"
    process = held(BY_US, name, b"x" * 5000)
    told = refusal(tmp_path / "lock")
    assert f"by process {process.pid} (" in told
    assert r"café\n\udcff\x1b[31m😀" in told
    assert "\n" not in told
    assert len(told) < 500
    told.encode()


@pytest.mark.parametrize(
    ("words", "command"),
    [(["/x/pipeline/__main__.py", "train", "age"], "pipeline train age"), (["/bin/pytest", "a b"], "pytest 'a b'"),
     ([""], "''")],
)  # fmt: skip
def test_a_command_is_named_as_it_was_given(monkeypatch, words, command):
    monkeypatch.setattr(sys, "argv", words)
    assert holder._command() == command


notes = st.fixed_dictionaries(
    {name: st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) for name in holder.KINDS}
)
content = st.binary(max_size=60) | st.builds(lambda note: json.dumps(note).encode(), notes | st.lists(st.integers()))


@settings(max_examples=300)
@given(content)
def test_whatever_stands_in_a_lock_file_names_a_process_that_lives_or_none(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_bytes(content)
    with path.open("rb") as file:
        found = holder.read(file)
    assert found is None or re.match(f"{holder.UNKNOWN}, by|process \\d", str(found))


@pytest.mark.parametrize(
    "content",
    [b"4711", b"[" * 9000, b"\xff", b"{}", b'{"process": 1}', note_of()[:-9]],
    ids=["number", "deep", "no text", "empty", "lacking", "cut short"],
)
def test_a_lock_is_taken_whatever_stands_in_its_file(tmp_path, content):
    (tmp_path / "lock").write_bytes(content)
    with store.locked(tmp_path / "lock", "work"):
        assert json.loads((tmp_path / "lock").read_bytes())["process"] == os.getpid()


# ------------------------------------------------------------------------------------- where nothing can be written


@pytest.fixture
def read_only(monkeypatch):
    """A make-believe disk where no lock file can be written."""
    usual = Path.open

    def refuse(path, mode="r", *more, **named):
        if path.name == "lock" and mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return usual(path, mode, *more, **named)

    monkeypatch.setattr(Path, "open", refuse)


def test_a_lock_that_may_only_be_read_is_held_without_a_note(tmp_path, read_only):
    (tmp_path / "lock").touch()
    with store.locked(tmp_path / "lock", "work"):
        assert "by another process;" in refusal(tmp_path / "lock")
        os.truncate(tmp_path / "lock", 0)
    assert (tmp_path / "lock").read_bytes() == b""


def test_without_a_lock_file_it_is_told_that_none_can_be_written(tmp_path, read_only):
    with pytest.raises(OSError, match="lock") as told, store.locked(tmp_path / "lock", "work"):
        pytest.fail("got the lock")
    assert told.value.errno == errno.EROFS


def test_a_disk_that_locks_only_what_may_be_written_is_told_as_such(tmp_path, read_only, monkeypatch):
    (tmp_path / "lock").touch()

    def refuse(*_):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(PermissionError, match="lock"), store.locked(tmp_path / "lock", "work"):
        pytest.fail("got the lock")
