"""How far long work is: a live bar on a terminal, a line now and then elsewhere.

TTY_INTERACTIVE=0 asks for lines on a terminal too, as where several stages share it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Self

EVERY = 20.0
"""Seconds between two lines where the output is no terminal."""


class Progress:
    """Counts `total` pieces of work: `with Progress("decoding", 1000, "photos") as p: p.advance(32)`."""

    def __init__(self, what: str, total: int, unit: str, done: int = 0, quiet: bool = False):
        self.what, self.total, self.unit, self.done, self.quiet = what, total, unit, done, quiet
        self._already = done
        self._started = self._told = time.monotonic()
        self._note = ""
        self._bar = None
        self._task = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty() and os.environ.get("TTY_INTERACTIVE") != "0" and not self.quiet:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[note]}"),
                progress.TimeElapsedColumn(),
                progress.TextColumn("left"),
                progress.TimeRemainingColumn(),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def rate(self) -> float:
        """Pieces a second since the start."""
        return (self.done - self._already) / max(1e-9, time.monotonic() - self._started)

    def advance(self, pieces: int = 1, note: str | None = None) -> None:
        """`pieces` more are done; the last `note` given is shown beside the count."""
        self.done += pieces
        self._note = self._note if note is None else note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=f"{self._note}  {self.rate():.0f} {self.unit}/s")
        elif time.monotonic() - self._told >= EVERY and not self.quiet:
            self._told = time.monotonic()
            rate, told = self.rate(), f"  {self._note}" if self._note else ""
            left = f", {rate:.0f}/s, {duration((self.total - self.done) / rate)} left" if rate else ""
            print(f"{self.what}: {self.done} of {self.total} {self.unit}{left}{told}", flush=True)

    def skip(self, pieces: int) -> None:
        """`pieces` were done before; they do not count as speed."""
        self._already += pieces
        self.advance(pieces)

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        elif not self.quiet:
            print(line, flush=True)


def duration(seconds: float) -> str:
    """12 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
