"""How the bytes of a photo are reached by its name: a file on the disk, or bytes that came some other way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


class BadPhotoError(Exception):
    """A photo that cannot be decoded; the text says why."""


class PhotoBytes(NamedTuple):
    """A photo that is no file here: its bytes, and the name that it came with."""

    content: bytes
    name: str


class Reach(Protocol):
    """What reaches photos by their names; each method raises OSError where the system refuses."""

    def source(self, photo: str) -> Path | PhotoBytes:
        """What `decode` takes; raises BadPhotoError for a photo that is not read as it is kept."""

    def size(self, photo: str) -> int:
        """Bytes of a photo."""

    def read(self, photo: str, start: int, length: int) -> bytes:
        """So many bytes of a photo, fewer where it ends before."""


@dataclass(frozen=True)
class OnDisk:
    """Photos that are files: their names are relative to a folder, or absolute."""

    root: str | os.PathLike[str]

    def source(self, photo: str) -> Path:
        return Path(self.root, photo)

    def size(self, photo: str) -> int:
        return os.stat(os.path.join(self.root, photo)).st_size

    def read(self, photo: str, start: int, length: int) -> bytes:
        with open(os.path.join(self.root, photo), "rb", buffering=0) as file:
            file.seek(start)
            return file.read(length)
