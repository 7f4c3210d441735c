"""Files that are no CSV tables and no photos but often lie in their places, each with the way out."""

import os
from pathlib import Path

from pipeline.dataset.names import in_other_case
from pipeline.runtime.problems import show

_EXPORT = "export it as CSV in UTF-8"
_FIRST_BYTES = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive", _EXPORT),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", _EXPORT),
    (b"PAR1", "a Parquet table", _EXPORT),
    (b"ARROW1", "a Feather table", _EXPORT),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"SQLite format 3", "a database", _EXPORT),
    (b"\x1f\x8b", "compressed with gzip", "unpack it"),
    (b"BZh91AY", "compressed with bzip2", "unpack it"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it"),
    (b"%PDF", "a PDF", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x80\x05", "a Python pickle", _EXPORT),
    (b"version https://git-lfs", "a Git LFS pointer and not the table itself", "fetch the table with git lfs pull"),
    (b"<!doctype html", "an HTML page", "download the table itself"),
    (b"<html", "an HTML page", "download the table itself"),
)
_TABLES = {
    "xlsx": "an Excel workbook",
    "xlsm": "an Excel workbook",
    "xls": "an Excel workbook",
    "ods": "an OpenDocument sheet",
    "numbers": "a Numbers sheet",
    "parquet": "a Parquet table",
    "feather": "a Feather table",
    "tsv": "a table with tabs",
    "json": "a JSON file",
    "jsonl": "a JSON file",
    "pkl": "a Python pickle",
    "txt": "a text file",
}
"""What else people keep tables in, by ending."""
_LOOSE = ("json", "jsonl", "pkl", "txt")
"""Those of the endings that files of other kinds have too."""


def table_fault(data: bytes) -> str | None:
    """What a file is that is no CSV table, by its first bytes, with the way out; None where it may be one."""
    start = data[:64]
    for first, what, way_out in _FIRST_BYTES:
        if (start.lstrip().lower() if first.startswith(b"<") else start).startswith(first):
            return f"is {what}; {way_out}"
    return None


def in_place_of(path: Path, may_be_missing: bool = False) -> str | None:
    """What lies beside a table that is missing and may be meant by it, with the way out; None where nothing does.

    may_be_missing: the table need not be there, so that only sheets and tables count, and no notes or results.
    """
    other = in_other_case(path.parent, path.name)
    if other is not None:
        return f"{show(other)} lies there, which differs only in capital letters; rename it"
    for ending, what in _TABLES.items():
        if may_be_missing and ending in _LOOSE:
            continue
        beside = path.parent / f"{path.stem}.{ending}"
        if os.path.lexists(beside):
            return f"{show(beside.name)} lies there, {what}; {_EXPORT}, as {path.name}"
    return None
