"""Labels that stand in the names of photo files, as UTKFace and AgeDB write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from pipeline.dataset.layouts import Photo
from pipeline.dataset.tables import EVER_AGED

_UTKFACE = re.compile(r"(\d{1,3})_(\d*)_(?:(\d*)_)?\d{14,}")
"""Age, gender, race and the moment, as in 26_1_0_20170116184024662.jpg.chip.jpg; some names lack a field."""
_AGEDB = re.compile(r"\d+_(.+)_(\d{1,3})_([mf])", re.IGNORECASE)
"""A number, the person, age and gender, as in 0_MariaCallas_35_f.jpg."""


def utkface(photo: str) -> Photo | None:
    """A photo with the age and the gender in its name, each photo a person; None where it is not named so.

    Where one of gender and race is missing, nothing says which, and the gender is unknown.
    """
    found = _UTKFACE.match(_name(photo))
    if not found:
        return None
    age, second, third = found.groups()
    gender = {"0": 0, "1": 1}.get(second) if third is not None else None
    return Photo(photo, photo, None, gender, _years(age))


def agedb(photo: str) -> Photo | None:
    """A photo with person, age and gender in its name; None where it is not named so."""
    found = _AGEDB.fullmatch(_name(photo).rpartition(".")[0])
    if not found:
        return None
    person, age, gender = found.groups()
    return Photo(photo, person, None, "mf".index(gender.lower()), _years(age))


SETS: Mapping[str, Callable[[str], Photo | None]] = {"UTKFace": utkface, "AgeDB": agedb}
"""How a photo is read by its name, by the set that names photos so."""


def set_named_so(photos: Iterable[str]) -> str | None:
    """The set whose names at least half of some photos have; None where there is none."""
    photos = list(photos)
    for name, read in SETS.items():
        if photos and 2 * sum(read(photo) is not None for photo in photos) >= len(photos):
            return name
    return None


def _name(photo: str) -> str:
    return photo.rpartition("/")[2]


def _years(text: str) -> float | None:
    return float(text) if int(text) <= EVER_AGED else None
