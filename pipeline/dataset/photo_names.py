"""What the name of a photo tells: the tar that it lies in, and the folder."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_SHARD = re.compile(r"\.tar/", re.IGNORECASE | re.ASCII)
"""Where the name of a tar ends in that of a photo; a tar given as EVAL ends so."""


def shard_of(photo: str) -> tuple[str, str]:
    """The tar that a photo lies in, nothing where it lies in none, and its name in there."""
    found = _SHARD.search(photo)
    return ("", photo) if found is None else (photo[: found.end() - 1], photo[found.end() :])


def folder_in_shard(photo: str) -> str:
    """The folder of a photo, as it is called inside its tar; of one beside the folders there, the tar."""
    shard, name = shard_of(photo)
    folder = str(PurePosixPath(name).parent)
    return shard if shard and folder == "." else folder
