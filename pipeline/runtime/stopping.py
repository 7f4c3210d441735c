"""Ends work where nothing is lost: SIGTERM and Ctrl-C are noted, and obeyed between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class StoppedError(KeyboardInterrupt):
    """The user or the machine asked to stop, and the work is saved; the text says where it stands."""

    def __init__(self, text: str, number: int):
        super().__init__(text)
        self.number = number


class Stopping:
    """`with Stopping() as stop:` work, and leave when `stop.asked` is a signal's number and not 0.

    A second signal acts at once, as it always did; where `patient`, it does nothing, then and afterwards: torchrun
    passes on what a terminal has sent already. Outside the main thread nothing is caught.
    """

    def __init__(self, patient: bool = False):
        self.asked = 0
        self._patient = patient
        self._catch = threading.current_thread() is threading.main_thread()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if self._catch:
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *problem: object) -> None:
        if not (self._patient and self.asked):
            self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        if not self._patient:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
