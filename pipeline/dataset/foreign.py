"""Files that are no CSV tables and no photos but often lie in their places, each with the way out."""

import os
from pathlib import Path

from models import file_kinds
from pipeline.dataset.names import in_other_case
from pipeline.runtime.problems import show

_EXPORT = "export it as CSV in UTF-8"
_BEGINNINGS = ((b"PAR1", "a Parquet table"), (b"ARROW1", "a Feather table"))
"""Of tables that are kept in other ways; what else a file may be, `file_kinds` tells."""
_KINDS = {
    file_kinds.ZIP: ("an Excel workbook or another zip archive", _EXPORT),
    "an old Office file": ("an old Excel workbook", _EXPORT),
    "an HDF5 file": ("an HDF5 file", _EXPORT),
    "a SQLite database": ("a SQLite database", _EXPORT),
    "a PDF": ("a PDF", _EXPORT),
    "a gzip file": ("a gzip file", "unpack it"),
    "a bzip2 file": ("a bzip2 file", "unpack it"),
    "an xz file": ("an xz file", "unpack it"),
    "a zstd file": ("a zstd file", "unpack it"),
    "a Git LFS pointer": ("a Git LFS pointer and not the table itself", "fetch the table with git lfs pull"),
    "an HTML page": ("an HTML page", "download the table itself"),
}
"""What such a file is called where a table is expected, and the way out. Others may be text that begins like them."""
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
    first = data[: file_kinds.FIRST_BYTES]
    what = next((kind for begin, kind in _BEGINNINGS if first.startswith(begin)), None)
    if file_kinds.is_pickle(first):
        what = "a Python pickle"
    told = (what, _EXPORT) if what else _KINDS.get(file_kinds.kind_of(first))
    return f"is {told[0]}; {told[1]}" if told else None


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
