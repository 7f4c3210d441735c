"""Who holds a lock: the note that its holder leaves in the lock file, and whether that is still true.

The lock itself tells that somebody holds it; the note, who. One of a process that was killed may stand there until the
next holder writes its own, and is not believed.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pipeline.runtime.problems import show

LONGEST = 200
"""Letters of a command; the rest is cut off."""
KINDS = {"process": (int,), "began": (str, type(None)), "host": (str,), "command": (str,), "since": (int,)}
UNKNOWN = "another process"


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, since a moment (seconds since 1970)."""

    process: int
    began: str | None
    """By the kernel's count: it tells a process from a later one of the same number. None where nothing tells."""
    host: str
    command: str
    since: int

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        told = f"({show(self.command)}, since {since})"
        if self.host != os.uname().nodename:  # whether it still lives cannot be seen from here
            return f"{UNKNOWN}, by the last note process {self.process} on {show(self.host)} {told}"
        return f"process {self.process} {told}"

    def may_live(self) -> bool:
        """Whether it lives, or may: it is of another machine."""
        if self.host != os.uname().nodename:
            return True
        if self.began is not None:
            return _began(self.process) == self.began
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            return True
        return True


def write(file: IO[bytes]) -> None:
    """Leave a note of this process in a lock file that it holds."""
    note = Holder(os.getpid(), _began(os.getpid()), os.uname().nodename, _command(), int(time.time()))
    file.truncate(0)
    file.write(json.dumps(asdict(note)).encode("ascii"))  # whatever bytes are in a name


def clear(file: IO[bytes]) -> None:
    """Take the note out of a lock file, where it is this process's own: it is believed while the process lives."""
    noted = read(file)
    if noted is not None and (noted.process, noted.host) == (os.getpid(), os.uname().nodename):
        file.truncate(0)


def read(file: IO[bytes]) -> Holder | None:
    """The holder that a lock file names; None where it names none that may live."""
    try:
        note = json.loads(os.pread(file.fileno(), 100 * LONGEST, 0))
        holder = Holder(**note)
    except (ValueError, TypeError, RecursionError):  # nothing yet, or something else: its content is anybody's
        return None
    is_one = all(type(getattr(holder, name)) in kinds for name, kinds in KINDS.items())
    if not (is_one and 0 < holder.process < 2**31 and 0 <= holder.since < 2**33):
        return None
    return holder if holder.may_live() else None


def _command() -> str:
    """The command that this process runs, like pipeline train age."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    command = shlex.join([name, *sys.argv[1:]])
    return command if len(command) <= LONGEST else f"{command[:LONGEST]}..."


def _began(process: int) -> str | None:
    """When a process began, in ticks since the machine did; None where none of this number lives, or nothing tells."""
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else fields[18].decode()
