"""What is wrong with what a user brought, told in one message."""

import os
from collections.abc import Sequence
from pathlib import Path

from models.errors import UserError

BAD_PHOTOS = "bad_photos.csv"
"""Every eval photo without a prediction of its own, and the reason."""
FIRST = 10
"""How many problems or examples a message lists before it only counts."""


def show(name: object) -> str:
    """A name in quotes, with line ends, control characters and undecodable bytes spelled out."""
    return repr(str(name))


def some(items: Sequence[str]) -> str:
    """The first ten of the items, then how many more there are."""
    rest = len(items) - FIRST
    return ", ".join(items[:FIRST]) + (f" and {rest} more" if rest > 0 else "")


def tell(notes: list[str], what: str, items: Sequence[str]) -> None:
    """Adds one note for all the items, or none where there are no items."""
    if items:
        notes.append(f"{what} ({len(items)}): {some(items)}")


def tell_bad_photos(bad: dict[str, str]) -> str:
    """Photos that cannot be decoded with the reason, a line each: the first ten, then a count."""
    lines = [f"  {show(photo)}: {why}" for photo, why in list(bad.items())[:FIRST]]
    more = len(bad) - FIRST
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)


def cut_short_line(photos: Sequence[str]) -> str:
    """The photos whose file ends too early and that are used all the same, in a sentence; nothing without any."""
    if not photos:
        return ""
    named = some([show(photo) for photo in photos])
    return f"{len(photos)} photos are cut short, decoded as far as they go: {named}"


def no_prediction_line(bad: int, photos: int, place: Path, of_people: bool = False) -> str:
    """How many eval photos have no prediction of their own, and where it says why, in a sentence.

    of_people: whether those of a known person have that person's gender and age band.
    """
    get = "their person's gender and age band, where that is known, or the most common label"
    return (
        f"{bad} of {photos} eval photos have no prediction of their own and get "
        f"{get if of_people else 'the most common label'}; {place / BAD_PHOTOS} says why"
    )


class Problems:
    """Everything wrong with one thing a user brought, told in a single message.

    `subject` begins the message ("the data set 'faces'"). Each problem names its file and row, and how to
    mend it, so that one problem alone reads as one sentence.
    """

    def __init__(self, subject: str):
        self.subject = subject
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def stop(self) -> None:
        """Raises UserError if there is any problem: the first ten, then a count."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise UserError(f"{self.subject} cannot be used: {self.found[0]}.")
        lines = [f"{self.subject} cannot be used; mend these {len(self.found)} problems and run again:"]
        lines += [f"  {problem}" for problem in self.found[:FIRST]]
        if len(self.found) > FIRST:
            lines.append(f"  and {len(self.found) - FIRST} more")
        raise UserError("\n".join(lines))


def check_folder(folder: Path, problems: Problems) -> None:
    """Raises UserError with all problems found so far where there is no such folder."""
    if not os.path.isdir(folder):
        what = "it is not a folder" if os.path.lexists(folder) else "there is no such folder"
        problems.add(f"{what}; name the folder that holds the photos")
    problems.stop()
