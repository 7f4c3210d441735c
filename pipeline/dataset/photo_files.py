"""The files of a folder told apart: photos, system files, and what else lies among them."""

from __future__ import annotations

import os

from models.file_kinds import EMPTY, FIRST_BYTES
from pipeline.dataset.photo_kinds import ENDINGS, HEIC_ENDINGS, RAW, RAW_ENDINGS, WAY_OUT, Kind, ending_of, kind_of

SYSTEM_FILES = frozenset(
    {
        ".ds_store",
        ".localized",
        ".lsoverride",
        ".directory",
        ".apdisk",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
    | {".picasa.ini", "picasa.ini", ".nomedia"}
)
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", ".appledouble", ".thumbnails"}
    | {".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"}
)
"""In small letters: what systems and their programs leave among photos, thumbnails and all."""


def is_system(name: str, folder: bool) -> bool:
    """Whether a system left a file or folder of this name there; a Mac leaves one of `._` beside each file."""
    return name.lower() in (SYSTEM_FOLDERS if folder else SYSTEM_FILES) or (name.startswith("._") and not folder)


def is_photo(path: str | os.PathLike[str], name: str) -> bool:
    """Whether a file is taken for a photo: by its ending, and where that is no photo's, by its first bytes.

    One that cannot be decoded, like a HEIC without the plugin or a camera's raw file, is one too: it was meant.
    """
    if ends_like_a_photo(name):
        return True
    kind = _kind(path, name)
    return kind is not None and kind.photo


def ends_like_a_photo(name: str) -> bool:
    """Whether a file is a photo by its ending alone."""
    ending = ending_of(name)
    return ending in ENDINGS or ending in HEIC_ENDINGS or ending in RAW_ENDINGS


def is_raw(name: str) -> bool:
    """Whether a file is a camera's raw file by its ending."""
    return ending_of(name) in RAW_ENDINGS


def raw_fault(name: str) -> str | None:
    """What is wrong with a table that names such a file, as the end of a sentence; None where it names another."""
    return f"is {RAW}; {WAY_OUT[RAW]}" if is_raw(name) else None


def is_something_else(path: str | os.PathLike[str], name: str) -> bool:
    """Whether a file's first bytes tell that it is no photo, however it ends."""
    kind = _kind(path, name)
    return kind is not None and not kind.photo


def begins_like_something_else(first: bytes, name: str) -> bool:
    """The same of a file whose first bytes are these (FIRST_BYTES of them)."""
    kind = kind_of(first, name)
    return kind is not None and not kind.photo


def told(path: str | os.PathLike[str], name: str) -> str | None:
    """What a file that is no photo is, where its first bytes tell."""
    kind = _kind(path, name)
    return None if kind is None or kind.name == EMPTY else kind.name


def _kind(path: str | os.PathLike[str], name: str) -> Kind | None:
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(FIRST_BYTES), name)
    except OSError:  # where it is needed, decoding says why it cannot be read
        return None
