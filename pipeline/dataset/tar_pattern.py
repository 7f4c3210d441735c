"""The files that a pattern of tars names, each once, and by what name its photos are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.dataset.layouts import Links, is_dir, list_folder
from pipeline.run.eval_place import fixed_folder
from pipeline.runtime.problems import Problems, show, tell

BELOW = "**"
"""In a pattern: a folder and all folders below."""


def files_like(pattern: Path, follow_links: bool, problems: Problems, notes: list[str]) -> dict[str, Path]:
    """The files of a pattern, by their names below its fixed folder: whatever there is, tars or not.

    One that is there under several names, as links give, counts once, by the shortest; that is told. Links that lead
    out of the folder are problems, unless `follow_links`.
    """
    folder = fixed_folder(pattern)
    links = Links(folder, follow_links, problems)
    paths = map(Path, _found(str(folder), pattern.relative_to(folder).parts, links))
    names = {str(path.relative_to(folder)): path for path in paths}
    kept: dict[object, str] = {}
    again = []
    for name in sorted(names, key=lambda name: (name.count("/"), len(name), name)):
        if links.lead_out(name):
            continue
        first = kept.setdefault(_file(names[name]), name)
        if first != name:
            again.append(f"{show(name)} = {show(first)}")
    tell(notes, "tars that are there under several names, read once", again)
    return {name: names[name] for name in kept.values()}


def _found(folder: str, steps: Sequence[str], links: Links) -> Iterator[str]:
    """What there is like some steps below a folder."""
    if BELOW not in steps:
        yield from glob.glob(os.path.join(glob.escape(folder), *steps))
        return
    at = steps.index(BELOW)
    for start in _found(folder, steps[:at], links) if at else [folder]:
        for below in _below(start, links):
            yield from _found(below, steps[at + 1 :] or ["*"], links)


def _below(folder: str, links: Links) -> Iterator[str]:
    """A folder and those below, as of a folder of photos: none that is hidden, none twice, and of the links those
    alone that lead out."""
    waiting, entered = [folder], set()
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in entered or not os.path.isdir(folder):
            continue
        entered.add(real)
        yield folder
        waiting += [
            entry.path
            for entry in list_folder(Path(folder), show(folder), links.problems) or []
            if not entry.name.startswith(".")
            and is_dir(entry)
            and not (entry.is_symlink() and links.inside(os.path.realpath(entry.path)))
        ]


def _file(path: Path) -> object:
    """By what a file is known, whatever leads to it."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return found.st_dev, found.st_ino
