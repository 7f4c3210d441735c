"""Labels that stand in the names of folders: a folder a class, as sets of masked faces come."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.dataset.layouts import Photo
from pipeline.runtime.problems import Problems, show, some

MASK_FOLDERS = (
    ("worn", "withmask", "withmasks", "mask", "masked", "maskon", "correctmask", "maskcorrect", "correct")
    + ("correctlymasked", "maskworncorrectly", "maskwearedcorrect", "wearingmask", "properlyworn", "cmfd"),
    ("wrong", "incorrectmask", "maskincorrect", "incorrect", "incorrectlymasked", "maskwornincorrectly")
    + ("maskwearedincorrect", "wrongmask", "improperlyworn", "impropermask", "imfd"),
    ("none", "withoutmask", "withoutmasks", "nomask", "nomasks", "unmasked", "notmasked", "maskoff", "bare", "normal"),
)
"""What folders of each mask state are called, in small letters and without blanks, lines, dots and hyphens."""
GENDER_FOLDERS = (("male", "males", "man", "men"), ("female", "females", "woman", "women"))
"""The same of each gender."""
NEUTRAL = frozenset(
    ("train", "training", "test", "testing", "val", "valid", "validation", "eval", "data", "dataset", "images", "image")
    + ("img", "imgs", "photos", "faces")
)
"""Folders that may stand within a class and say nothing of it; and so may numbers."""


class FolderLabels(NamedTuple):
    """What the folders above a photo say. `stray`: the first within a class that says nothing known, None without."""

    mask: int | None
    gender: int | None
    stray: str | None = None


def folder_labels(photo: str) -> FolderLabels:
    """The mask state and the gender that the folders above a photo name: of several, the innermost counts."""
    mask, gender, stray = None, None, None
    for folder in photo.split("/")[:-1]:
        plain = re.sub(r"[\s_.\-]", "", folder.lower())
        here = _class(plain, MASK_FOLDERS), _class(plain, GENDER_FOLDERS)
        within = mask is not None or gender is not None
        if here == (None, None) and within and not (plain.isdigit() or plain in NEUTRAL):
            stray = stray or folder
        mask, gender = (here[0] if here[0] is not None else mask), (here[1] if here[1] is not None else gender)
    return FolderLabels(mask, gender, stray)


def _class(plain: str, names: tuple[tuple[str, ...], ...]) -> int | None:
    return next((number for number, known in enumerate(names) if plain in known), None)


def read_class_folders(photos: Iterable[str], beside: str, problems: Problems) -> list[Photo]:
    """The photos with the mask state and the gender that the folders above them name, each photo a person.

    Adds a problem with the folders of photos that stand under no known name, or below one of which nothing is known;
    `beside`: what else lies there, for that.
    """
    found, unknown = [], set()
    for photo in photos:
        labels = folder_labels(photo)
        if labels.stray or labels[:2] == (None, None):
            unknown.add(photo.rpartition("/")[0] or ".")
        found.append(Photo(photo, photo, labels.mask, labels.gender))
    if unknown:
        loose = "; for one class alone, name the folder above it" if "." in unknown else ""
        problems.add(
            f"what its photos show is told by no table, and not by the names of these folders: "
            f"{some([show(folder) for folder in sorted(unknown)])}; name each folder by its class, such as with_mask, "
            f"incorrect_mask, without_mask, male or female, or take it away{loose}{beside}"
        )
    return found
