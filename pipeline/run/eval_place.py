"""How the places of photos given as EVAL are called: a folder, a list of photos, a tar, or tars by a pattern."""

from __future__ import annotations

import os
import re
from pathlib import Path

INDEX = "index"
"""In such a place: the folder where what tars hold is kept."""
NAMELESS = "data"
"""What the root of a file system is called."""
_SIGNS = re.compile(r"[*?[]")


def is_pattern(given: Path) -> bool:
    """Whether it stands for files by a pattern; there may be a file whose name looks like one."""
    return _SIGNS.search(str(given)) is not None and not os.path.lexists(given)


def fixed_folder(pattern: Path) -> Path:
    """The folder that all files of a pattern lie below, whichever there are: up to its first step with a sign.

    A folder whose name has signs, and that is there so, is no pattern.
    """
    *folders, fixed = pattern.parents
    for folder in reversed(folders):
        if _SIGNS.search(folder.name) and not os.path.isdir(folder):
            break
        fixed = folder
    return fixed


def names_of(given: Path) -> list[str]:
    """What the place of what is given may be called by: the first, or another one where it is gone by now."""
    if is_pattern(given):
        return [fixed_folder(given).resolve().name or NAMELESS]
    whole = given.resolve()
    if os.path.isdir(whole):
        return [whole.name or NAMELESS]
    return [whole.stem] if os.path.isfile(whole) else [whole.name, whole.stem]
