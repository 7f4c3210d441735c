"""Tars for tests, written member by member."""

import io
import tarfile
from pathlib import Path


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple:
    """A member for `write_tar`."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(content)
    return made, content


def write_tar(path: Path, *members: tuple, form: int = tarfile.PAX_FORMAT) -> Path:
    """A plain tar of members; a pair of a name and its bytes is a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for first, content in members:
            made = first if isinstance(first, tarfile.TarInfo) else member(first, content)[0]
            tar.addfile(made, io.BytesIO(content))
    return path
