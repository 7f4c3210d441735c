"""The labels of the contest's people beside what their folders' names say: a code read the wrong way round shows."""

import re

from models.labels import GENDERS
from pipeline.dataset.layouts import Photo
from pipeline.runtime.problems import Problems, show, tell

_GENDER = re.compile(r"[^_]*_(male|female)(?:_.*)?", re.IGNORECASE)
_AGE = re.compile(r"[^_]*_.*_(\d{1,3})")
_CODES = {
    "gender": "gender is male or female, or 0 for male and 1 for female",
    "age": "age is in years, not the number of a class",
}


def check_codes(people: dict[str, tuple[int, Photo]], table: str, problems: Problems, notes: list[str]) -> None:
    """Compares gender and age of people, by folder name and with their row, with what 000001_female_Asian_45 says.

    Where more than half of those who can be compared differ, the column is coded otherwise: a problem. Fewer are
    people that somebody corrected, or slips: they are told.
    """
    for column in ("gender", "age"):
        compared, differing = 0, []
        for name, (row, person) in people.items():
            told, said = getattr(person, column), _said(column, name)
            if told is None or said is None:
                continue
            compared += 1
            if abs(told - said) >= 1:
                differing.append((row, name, _word(column, told), _word(column, said)))
        if 2 * len(differing) > compared:
            row, name, told, said = differing[0]
            problems.add(
                f"{table} row {row}: the {column} of {show(name)} is {told}, but its folder's name says {said}; so "
                f"it is with {len(differing)} of {compared} people: {_CODES[column]}; mend the column, or the folders"
            )
        else:
            what = f"people whose {column} in {table} is not that in their folder's name, read as in the table"
            tell(notes, what, [f"{show(name)} is {told} in row {row}" for row, name, told, _ in differing])


def _said(column: str, name: str) -> float | None:
    """What a folder's name says, None where it says nothing of the kind."""
    found = (_GENDER if column == "gender" else _AGE).fullmatch(name)
    if not found:
        return None
    return float(GENDERS.index(found[1].lower()) if column == "gender" else found[1])


def _word(column: str, value: float) -> str:
    return GENDERS[int(value)] if column == "gender" else f"{value:g}"
