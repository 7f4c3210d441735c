"""What the layouts of a data set share: rows, folders and face boxes. The layouts: contest.py, general.py."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from models.labels import OLDEST
from pipeline.dataset.foreign import in_place_of
from pipeline.dataset.names import Files, Spellings, in_other_case, path_fault
from pipeline.dataset.photo_files import ends_like_a_photo, is_photo, is_raw, is_system, raw_fault, told
from pipeline.dataset.tables import (
    BOX,
    EVER_AGED,
    Box,
    BoxAsSharesError,
    Row,
    parse_box,
    parse_label,
    read_table,
    says_nothing,
)
from pipeline.runtime.problems import Problems, show, tell

BOXES_CSV = "boxes.csv"


class Photo(NamedTuple):
    """One row of the photo table, None where unknown. `age` in years, as written."""

    photo: str
    person: str | None = None
    mask: int | None = None
    gender: int | None = None
    age: float | None = None


@dataclass
class Found:
    """What reading a layout found. `boxes` is by photo, None where the data set has no boxes at all.

    `truth_rows` says where the labels of each eval photo stand; only the general layout has any. `box_rows` says where
    each box stands, for messages, `shares` which boxes are no pixels, and `written` how the table writes a photo, which
    the disk may spell otherwise. `further` holds the cells of the columns that nothing else knows, by photo.
    """

    train: list[Photo] = field(default_factory=list)
    eval: list[Photo] = field(default_factory=list)
    boxes: dict[str, Box] | None = None
    truth_rows: dict[str, int] = field(default_factory=dict)
    box_rows: dict[str, str] = field(default_factory=dict)
    shares: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    further: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class LeftOut:
    """What lies in a data set and is not used: the reason by path, and how many system files there are.

    unlisted: how many files more there are; of those in tars only some are named.
    """

    files: dict[str, str] = field(default_factory=dict)
    system: int = 0
    unlisted: int = 0

    def tell(self, what: str, paths: Collection[str] | Mapping[str, str | None], notes: list[str]) -> None:
        """Leaves files out, and says so in one note; a mapping also says what each file is, as far as that is known."""
        kinds = paths if isinstance(paths, Mapping) else dict.fromkeys(paths)
        end = {path: f" ({kinds[path]})" if kinds[path] else "" for path in sorted(kinds)}
        self.files |= {path: f"{what}{kind}" for path, kind in end.items()}
        tell(notes, f"{what}, not used", [f"{show(path)}{kind}" for path, kind in end.items()])


def is_file(entry: os.DirEntry) -> bool:
    """Whether it is a file, links followed; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_dir(entry: os.DirEntry) -> bool:
    """Whether it is a folder, links followed; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


class Links:
    """The links in a data set. One that leads out of it is a problem, told once, unless `follow`.

    Only what reading or decoding would follow is asked about; `root` itself may be a link.
    """

    def __init__(self, root: Path, follow: bool, problems: Problems):
        self.root, self.follow, self.problems = root, follow, problems
        self.home = os.path.realpath(root)
        self._out: dict[str, bool] = {}

    def lead_out(self, path: str) -> bool:
        """Whether a path leads out of the data set, by itself or a folder above it; adds the problem if so."""
        if self.follow or not os.path.lexists(f"{self.root}/{path}"):
            return False
        ends = [place for place, letter in enumerate(path) if letter == "/"]
        return any(self._leads_out(path[:end]) for end in (*ends, len(path)))

    def _leads_out(self, path: str) -> bool:
        """Whether a path is a link that leads out of the data set."""
        if path not in self._out:
            target = os.path.realpath(f"{self.root}/{path}") if os.path.islink(f"{self.root}/{path}") else self.home
            self._out[path] = not self.inside(target)
            if self._out[path]:
                self.problems.add(
                    f"{show(path)} is a link that leaves the data set (to {show(target)}); "
                    "put the files themselves there, or allow such links with --follow-links"
                )
        return self._out[path]

    def strays(self, entry: os.DirEntry) -> bool:
        """Whether an entry is a link that leads out and does not end like a photo: it is no photo, and not opened."""
        leaves = entry.is_symlink() and not self.inside(os.path.realpath(entry.path))
        return leaves and not self.follow and not ends_like_a_photo(entry.name)

    def inside(self, target: str) -> bool:
        """Whether a path without links lies in the data set."""
        return target == self.home or target.startswith(f"{self.home.rstrip('/')}/")


def list_folder(path: Path, name: str, problems: Problems) -> list[os.DirEntry] | None:
    """What a folder holds, sorted by name; None, and a problem, where it cannot be listed."""
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        other = in_other_case(path.parent, path.name)
        but = f", but {show(other)} lies there, which differs only in capital letters; rename it" if other else ""
        problems.add(f"the folder {name} is missing{but or '; put it there, or correct the path'}")
    except NotADirectoryError:
        problems.add(f"{name} is not a folder")
    except OSError as error:
        problems.add(f"the folder {name} cannot be read ({error.strerror}); check its permissions")
    return None


def walk_photos(name: str, links: Links, notes: list[str], left_out: LeftOut) -> list[str]:
    """The photos in a folder and its subfolders, as sorted paths relative to it; tells what is left out.

    Hidden files and folders, and what systems leave there, are left out. A photo is what begins or ends like one; a
    camera's raw file beside a photo of its name is left out. A folder that is a link into the data set is not entered,
    since its photos are found where they lie; one that leads out is, where links are followed, but no folder twice.
    `name` ("eval/images", or "" for the root itself) is the folder, and begins the paths in problems and notes.
    """
    photos, hidden = [], []
    other: dict[str, str | None] = {}
    entered: set[str] = set()

    def enter(folder: Path, inside: str) -> Iterator[tuple[Path, str]]:
        real = os.path.realpath(folder)
        if real in entered:  # a link outside leads in a circle
            return
        entered.add(real)
        for entry in list_folder(folder, show(f"{name}{inside}" or "."), links.problems) or []:
            relative = f"{inside}{entry.name}"
            if is_system(entry.name, is_dir(entry)):
                left_out.system += 1
            elif entry.name.startswith("."):
                hidden.append(name + relative)
            elif is_dir(entry) and not (entry.is_symlink() and links.inside(os.path.realpath(entry.path))):
                if not links.lead_out(name + relative):
                    yield Path(entry.path), f"{relative}/"
            elif not is_file(entry) or links.strays(entry):
                other[name + relative] = None
            elif is_photo(entry.path, entry.name):
                if not links.lead_out(name + relative):
                    photos.append(relative)
            else:
                other[name + relative] = told(entry.path, entry.name)

    waiting = [(links.root / name, "")]
    name = f"{name}/" if name else ""
    while waiting:
        waiting += enter(*waiting.pop())
    left_out.tell("hidden files and folders", hidden, notes)
    left_out.tell("not photos", other, notes)
    return _without_raw(sorted(photos), name, notes, left_out)


def _without_raw(photos: list[str], name: str, notes: list[str], left_out: LeftOut) -> list[str]:
    """The photos without the raw files that lie beside a photo of the same name, as cameras write both."""
    others = {photo.rpartition(".")[0] for photo in photos if not is_raw(photo)}
    raw = {photo for photo in photos if is_raw(photo) and photo.rpartition(".")[0] in others}
    left_out.tell("cameras' raw files beside a photo of the same name", [name + photo for photo in raw], notes)
    return [photo for photo in photos if photo not in raw]


def listed_photo(written: str, where: str, row: str, seen: dict[str, str], links: Links, files: Files) -> str:
    """The photo of a table's row as the disk spells it: it exists, inside the data set, and stands in no row before.

    `where` begins the problems, `row` is what another row's problem calls this one; `seen` keeps that by photo.
    """
    root, problems, fault = links.root, links.problems, path_fault(written) or raw_fault(written)
    try:
        photo = written if fault else files.find(written) or written
    except ValueError as error:
        photo, fault = written, str(error)
    if fault:
        problems.add(f"{where}: photo {show(written)} {fault}")
    elif photo in seen:
        problems.add(f"{where}: the photo {show(written)} already stands in {seen[photo]}; keep one")
    elif not links.lead_out(photo) and not os.path.isfile(root / photo):
        what = "is a folder, not a photo" if os.path.isdir(root / photo) else "is not on disk"
        problems.add(f"{where}: the photo {show(written)} {what}; mend or remove the row")
    seen.setdefault(photo, row)
    return photo


def read_labels(cells: dict[str, str], where: str, columns: tuple[str, ...], problems: Problems) -> dict:
    """The labels in some cells of a row, by column; None where blank, or where the cell is a problem."""
    labels = {}
    for column in columns:
        try:
            labels[column] = parse_label(column, cells[column])
        except ValueError as error:
            problems.add(f"{where}: {error}")
            labels[column] = None
    return labels


def check_words(rows: list[Row], name: str, columns: tuple[str, ...], problems: Problems, notes: list[str]) -> None:
    """Tells which words for nothing some columns hold, read as blanks.

    The word None in the column mask is one of them, unless other words there begin with capitals too: then it may be
    the label none as well, which is a problem.
    """
    told = [
        f"{column} {show(cells[column].strip())} in row {row}"
        for row, cells in rows
        for column in columns
        if cells[column].strip() and says_nothing(column, cells[column])
    ]
    tell(notes, f"cells of {name} that say nothing, read as blank", told)
    if "mask" in columns and any(cells["mask"].strip() in _CAPITAL_MASKS for _, cells in rows):
        row = next((row for row, cells in rows if cells["mask"].strip() in ("None", "NONE")), None)
        if row is not None:
            problems.add(
                f"{name} row {row}: mask 'None' may be a mask that is not worn or a blank; write none for not worn, in "
                f"small letters, and leave unknown masks blank"
            )


_CAPITAL_MASKS = {word for mask in ("worn", "wrong") for word in (mask.capitalize(), mask.upper())}


def tell_capped(ages: list[float | None], where: str, notes: list[str]) -> None:
    """Tells how many ages are above the oldest that is trained on."""
    capped = [f"{age:g}" for age in ages if age is not None and age > OLDEST]
    tell(notes, f"ages of {where} above {OLDEST} (up to {EVER_AGED}), trained as {OLDEST}", capped)


def add_box(found: Found, photo: str, cells: dict[str, str], where: str, problems: Problems) -> None:
    """Adds the face box of a row to what was found, if it has one."""
    try:
        box = parse_box(cells)
    except BoxAsSharesError as error:
        found.shares.append(f"{where}: {error}")
    except ValueError as error:
        problems.add(f"{where}: {error}")
    else:
        if box is not None:
            found.boxes[photo], found.box_rows[photo] = box, where


def tell_shares(found: Found, problems: Problems) -> None:
    """Adds one problem for all boxes that are written as shares: where one is, all are."""
    if found.shares:
        rest = len(found.shares) - 1
        problems.add(found.shares[0] + (f" (and so in {rest} more row{'s' if rest > 1 else ''})" if rest else ""))


def read_boxes(found: Found, links: Links) -> None:
    """Adds the boxes of boxes.csv, where there is one, to what was found."""
    root, problems = links.root, links.problems
    if not os.path.lexists(root / BOXES_CSV):
        if beside := in_place_of(root / BOXES_CSV, may_be_missing=True):
            problems.add(f"{BOXES_CSV} is not there, but {beside}, or take it away")
        return
    if links.lead_out(BOXES_CSV):
        return
    if found.boxes is not None:
        problems.add(f"{BOXES_CSV} gives boxes, and so do the columns of photos.csv; keep one of the two")
        return
    table = read_table(root / BOXES_CSV, BOXES_CSV, ("photo", *BOX), problems)
    found.boxes = {}
    # Where the photos themselves have problems, "not in the data set" would only repeat those.
    whole = not problems.found
    names = Spellings(photo.photo for photo in (*found.train, *found.eval))
    seen: dict[str, int] = {}
    for row, cells in table[0] if table else []:
        where = f"{BOXES_CSV} row {row}"
        try:
            photo = names.find(cells["photo"])
        except ValueError as error:
            problems.add(f"{where}: the photo {show(cells['photo'])} {error}")
            continue
        if photo is not None and photo in seen:
            problems.add(f"{where}: the photo {show(photo)} already stands in row {seen[photo]}; keep one")
        elif photo is None and whole:
            problems.add(f"{where}: {show(cells['photo'])} is no photo of the data set; write its path from the root")
        else:
            add_box(found, photo or cells["photo"], cells, where, problems)
        if photo is not None:
            seen.setdefault(photo, row)
    tell_shares(found, problems)
