"""The same photo twice: files of the same bytes, within a person, under two people, in train and in eval."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.dataset.photo_files import is_something_else
from pipeline.runtime.problems import FIRST, show, tell

if TYPE_CHECKING:
    from pipeline.dataset.photos import DataSet

_SAMPLE = 4096
"""Bytes in the middle of a file that are compared before a whole file is read: they differ where photos do."""


@dataclass
class Duplicates:
    """Photos of the same bytes, a group each: who has them is harmless, or would leak from training to validation."""

    harmless: list[list[str]] = field(default_factory=list)
    """Within one person, or among eval photos of whom nobody knows whose they are."""
    people: list[list[str]] = field(default_factory=list)
    """Under two people of one part."""
    parts: list[list[str]] = field(default_factory=list)
    """In train and in eval."""

    @property
    def leaking(self) -> list[list[str]]:
        return [*self.parts, *self.people]

    def count(self) -> int:
        """How many photos another one repeats."""
        return sum(len(group) - 1 for group in (*self.harmless, *self.leaking))


def find_duplicates(data: DataSet) -> Duplicates:
    """The photos of a data set that have the same bytes, train and eval alike.

    Sizes are known from the disk, and only files of equal size are read. Empty files, photos that are not on the disk,
    and what a download left in their place (one page of an error, many times) are passed over: they are no photos.
    """
    import pandas as pd

    owners_of = {
        photo: (part, None if person is pd.NA else person)
        for part, table in (("train", data.train), ("eval", data.eval))
        for photo, person in zip(table["photo"], table["person"], strict=True)
    }
    found = Duplicates()
    for group in same_files(data.root, owners_of):
        if is_something_else(data.path(group[0]), group[0]):
            continue
        owners = {owners_of[photo] for photo in group}
        known = {owner for owner in owners if owner[1] is not None}
        if len({part for part, _ in owners}) > 1:
            found.parts.append(group)
        elif len(known) > 1:
            found.people.append(group)
        else:
            found.harmless.append(group)
    return found


def same_files(root: Path | str, photos: Iterable[str]) -> list[list[str]]:
    """Groups of files with the same bytes, each sorted by name: paths below a folder."""
    by_size: dict[int, list[str]] = {}
    for photo in photos:
        try:
            size = os.stat(f"{root}/{photo}").st_size
        except OSError:
            continue
        if size:
            by_size.setdefault(size, []).append(photo)
    groups = []
    for size, alike in by_size.items():
        for some in _by(_sample, root, alike, size):
            groups += _by(_digest, root, some, size)
    return sorted(sorted(group) for group in groups)


def _by(read: Callable[[str, int], bytes], root: Path, photos: list[str], size: int) -> list[list[str]]:
    """The groups of two photos or more of which the same is read; what cannot be read is passed over."""
    if len(photos) < 2:
        return []
    groups: dict[bytes, list[str]] = {}
    for photo in photos:
        try:
            groups.setdefault(read(f"{root}/{photo}", size), []).append(photo)
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _sample(path: str, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(max(0, size // 2 - _SAMPLE // 2))
        return file.read(_SAMPLE)


def _digest(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def check_duplicates(found: Duplicates, subject: str, allowed: bool) -> list[str]:
    """What to tell of the photos that are there twice, a line for each kind.

    Raises UserError, unless allowed, where photos stand under two people or in train and in eval: what is learned from
    one is asked of the other.
    """
    leaking = [f"{_named(group)} (in train and in eval)" for group in found.parts]
    leaking += [f"{_named(group)} (under two people)" for group in found.people]
    if leaking and not allowed:
        shown = leaking[:FIRST] + ([f"and {len(leaking) - FIRST} more"] if len(leaking) > FIRST else [])
        told = f" {shown[0]}" if len(shown) == 1 else "".join(f"\n  {line}" for line in shown)
        raise UserError(
            f"{subject} holds the same photo under two people, or in train and in eval, so that scores would flatter; "
            f"take one of each away, or keep them with --allow-duplicates:{told}"
        )
    notes: list[str] = []
    tell(notes, "the same photo under two people, or in train and in eval, used as allowed", leaking)
    tell(notes, "the same photo twice", [_named(group) for group in found.harmless])
    return notes


def _named(group: list[str]) -> str:
    more = f" and {len(group) - FIRST} more" if len(group) > FIRST else ""
    return " = ".join(show(photo) for photo in group[:FIRST]) + more
