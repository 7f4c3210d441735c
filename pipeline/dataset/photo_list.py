"""A text file that lists photos, for prediction alone."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.dataset.names import Files
from pipeline.dataset.photos import DataSet, of_eval_photos
from pipeline.runtime.problems import FIRST, Problems, show

BOM = b"\xef\xbb\xbf"


def read_list(path: Path) -> DataSet:
    """The photos that a text file lists, a line each, in its order.

    Their paths are relative to the list's folder, or absolute; a photo is called as its line says. Whatever is listed
    was meant, so hidden files and links that lead elsewhere are photos too. Raises UserError listing every line that
    cannot be.
    """
    problems = Problems(f"The list {show(path)}")
    lines = _Lines(path.parent, problems)
    photos = list(lines.photos(path))
    lines.find_the_same(photos)
    if not photos and not problems.found:
        problems.add("it lists no photos; write a path on each line")
    problems.stop()
    data = of_eval_photos(path.parent, path.stem, photos, [], "list", given=path)
    return replace(data, looked=(lines.sizes, lines.times))


class _Lines:
    """The lines of a list, checked one by one."""

    def __init__(self, root: Path, problems: Problems):
        self.root, self.problems = root, problems
        self._absolute = os.path.abspath(root).rstrip("/")
        self._files = Files(root)
        self.sizes, self.times = array("q"), array("q")  # of the photos that can be used, as all that follow
        self._numbers, self._devices, self._inodes = array("q"), array("Q"), array("Q")

    def photos(self, path: Path) -> Iterator[str]:
        """Those that can be used, each once."""
        seen: dict[str, int] = {}
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                content = line.removeprefix(BOM) if number == 1 else line
                try:
                    photo = content.removesuffix(b"\n").removesuffix(b"\r").decode()
                except UnicodeDecodeError:
                    self.problems.add(f"line {number} is not UTF-8; write the list in UTF-8")
                    continue
                if not photo.strip():
                    continue
                first = seen.setdefault(self._plain(photo), number)
                if first != number:
                    self._refuse(number, photo, f"already stands in line {first}; keep one")
                elif (fault := self._fault(photo)) is not None:
                    self._refuse(number, photo, fault)
                else:
                    self._numbers.append(number)
                    yield photo

    def find_the_same(self, photos: Sequence[str]) -> None:
        """Refuses photos that are one file by two paths; two links of a file itself, of hard ones, are two photos."""
        devices, inodes = np.asarray(self._devices), np.asarray(self._inodes)
        order = np.lexsort((inodes, devices))
        same = (np.diff(inodes[order]) == 0) & (np.diff(devices[order]) == 0)
        seen: dict[str, int] = {}
        for row in np.unique([order[:-1][same], order[1:][same]]).tolist():
            number = self._numbers[row]
            first = seen.setdefault(os.path.realpath(os.path.join(self.root, photos[row])), number)
            if first != number:
                self._refuse(number, photos[row], f"is the one in line {first} by another path; keep one")

    def _refuse(self, number: int, photo: str, fault: str) -> None:
        self.problems.add(f"line {number}: the photo {show(photo)} {fault}")

    def _plain(self, photo: str) -> str:
        """A path as it is known whichever way it is written; most are plain."""
        plain = os.path.normpath(photo)
        if plain.startswith("/"):
            plain = plain.removeprefix(f"{self._absolute}/")
        return photo if plain == photo else plain

    def _fault(self, photo: str) -> str | None:
        """What is wrong with a photo of the list; None where it is a file, of which is kept what was looked at."""
        try:
            found = os.stat(os.path.join(self.root, photo))
        except (FileNotFoundError, NotADirectoryError):
            return self._missing(photo)
        except ValueError:  # of a path with a zero byte
            return "is no path"
        except OSError as refusal:
            return f"cannot be read ({refusal.strerror})"
        if stat.S_ISDIR(found.st_mode):
            return "is a folder; list the photos in it"
        if not stat.S_ISREG(found.st_mode):
            return "is not a file"
        if photo.lower().endswith(".tar"):
            return "is a tar; name tars by a pattern in place of the list, as EVAL='shards/*.tar'"
        self.sizes.append(found.st_size)
        self.times.append(found.st_mtime_ns)
        self._devices.append(found.st_dev)
        self._inodes.append(found.st_ino)
        return None

    def _missing(self, photo: str) -> str:
        """That a photo is not there, and what is there instead; folders are looked through for the first ones alone."""
        try:
            other = None
            if len(self.problems.found) < FIRST and not os.path.isabs(photo):
                other = self._files.find(photo)
        except ValueError as fault:
            return str(fault)
        if other is not None and other != photo:
            return f"is not there, but {show(other)} is; write it so"
        return "is not on disk; mend or remove the line"
