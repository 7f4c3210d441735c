"""A bar on a terminal, a line now and then elsewhere."""

import io
import sys

import pytest

from pipeline.runtime import progress
from pipeline.runtime.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (12.4, "12 s"),
        (89, "89 s"),
        (90, "2 min"),
        (179, "3 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (9000, "2.5 h"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_lines_now_and_then(clock, capsys):
    with Progress("decoding", 1000, "photos") as work:
        clock[0] += 10
        work.advance(100)
        assert capsys.readouterr().out == ""
        clock[0] += 10
        work.advance(100, "loss 0.5")
        assert capsys.readouterr().out == "decoding: 200 of 1000 photos, 10/s, 80 s left  loss 0.5\n"
        clock[0] += 19
        work.advance(1)
        assert capsys.readouterr().out == ""
        clock[0] += 1
        work.advance(199)
        assert capsys.readouterr().out == "decoding: 400 of 1000 photos, 10/s, 60 s left  loss 0.5\n"
        work.say("a line")
        assert capsys.readouterr().out == "a line\n"
    assert work.done == 400


def test_the_rate_of_work_that_goes_on_counts_only_what_is_new(clock, capsys):
    with Progress("training", 1000, "photos", done=900) as work:
        clock[0] += 20
        work.advance(20)
    assert work.rate() == pytest.approx(1)
    assert capsys.readouterr().out == "training: 920 of 1000 photos, 1/s, 80 s left\n"


def test_nothing_done_yet_is_no_fault(clock):
    with Progress("training", 0, "photos") as work:
        assert work.rate() == 0
        clock[0] += 60
        work.advance(0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("decoding", 10, "photos") as work:
        work.advance(4, "loss 0.5")
        work.say("epoch 1 [1/2]")
        work._bar.refresh()
    shown = screen.getvalue()
    assert "epoch 1 [1/2]" in shown
    assert "4/10" in shown
    assert "loss 0.5" in shown
    assert work._bar.finished is False


def test_lines_on_a_terminal_that_several_stages_share(monkeypatch, clock):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    with Progress("decoding", 10, "photos") as work:
        clock[0] += 60
        work.advance(4)
    assert screen.getvalue() == "decoding: 4 of 10 photos, 0/s, 2 min left\n"


def test_the_bar_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(ZeroDivisionError), Progress("decoding", 10, "photos") as work:
        raise ZeroDivisionError
    assert not work._bar.live.is_started
