"""FairFace's tables: file, age as a range of years, and gender; each photo a person."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.dataset.layouts import Links, Photo, listed_photo
from pipeline.dataset.names import Files
from pipeline.dataset.tables import EVER_AGED, number, parse_label, read_table, says_nothing
from pipeline.runtime.problems import Problems, show

COLUMNS = ("file", "age", "gender")
OPEN = 20.0
"""Years that a range without an end, such as "more than 70", is taken to be long."""
_RANGE = re.compile(r"(\d{1,3})\s*(?:-|\u2013|to)\s*(\d{1,3})")
_OPEN = re.compile(r"(?:more than|over|above|>=?)?\s*(\d{1,3})\s*\+?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,2}[-. ][A-Za-z]{3}|[A-Za-z]{3}[-. ]\d{1,2}")


class Years(NamedTuple):
    """The years from the first to the last birthday that a range names."""

    first: float
    last: float


def tables_of(root: Path) -> list[str]:
    """The CSV files in a folder that have FairFace's columns in their first row."""
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(".csv") and entry.is_file())
    return [name for name in names if set(COLUMNS) <= _header(root / name)]


def _header(path: Path) -> set[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return {cell.strip().casefold() for cell in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):  # no table of FairFace, then
        return set()


def read_fairface(tables: Sequence[str], links: Links) -> tuple[list[Photo], dict[str, Years]]:
    """The photos of some tables of a folder, and the ranges of their ages by photo."""
    photos: list[Photo] = []
    ranges: dict[str, Years] = {}
    seen: dict[str, str] = {}
    files = Files(links.root)
    for name in tables:
        rows, _ = read_table(links.root / name, name, COLUMNS, links.problems) or ([], ())
        above = _folder_above([cells["file"] for _, cells in rows], links.root)
        for row, cells in rows:
            where = f"{name} row {row}"
            photo = listed_photo(above + cells["file"], where, where, seen, links, files)
            years = _years(cells["age"], where, links.problems)
            try:
                gender = parse_label("gender", cells["gender"])
            except ValueError as error:
                links.problems.add(f"{where}: {error}")
                gender = None
            exact = years.first if years is not None and years.first == years.last else None
            photos.append(Photo(photo, photo, None, gender, exact))
            if years is not None and exact is None:
                ranges[photo] = years
    return photos, ranges


def _folder_above(files: Sequence[str], root: Path) -> str:
    """The folder, with a slash, that the photos of a table lie under, which archives of them add; mostly none."""
    if not files or os.path.lexists(root / files[0]):
        return ""
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    holding = [folder for folder in folders if os.path.isfile(root / folder / files[0])]
    return f"{holding[0]}/" if len(holding) == 1 else ""


def _years(cell: str, where: str, problems: Problems) -> Years | None:
    """The years of a cell, a range or a single number; None where it is blank or a problem."""
    text = cell.strip()
    if says_nothing("age", text):
        return None
    years = None
    if found := _RANGE.fullmatch(text):
        years = Years(float(found[1]), float(found[2]))
    elif number(text) is not None:
        years = Years(number(text), number(text))
    elif found := _OPEN.fullmatch(text):
        years = Years(float(found[1]), float(found[1]) + OPEN)
    if years is None or not 0 <= years.first <= years.last <= EVER_AGED:
        date = " (a spreadsheet makes dates of ranges)" if _DATE.fullmatch(text) else ""
        problems.add(f"{where}: age {show(text)} is no range of years{date}; write it as 20-29, or more than 70")
        return None
    return years
