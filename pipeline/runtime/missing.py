"""What is not there when the system says so: something a user can bring back, or a fault of ours."""

from __future__ import annotations

import os
import re
from pathlib import Path

OURS = re.compile(r"\..+\.(part|unfinished)|resume-\d+-[0-9a-f]{16}\.pt|chunks-[0-9a-f]{16}", re.DOTALL)
"""Names of what stands only while we work: we alone make it and remove it, and a finished run holds none of it."""


def missing_path(problem: FileNotFoundError) -> Path | None:
    """The first on the way to a file that is not there and that a user can bring back; None where the fault is ours.

    It is ours when the error names no file, when the file is there after all, and when it is one of OURS in a folder
    that stands: then one of our processes removed what another was at.
    """
    if not isinstance(problem.filename, (str, bytes, os.PathLike)):
        return None
    path = Path(os.fsdecode(problem.filename))
    gone = next((place for place in (*reversed(path.parents), path) if not os.path.exists(place)), None)
    if gone is None or any(OURS.fullmatch(place.name) for place in (gone, *gone.parents)):
        return None
    return gone
