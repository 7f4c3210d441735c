"""FairFace's tables: file, age as a range of years, and gender; each photo a person."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.errors import listed
from pipeline.dataset.layouts import Links, Photo, is_dir, is_file, list_folder, listed_photo
from pipeline.dataset.names import Files
from pipeline.dataset.tables import EVER_AGED, number, parse_label, read_table, says_nothing
from pipeline.runtime.problems import Problems, show, tell

COLUMNS = ("file", "age", "gender")
NOT_NEEDED = ("race", "service_test")
"""Its other columns."""
TRIED = 20
"""Rows by which it is seen where the photos lie."""
OPEN = 20.0
"""Years that a range without an end, such as "more than 70", is taken to be long."""
_RANGE = re.compile(r"(\d{1,3})\s*(?:-|\u2013|to)\s*(\d{1,3})")
_OPEN = re.compile(r"(?:more than|over|above|>=?)?\s*(\d{1,3})\s*\+?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,2}[-. ][A-Za-z]{3}|[A-Za-z]{3}[-. ]\d{1,2}")


class Years(NamedTuple):
    """A range of ages in years, its ends included."""

    first: float
    last: float


def tables_of(links: Links) -> tuple[list[str], list[str]]:
    """The CSV files of a set that have FairFace's columns in their first row; and the others."""
    names = [
        entry.name
        for entry in list_folder(links.root, ".", links.problems) or []
        if entry.name.lower().endswith(".csv") and not entry.name.startswith(".") and is_file(entry)
    ]
    tables = [name for name in names if set(COLUMNS) <= _header(links.root / name)]
    return [name for name in tables if not links.lead_out(name)], [name for name in names if name not in tables]


def _header(path: Path) -> set[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return {cell.strip().casefold() for cell in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):  # no table of FairFace, then
        return set()


def read_fairface(tables: Sequence[str], links: Links, notes: list[str]) -> tuple[list[Photo], dict[str, Years]]:
    """The photos of some tables of a folder, and the ranges of their ages by photo."""
    photos: list[Photo] = []
    ranges: dict[str, Years] = {}
    seen: dict[str, str] = {}
    files = Files(links.root)
    for name in tables:
        rows, columns = read_table(links.root / name, name, COLUMNS, links.problems) or ([], ())
        unused = [show(column) for column in columns if column and column not in (*COLUMNS, *NOT_NEEDED)]
        tell(notes, f"columns of {name} that are not used", unused)
        above = _folder_above([cells["file"] for _, cells in rows], name, links)
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


def _folder_above(files: Sequence[str], table: str, links: Links) -> str:
    """The folder, with a slash, that the photos of a table lie under, which archives of them add; mostly none.

    Adds the problem where several hold them.
    """
    tried = files[:TRIED]
    if any(os.path.lexists(links.root / file) for file in tried):
        return ""
    folders = [entry.name for entry in list_folder(links.root, ".", links.problems) or [] if is_dir(entry)]
    holding = [folder for folder in folders if any(os.path.isfile(links.root / folder / file) for file in tried)]
    if len(holding) > 1:
        links.problems.add(
            f"the photos of {table} are in {listed([show(folder) for folder in holding])}; take all but one away"
        )
    return f"{holding[0]}/" if holding else ""


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
