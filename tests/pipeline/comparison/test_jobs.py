"""Stages side by side, with small programs in the place of stages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.errors import UserError
from pipeline.comparison import jobs
from pipeline.comparison.jobs import Job

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    """A package that runs codes in the place of stages stands first on the path."""
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("def run_stages(codes):\n    for (code,) in codes:\n        exec(code, {})\n")
    monkeypatch.chdir(tmp_path)  # where -m looks first


def job(name: str, *codes: str, cost: float = 1.0) -> Job:
    return Job(name, tuple((code,) for code in codes), Path("logs") / f"{name}.log", cost)


def note(word: str, seconds: float = 0.0) -> str:
    stamp = f"open('order', 'a').write('{{}} {word}\\n'.format"
    return f"import time; {stamp}('begin')); time.sleep({seconds}); {stamp}('end'))"


def order() -> list[str]:
    return Path("order").read_text().splitlines() if Path("order").is_file() else []


def test_jobs_run_side_by_side_and_each_ones_commands_in_turn(capsys):
    jobs.run(
        [job("a", note("a", 0.6), note("then"), cost=3), job("b", note("b", 0.6))], 2, "test", lambda j: j.name * 2
    )
    assert set(order()[:2]) == {"begin a", "begin b"}
    assert order().index("begin then") > order().index("end a")
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert any(line.startswith("test: a, aa; ") for line in told)
    assert "1 of 2" in told[0]
    assert told[0].endswith("left")
    assert told[1].endswith("2 of 2")


def test_one_at_a_time_is_in_order():
    jobs.run([job(word, note(word, 0.1)) for word in "abc"], 1, "test")
    assert order() == [f"{what} {word}" for word in "abc" for what in ("begin", "end")]


def test_nothing_to_do_is_done():
    jobs.run([], 2, "test")


def test_a_job_sees_no_terminal_and_its_lines_go_to_its_log():
    jobs.run(
        [job("a", "import os, sys; print(os.environ['TTY_INTERACTIVE'], sys.stdin.read())", "print('more')")], 1, "t"
    )
    assert Path("logs/a.log").read_text() == "0 \nmore\n"


def test_a_mistake_is_told_as_the_job_told_it_and_the_others_end():
    mistake = "import sys; print('one'); print('face18: no such photo', file=sys.stderr); print('  b.jpg'); sys.exit(2)"
    before = time.monotonic()
    with pytest.raises(UserError) as told:
        jobs.run([job("a", mistake, note("a")), job("b", note("b", 60))], 2, "test")
    assert str(told.value) == "a: no such photo\n  b.jpg"
    assert time.monotonic() - before < 30
    assert "end b" not in order()
    assert "begin a" not in order()


def test_a_fault_shows_the_end_of_the_log():
    with pytest.raises(RuntimeError, match=r"a failed with status 1(.|\n)*ZeroDivisionError"):
        jobs.run([job("a", "1 / 0")], 1, "test")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import sys; sys.exit(128 + 15)", "SIGTERM"),  # as a training that was asked to stop
    ],
)
def test_a_killed_job_is_named(code, name):
    with pytest.raises(UserError, match=f"a was ended by {name}"):
        jobs.run([job("a", code)], 1, "test")


def test_when_all_processes_are_asked_to_stop_no_job_is_blamed(tmp_path):
    work = tmp_path / "work.py"
    work.write_text(WORK.format(root=str(ROOT), code=NEVER.replace("signal.signal(signal.SIGTERM, leave)", "")))
    process = subprocess.Popen([sys.executable, str(work)], stdout=subprocess.PIPE, text=True)
    while not Path("begun").is_file() and process.poll() is None:
        time.sleep(0.02)
    os.kill(int(Path("begun").read_text()), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in told


WORK = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from pipeline.comparison import jobs
from pipeline.runtime.stopping import StoppedError
try:
    jobs.run([jobs.Job("a", (({code!r},),), Path("a.log"))], 1, "test")
except StoppedError as stop:
    print(stop)
    sys.exit(128 + stop.number)
"""
NEVER = """
import os, signal, sys, time
def leave(*_):
    open('asked', 'w').close()
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
open('begun.part', 'w').write(str(os.getpid()))
os.rename('begun.part', 'begun')
time.sleep(100)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_jobs_end_with_who_started_them(number, tmp_path):
    work = tmp_path / "work.py"
    work.write_text(WORK.format(root=str(ROOT), code=NEVER))
    process = subprocess.Popen([sys.executable, str(work)], stdout=subprocess.PIPE, text=True)
    while not Path("begun").is_file() and process.poll() is None:
        time.sleep(0.02)
    child = int(Path("begun").read_text())
    process.send_signal(number)
    told, _ = process.communicate(timeout=30)
    assert Path("asked").is_file() == (number != signal.SIGKILL)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert f"stopped by {signal.Signals(number).name}; the same command goes on there" in told
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
