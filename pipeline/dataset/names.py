"""Names written in more than one way: letters composed or decomposed, separators of Windows, capital letters.

Macs decompose the letters of file names (Hangul, accents), and Windows writes paths with backslashes, so the name in
a table and the one on the disk may differ and yet be the same to the eye.
"""

import os
import re
import unicodedata
from collections.abc import Iterable

from pipeline.runtime.problems import show, some


def composed(name: str) -> str:
    """A name with its letters composed (NFC): names of the same letters become equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _without_case(name: str) -> str:
    return composed(composed(name).casefold())


def path_fault(path: str) -> str | None:
    """What is wrong with a path written in a table: it must be plain, relative and stay inside; else None."""
    if not path.strip():
        return "is blank"
    if path.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path):
        return "is absolute; write it relative to the data set"
    steps = path.split("/")
    if ".." in steps:
        return "leaves the data set; write a path inside it"
    if "." in steps or "" in steps:
        return "is not plain; write it without empty or '.' steps"
    return None


class Spellings:
    """Names that are found by any spelling of their letters."""

    def __init__(self, names: Iterable[str]):
        self._names = list(names)
        self._composed: dict[str, list[str]] = {}
        for name in self._names:
            self._composed.setdefault(composed(name), []).append(name)
        self._caseless: dict[str, list[str]] | None = None

    def alike(self, name: str) -> list[str]:
        """The names of the same letters."""
        return self._composed.get(composed(name), [])

    def in_other_case(self, name: str) -> list[str]:
        """The names that differ from one only in capital letters."""
        if self._caseless is None:
            self._caseless = {}
            for each in self._names:
                self._caseless.setdefault(_without_case(each), []).append(each)
        return [each for each in self._caseless.get(_without_case(name), []) if composed(each) != composed(name)]

    def find(self, name: str) -> str | None:
        """The one name that is meant, read with backslashes as separators where only that finds it; else None.

        Raises ValueError with a phrase where there are two, or where only capital letters differ.
        """
        for written in _readings(name):
            if found := self.alike(written):
                return the_only(found)
        for written in _readings(name):
            if found := self.in_other_case(written):
                raise ValueError(_only_case(found))
        return None


class Files:
    """The files and folders of a data set, found by any spelling of their paths."""

    def __init__(self, root: str | os.PathLike):
        self.root = root
        self._folders: dict[str, Spellings] = {}
        self.backslashed: list[str] = []
        """The paths so far that were found only with their backslashes read as separators."""

    def find(self, path: str) -> str | None:
        """The path on the disk that a path in a table means, as `Spellings.find`; None where there is none.

        Raises ValueError too where a path, read with backslashes as separators, is none for a table (`path_fault`).
        """
        for written in _readings(path):
            if found := self._walk(written, Spellings.alike):
                if written != path:
                    if fault := path_fault(written):
                        raise ValueError(fault)
                    self.backslashed.append(show(path))
                return the_only(found)
        for written in _readings(path):
            fault = path_fault(written)
            if fault is None and (found := self._walk(written, _in_any_case)):
                raise ValueError(_only_case(found))
        return None

    def _walk(self, path: str, matches) -> list[str]:
        """The paths on the disk whose every step matches."""
        if matches is Spellings.alike and path.isascii():  # one spelling: no need to list folders
            return [path] if os.path.lexists(f"{self.root}/{path}") else []
        found = [""]
        for step in path.split("/"):
            found = [
                f"{folder}/{name}" if folder else name
                for folder in found
                for name in matches(self._entries(folder), step)
            ]
        return found

    def _entries(self, folder: str) -> Spellings:
        if folder not in self._folders:
            try:
                names = sorted(os.listdir(f"{self.root}/{folder}"))
            except (OSError, ValueError):  # no folder, or one that may not be read: what reads it tells
                names = []
            self._folders[folder] = Spellings(names)
        return self._folders[folder]


def in_other_case(folder: str | os.PathLike, name: str) -> str | None:
    """An entry of a folder that differs from a name only in capital letters, where the name itself is not there."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return None
    found = Spellings(names)
    other = [] if found.alike(name) else found.in_other_case(name)
    return other[0] if other else None


def _readings(path: str) -> list[str]:
    """A path as it is written and, where it has backslashes, with those as separators."""
    return [path, path.replace("\\", "/")] if "\\" in path else [path]


def _in_any_case(names: Spellings, name: str) -> list[str]:
    return names.alike(name) + names.in_other_case(name)


def the_only(found: list[str]) -> str:
    """The only one of the names found; ValueError with a phrase that names them where there are more."""
    if len(found) > 1:
        names = some([ascii(name) for name in found])  # they look the same, and are told apart by their code points
        raise ValueError(f"may be any of {names}, whose names are the same letters; rename or remove one of them")
    return found[0]


def _only_case(found: list[str]) -> str:
    there = some([show(name) for name in found])
    return f"is not there, but {there} is, and differs only in capital letters; write both alike"
