"""What EVAL names: a folder of photos, a list of photos, a tar, or tars by a pattern."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from models import file_kinds
from models.errors import UserError
from pipeline.dataset import photos as folders
from pipeline.dataset.layouts import LeftOut
from pipeline.dataset.photo_kinds import kind_of
from pipeline.dataset.photo_list import read_list
from pipeline.dataset.photo_names import IN_SHARD
from pipeline.dataset.photos import DataSet, is_text, of_eval_photos
from pipeline.dataset.shards import Shard, Shards
from pipeline.dataset.tar_index import TarIndex, clear_old, index_of
from pipeline.dataset.tar_pattern import files_like
from pipeline.dataset.tar_scan import KINDS, TWICE, TarFaultError, is_tar
from pipeline.run.eval_place import NAMELESS, fixed_folder, is_pattern
from pipeline.runtime.problems import FIRST, Problems, show, some, tell
from pipeline.runtime.progress import Progress

TAR = ".tar"
PACKED = ("a gzip file", "a bzip2 file", "an xz file", "a zstd file")
UNPACK = "a tar that is packed cannot be read at any place; unpack it into a plain .tar"
TEXTS = ("a Git LFS pointer", "an HTML page", "an XML file", "an SVG drawing", "a PDF", "a PostScript file")
"""What may be all text and is no list; other beginnings of text, such as BM or MZ, may be those of a name."""
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""What text does not hold."""
MEGABYTE = 1_000_000
LISTED = 1000
"""Members of one kind that are left out and named, of all tars together; of each some are."""
MOMENT = 0.1
"""Seconds between two looks at tars that others go through."""


def read_eval(given: Path, follow_links: bool, index: Path) -> DataSet:
    """The photos that EVAL names, for prediction alone. index: the folder where what tars hold is kept.

    Raises UserError for what is none of these, and listing everything that is wrong with it.
    """
    if is_pattern(given):
        problems, notes = Problems(f"The tars {show(given)}"), []
        found = files_like(given, follow_links, problems, notes)
        if not found and not problems.found:
            raise UserError(f"there is no file like {show(given)}; name tars, a folder of photos, or a list of photos.")
        return _read_shards(given, found, fixed_folder(given), index, problems, notes)
    if os.path.isfile(given) and given.name.lower().endswith(TAR):
        return _read_shards(given, {given.name: given}, given.parent, index, Problems(f"The tar {show(given)}"), [])
    if os.path.isfile(given):
        _check_list(given)
        return read_list(given)
    if not os.path.lexists(given):
        raise UserError(f"{show(given)} cannot be used: there is no such folder, list or tar; correct the path.")
    if not os.path.isdir(given):
        raise UserError(f"{show(given)} is neither a folder of photos nor a file; name one of them.")
    return folders.read_folder(given, follow_links)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(file_kinds.FIRST_BYTES)


def _check_list(path: Path) -> None:
    """Raises UserError for a file that is no list of photos, with the way out."""
    first, problems = _first_bytes(path), Problems(f"The list {show(path)}")
    kind = kind_of(first, path.name)
    if kind is not None and not CONTROL.search(first) and kind.name not in TEXTS:
        return
    if first and is_tar(first):
        problems.add(f"it is a tar; give it a name that ends in {TAR}")
    elif first.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.add("it is text in UTF-16; write it in UTF-8")
    elif kind is not None and kind.photo:
        problems.add("it is a photo; name its folder, or label it alone with face18 label")
    elif kind is not None and kind.name in PACKED:
        problems.add(f"it is {kind.name}; {UNPACK}, or into a list")
    elif kind is not None and kind.name == file_kinds.ZIP:
        problems.add("it is a zip archive; unpack it and name the folder")
    elif kind is not None and kind.name != file_kinds.EMPTY:
        problems.add(f"it is {kind.name}; name a text file with the path of a photo on each line")
    elif CONTROL.search(first):
        problems.add(f"it is no text; name a text file with the path of a photo on each line, a folder, or a {TAR}")
    problems.stop()


