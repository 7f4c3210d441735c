"""Extra sets (EXTRA=): photos of other people that a run learns from too, with what labels they have.

They are in no fold: nothing is validated or calibrated on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import MASKS, OLDEST
from pipeline.dataset.class_folders import folder_labels, read_class_folders
from pipeline.dataset.contest import TRAIN_CSV
from pipeline.dataset.duplicates import same_files
from pipeline.dataset.fairface import COLUMNS, Years, read_fairface, tables_of
from pipeline.dataset.foreign import in_place_of
from pipeline.dataset.general import PHOTOS_CSV
from pipeline.dataset.layouts import LeftOut, Links, Photo, tell_capped, walk_photos
from pipeline.dataset.named_labels import SETS, set_named_so
from pipeline.dataset.photo_files import is_something_else
from pipeline.dataset.photos import DataSet, frame, read_data_set
from pipeline.runtime.problems import Problems, check_folder, show, some, tell

RANGE = ("age_from", "age_to")
"""The columns of an age that is known as a range: its first and last year, NaN where it is not one."""
BARE_SETS = ("UTKFace", "FairFace", "AgeDB")
"""The sets that were collected before people wore masks: their masks are unknown, but masks may be drawn on them."""


def read_extra(root: Path, follow_links: bool = False) -> DataSet:
    """Reads an extra set: as photos.csv or train/train.csv tell, else FairFace's tables, UTKFace's or AgeDB's file
    names, or a folder a class.

    Its train table may have the columns of RANGE; it has no eval photos. Raises UserError listing everything that is
    wrong with the folder.
    """
    root = Path(root)
    problems, notes = Problems(f"The extra set {show(root)}"), []
    check_folder(root, problems)
    if any(os.path.lexists(root / table) for table in (PHOTOS_CSV, TRAIN_CSV)):
        data = read_data_set(root, None, follow_links, extra=True)
        tell(notes, "eval photos, not used", [show(photo) for photo in data.eval["photo"]])
        return replace(data, eval=data.eval.iloc[:0], notes=(*data.notes, *notes))
    if beside := in_place_of(root / PHOTOS_CSV, may_be_missing=True):
        problems.add(f"it has no {PHOTOS_CSV}, but {beside}, or take it away")
    links, left_out = Links(root, follow_links, problems), LeftOut()
    ranges: dict[str, Years] = {}
    tables, others = tables_of(links)
    if tables:
        layout = "FairFace"
        photos, ranges = read_fairface(tables, links, notes)
        listed = {photo.photo for photo in photos}
        loose = [photo for photo in walk_photos("", links, [], LeftOut()) if photo not in listed]
        left_out.tell(f"photos that {' and '.join(tables)} do not name", loose, notes)
    else:
        beside = f" ({some([show(name) for name in others])} lack the columns {', '.join(COLUMNS)})" if others else ""
        layout, photos = _by_names(walk_photos("", links, notes, left_out), notes, left_out, beside, problems)
    tell_capped([photo.age for photo in photos], f"the extra set {show(root)}", notes)
    if not photos and not problems.found:
        problems.add("it holds no photos; name a folder that does")
    problems.stop()
    train = frame(sorted(photos, key=lambda photo: photo.photo), None)
    if ranges:
        none = (np.nan, np.nan)
        train[list(RANGE)] = np.minimum([ranges.get(photo, none) for photo in train["photo"]], OLDEST)
    name = root.resolve().name or "extra"
    return DataSet(root, name, train, frame([], None), tuple(notes), layout, left_out=left_out)


def _by_names(
    photos: list[str], notes: list[str], left_out: LeftOut, beside: str, problems: Problems
) -> tuple[str, list[Photo]]:
    """The layout of a set without a table, and its photos, labelled by the names of files or folders."""
    layout = set_named_so(photos)
    if layout is None:
        return "a folder a class", read_class_folders(photos, beside, problems)
    read = {photo: SETS[layout](photo) for photo in photos}
    others = [photo for photo, labelled in read.items() if labelled is None]
    left_out.tell(f"photos that are not named as {layout}'s", others, notes)
    # Masks may have been drawn on such photos, and a folder says so.
    found = [one._replace(mask=folder_labels(one.photo).mask) for one in read.values() if one is not None]
    for label in ("gender", "age"):
        blank = [show(one.photo) for one in found if getattr(one, label) is None]
        tell(notes, f"photos whose names tell no {label}", blank)
    return layout, found


def check_apart(data: DataSet, extras: Sequence[DataSet], allowed: bool) -> list[str]:
    """Raises UserError, unless allowed, where an extra photo is one of the data set's own, or has its bytes.

    Each of those is validated in some fold, or predicted: what is learned from it would flatter the score. Returns what
    to tell where it is allowed.
    """
    own = {_absolute(data, photo): photo for photo in (*data.train["photo"], *data.eval["photo"])}
    more = {_absolute(extra, photo): f"{extra.root}/{photo}" for extra in extras for photo in extra.train["photo"]}
    if not more:
        return []
    sizes = {size for path in own if (size := _size(path)) is not None}
    alike = {path: name for path, name in more.items() if path not in own and _size(path) in sizes}
    groups = [[path] for path in more if path in own]
    groups += [group for group in same_files("", {**own, **alike}) if own.keys() & group and alike.keys() & group]
    pairs = [
        f"{show(next(more[path] for path in group if path in more))} = "
        f"{show(next(own[path] for path in group if path in own))}"
        for group in groups
        if not is_something_else(f"/{group[0]}", group[0])
    ]
    told: list[str] = []
    tell(told, "extra photos that are also the data set's own, used as allowed", pairs)
    if pairs and not allowed:
        raise UserError(
            f"{len(pairs)} photos of extra sets are also the data set's own, which are validated or predicted, so that "
            f"scores would flatter; take them out of one of the two, or keep them with --allow-duplicates: "
            f"{some(pairs)}"
        )
    return told


def _size(path: str) -> int | None:
    """The bytes of a file, None where there are none."""
    try:
        return os.stat(f"/{path}").st_size or None
    except OSError:
        return None


def _absolute(data: DataSet, photo: str) -> str:
    """The path of a photo, without the slash it begins with, as `same_files` takes it; links to the set followed."""
    return f"{os.path.realpath(data.root)}/{photo}".removeprefix("/")


def extra_lines(extras: Iterable[DataSet]) -> list[str]:
    """A line for each extra set: where it lies, how it is labelled and how many photos carry what; and its notes."""
    lines = []
    for extra in extras:
        rows = extra.train
        ages = int((rows["age"].notna() | has_range(rows)).sum())
        counts = {"a mask state": int(rows["mask"].notna().sum()), "a gender": int(rows["gender"].notna().sum())}
        counted = [f"{count:,} with {what}" for what, count in (*counts.items(), ("an age", ages))]
        layout = {"contest": "the contest's layout", "general": PHOTOS_CSV}.get(extra.layout, extra.layout)
        lines.append(f"the extra set {show(extra.root)} ({layout}): {len(rows):,} photos, {', '.join(counted)}")
        lines += [f"{show(extra.name)}: {note}" for note in extra.notes]
    return lines


def is_bare(data: DataSet) -> NDArray[np.bool_]:
    """Which train photos of a set show a bare face: as labelled, and of BARE_SETS all whose mask is unknown."""
    known = data.train["mask"]
    return ((known == MASKS.index("none")) | (known.isna() & (data.layout in BARE_SETS))).to_numpy(bool, na_value=False)


def has_range(rows: pd.DataFrame) -> pd.Series:
    """Which rows have their age as a range."""
    return rows[RANGE[0]].notna() if RANGE[0] in rows else pd.Series(False, index=rows.index)


def with_range_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with each age that is a range as two ages, its first and its last year."""
    ranged = has_range(rows)
    ends = [rows[ranged].assign(age=rows.loc[ranged, name]) for name in RANGE] if ranged.any() else []
    return pd.concat([rows[~ranged], *ends])
