"""Labels that stand in the names of folders: a folder a class, as sets of masked faces come."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.dataset.layouts import Photo
from pipeline.runtime.problems import Problems, show, some

MASK_FOLDERS = (
    ("worn", "withmask", "withmasks", "mask", "masks", "masked", "maskon", "correctmask", "maskcorrect", "correct")
    + ("correctlymasked", "maskworncorrectly", "maskwearedcorrect", "wearingmask", "properlyworn", "cmfd"),
    ("wrong", "incorrectmask", "maskincorrect", "incorrect", "incorrectlymasked", "maskwornincorrectly")
    + ("maskwearedincorrect", "wrongmask", "improperlyworn", "impropermask", "imfd"),
    ("none", "withoutmask", "withoutmasks", "nomask", "nomasks", "unmasked", "notmasked", "maskoff", "bare", "normal"),
)
"""What folders of each mask state are called, in small letters and without what is no letter."""
GENDER_FOLDERS = (("male", "males", "man", "men"), ("female", "females", "woman", "women"))
"""The same of each gender."""


def read_class_folders(photos: Iterable[str], problems: Problems) -> list[Photo]:
    """The photos with the mask state and the gender that the folders above them name, each photo a person.

    Where folders in one another name different ones, the innermost counts. Adds a problem with the folders of photos
    that stand under no known name.
    """
    found, unknown = [], set()
    for photo in photos:
        folders = photo.split("/")[:-1]
        mask, gender = _named(folders, MASK_FOLDERS), _named(folders, GENDER_FOLDERS)
        if mask is None and gender is None:
            unknown.add("/".join(folders) or ".")
        found.append(Photo(photo, photo, mask, gender))
    if unknown:
        problems.add(
            f"it has neither photos.csv nor labels in the names of its photos, and of these folders nothing is known: "
            f"{some([show(folder) for folder in sorted(unknown)])}; name each by its class, such as with_mask, "
            f"incorrect_mask, without_mask, male or female, or take it away"
        )
    return found


def _named(folders: list[str], names: tuple[tuple[str, ...], ...]) -> int | None:
    """The class that the innermost of some folders names."""
    for folder in reversed(folders):
        plain = re.sub(r"[^a-z]", "", folder.lower())
        for number, known in enumerate(names):
            if plain in known:
                return number
    return None
