"""What the name of a photo tells: the folder that it lies in, and the tar."""

from __future__ import annotations

import posixpath
import re

IN_SHARD = re.compile(r"\.tar/", re.IGNORECASE | re.ASCII)
"""Where the name of a tar ends in that of a photo that lies in one; no folder that tars lie in is called so."""


def shard_of(photo: str) -> tuple[str, str]:
    """The tar that a photo in one lies in, and its name in there."""
    end = IN_SHARD.search(photo).end()
    return photo[: end - 1], photo[end:]


def folder_of(photo: str) -> str:
    """The folder of a photo, however its name is written; "." where that has none."""
    return posixpath.dirname(posixpath.normpath(photo)) or "."


def folder_in_shard(photo: str) -> str:
    """The folder of a photo in a tar, as it is called in there; of one beside the folders there, the tar."""
    shard, name = shard_of(photo)
    folder = folder_of(name)
    return shard if folder == "." else folder