def _read_shards(
    given: Path, found: Mapping[str, Path], folder: Path, index: Path, problems: Problems, notes: list[str]
) -> DataSet:
    """The photos of tars, each called by its tar's name and its own in there."""
    alone, left_out = given in found.values(), LeftOut()
    # As plain text orders the photos' names: then one is found by halving.
    names = sorted(found, key=lambda name: f"{name}/")
    paths = {name: found[name] for name in names if _is_shard(name, found[name], alone, problems)}
    indexes = _indexes(paths, index, alone, problems)
    _tell(indexes, left_out, notes)
    photos = [photo for one in indexes.values() for photo in one.photos]
    if not photos and not problems.found:
        problems.add("it holds no photos; name one that does" if alone else "they hold no photos; name some that do")
    problems.stop()
    name = given.stem if alone else folder.resolve().name or NAMELESS
    data = of_eval_photos(folder, name, photos, notes, "shards", left_out, given)
    shards = Shards(
        [Shard(name, paths[name], one.stamp, one.facts["table"], one.kept[1]) for name, one in indexes.items()],
        data.eval["photo"].array,
        [0, *np.cumsum([len(one.photos) for one in indexes.values()]).tolist()][:-1],
        *(
            np.concatenate([getattr(one, numbers) for one in indexes.values()])
            for numbers in ("offsets", "sizes", "headers")
        ),
    )
    clear_old(index, {path for one in indexes.values() for path in one.kept})
    return replace(data, shards=shards)


def _is_shard(name: str, path: Path, alone: bool, problems: Problems) -> bool:
    """Whether a file is a plain tar by its name and first bytes; adds the problem if not."""
    fault = _fault_of(path)
    if fault is None and IN_SHARD.search(name):
        fault = "lies in a folder that is called like a tar; rename the folder, or name the tars in it by a pattern"
    if fault is not None:
        problems.add(f"{'it' if alone else show(path)} {fault}")
    return fault is None


def _fault_of(path: Path) -> str | None:
    """Why a file that EVAL names is no tar, as the end of a sentence."""
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "a link that leads nowhere" if path.is_symlink() else "no file"
        return f"is {what}; remove it, or narrow the pattern"
    if not is_text(str(path)):
        return "has a name that is not UTF-8, so no table can hold it; rename it"
    first = _first_bytes(path)
    plain = not first or is_tar(first)
    kind = None if plain else kind_of(first, path.name)
    if kind is not None and kind.name in PACKED:
        return f"is {kind.name}; {UNPACK}"
    if not path.name.lower().endswith(TAR):
        way = "give it a name that does" if plain and first else f"narrow the pattern, as to *{TAR}"
        return f"does not end in {TAR}; {way}"
    if plain:
        return None
    return f"is {kind.name} and no tar; bring the tar itself" if kind else "is damaged, or no tar; bring it anew"


def _indexes(paths: Mapping[str, Path], folder: Path, alone: bool, problems: Problems) -> dict[str, TarIndex]:
    """What tars hold, by name; adds a problem for each that cannot be used. Several processes share the work."""
    found: dict[str, TarIndex] = {}
    done = 0
    with Progress("index", sum(path.stat().st_size for path in paths.values()) // MEGABYTE, "MB") as progress:

        def advance(some_bytes: int) -> None:
            nonlocal done
            done += some_bytes
            if done // MEGABYTE > progress.done:
                progress.advance(done // MEGABYTE - progress.done)

        waiting = dict(paths)
        while waiting:
            left = len(waiting)
            for name, path in list(waiting.items()):
                try:
                    index = index_of(path, name, folder, advance)
                except TarFaultError as fault:
                    problems.add(str(fault) if alone else f"{show(path)}: {fault}")
                else:
                    if index is None:  # another process goes through it
                        continue
                    found[name] = index
                del waiting[name]
            if len(waiting) == left:
                progress.advance(0)
                time.sleep(MOMENT)
    return {name: found[name] for name in paths if name in found}


def _tell(indexes: Mapping[str, TarIndex], left_out: LeftOut, notes: list[str]) -> None:
    """Tells what tars hold beside photos, with examples: there may be as many of it as there are photos."""
    for kind in KINDS:
        told = {name: one.facts["told"][kind] for name, one in indexes.items() if kind in one.facts["told"]}
        named = ((f"{name}/{each}", behind) for name, one in told.items() for each, behind in one["examples"])
        examples = dict(islice(named, LISTED))
        count = sum(one["count"] for one in told.values())
        shown = [f"{show(each)}{behind}" for each, behind in list(examples.items())[:FIRST]]
        if count:
            more = f" and {count - len(shown):,} more" if count > len(shown) else ""
            notes.append(f"{kind}, not used ({count:,}): {some(shown)}{more}")
        if kind != TWICE:  # a photo of that name is used
            left_out.files |= {each: f"{kind}{behind}" for each, behind in examples.items()}
            left_out.unlisted += count - len(examples)
    left_out.system += sum(one.facts["system"] for one in indexes.values())
    tell(notes, "tars without photos", [show(name) for name, one in indexes.items() if not one.photos])
    endless = [show(name) for name, one in indexes.items() if not one.facts["ends"]]
    tell(notes, "tars that end without a block that says so, and may have been cut short between members", endless)
