"""A signal is noted while work is done; a second one acts, or where more come by themselves does not."""

import os
import signal

import pytest

from pipeline.runtime.stopping import Stopping


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_acts_at_once():
    with Stopping() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_where_patient_more_signals_do_nothing_then_and_afterwards():
    with Stopping(patient=True) as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked == signal.SIGINT


@pytest.mark.parametrize("patient", [False, True])
def test_without_a_signal_the_handlers_stand_as_before(patient):
    before = signal.getsignal(signal.SIGINT)
    with Stopping(patient):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
