"""The same photo twice: files of the same bytes, within a person, under two people, in train and in eval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from models.file_kinds import FIRST_BYTES
from pipeline.dataset.photo_files import begins_like_something_else
from pipeline.dataset.reach import OnDisk, Reach
from pipeline.runtime.problems import FIRST, show, tell

if TYPE_CHECKING:
    from pipeline.dataset.photos import DataSet

_SAMPLE = 4096
"""Bytes in the middle of a file that are compared before a whole file is read: they differ where photos do."""
_PIECE = 2**22
"""Bytes that are read at a time."""
MOST_COMPARED = 100_000
"""Of more photos that are labelled and never learned from, none are compared: sizes repeat among so many, so that
most would be read once more, on whatever disk they lie; and nothing hangs on it, as each is labelled for itself."""


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
    for group in _same(data.reach, owners_of):
        if begins_like_something_else(data.reach.read(group[0], 0, FIRST_BYTES), group[0]):
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
    """Groups of files with the same bytes, each sorted by name: paths below a folder, without the slash of the root."""
    return _same(OnDisk(root or "/"), photos)


def _same(reach: Reach, photos: Iterable[str]) -> list[list[str]]:
    """Groups of photos with the same bytes, each sorted by name."""
    by_size: dict[int, list[str]] = {}
    for photo in photos:
        try:
            size = reach.size(photo)
        except OSError:
            continue
        if size:
            by_size.setdefault(size, []).append(photo)
    groups = []
    for size, alike in by_size.items():
        for some in _by(_sample, reach, alike, size):
            groups += _by(_digest, reach, some, size)
    return sorted(sorted(group) for group in groups)


def _by(read: Callable[[Reach, str, int], bytes], reach: Reach, photos: list[str], size: int) -> list[list[str]]:
    """The groups of two photos or more of which the same is read; what cannot be read is passed over."""
    if len(photos) < 2:
        return []
    groups: dict[bytes, list[str]] = {}
    for photo in photos:
        try:
            groups.setdefault(read(reach, photo, size), []).append(photo)
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _sample(reach: Reach, photo: str, size: int) -> bytes:
    return reach.read(photo, max(0, size // 2 - _SAMPLE // 2), _SAMPLE)


def _digest(reach: Reach, photo: str, size: int) -> bytes:
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(reach.read(photo, start, _PIECE))
    return digest.digest()


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
