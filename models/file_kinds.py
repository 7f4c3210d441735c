"""What a file is, told by its first bytes: of those that come in the place of a photo or of weights."""

from __future__ import annotations

FIRST_BYTES = 512
"""How many bytes of a file are enough to tell."""
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
EMPTY, ZIP = "an empty file", "a zip archive"
KINDS = (
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"\0\0\x01\xba", "a video"),
    (b"\0\0\x01\xb3", "a video"),
    (b"FLV\x01", "a video"),
    (b"0&\xb2u\x8ef\xcf\x11", "a video"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")


def kind_of(first: bytes) -> str | None:
    """What a file is by its first bytes, with its article; None where they tell nothing."""
    if not first:
        return EMPTY
    if is_lfs_pointer(first):
        return "a Git LFS pointer"
    if not first.strip(b"\0"):
        return "a file of zeros"
    told = next((kind for begin, kind in KINDS if first.startswith(begin)), None)
    if told is not None:
        return told
    if first[:4] == b"RIFF" and first[8:12] in (b"AVI ", b"WAVE"):
        return "a video" if first[8:12] == b"AVI " else "a sound file"
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(PAGES) or (text.startswith((b"<?xml", b"<!--")) and b"<html" in text):
        return "an HTML page"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing"
    return "an XML file" if text.startswith(b"<?xml") else None


def is_lfs_pointer(first: bytes) -> bool:
    """Whether a file only says where Git LFS keeps the real one."""
    return first.startswith(LFS_POINTER)


def is_pickle(first: bytes) -> bool:
    """Whether a file begins as Python's pickles do, from protocol 2 on, which all of torch's are."""
    return first[:1] == b"\x80" and len(first) > 1 and 2 <= first[1] <= 5
