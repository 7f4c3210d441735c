"""The general layout: photos.csv at the root, the photo table with a column part (train or eval)."""

import os

from models.labels import GENDERS
from pipeline.dataset.layouts import Found, Links, Photo, add_box, read_labels, tell_capped
from pipeline.dataset.tables import BOX, path_fault, read_table
from pipeline.runtime.problems import Problems, show, tell

PHOTOS_CSV = "photos.csv"
PARTS = ("train", "eval")
LABEL_COLUMNS = ("mask", "gender", "age")


def read_general(links: Links, notes: list[str]) -> Found:
    """Reads photos.csv. The eval photos come with their labels: `photos.read_data_set` drops those."""
    needed, problems, found = ("photo", "person", *LABEL_COLUMNS, "part"), links.problems, Found()
    if links.lead_out(PHOTOS_CSV):
        return found
    table = read_table(links.root / PHOTOS_CSV, PHOTOS_CSV, needed, problems)
    if table is None:
        return found
    rows, columns = table
    boxed = [column for column in BOX if column in columns]
    if boxed and len(boxed) < len(BOX):
        problems.add(f"{PHOTOS_CSV} has the column {boxed[0]}, but a box needs all of {', '.join(BOX)}")
        boxed = []
    if boxed:
        found.boxes = {}
    seen: dict[str, int] = {}
    owners: dict[str, dict[str, tuple[object, int]]] = {}
    for row, cells in rows:
        where, part = f"{PHOTOS_CSV} row {row}", cells["part"].strip().lower()
        labels = read_labels(cells, where, LABEL_COLUMNS, problems)
        photo = Photo(cells["photo"], cells["person"].strip() or None, **labels)
        if part not in PARTS:
            problems.add(f"{where}: part {show(cells['part'])} is neither train nor eval")
        elif part == "train" and photo.person is None:
            problems.add(f"{where} is a train row without person; folds are by person, so name one")
        _check_file(photo.photo, where, seen, row, links)
        if photo.person is not None:
            _check_person(photo, part, row, owners.setdefault(photo.person, {}), problems)
        if boxed:
            add_box(found.boxes, photo.photo, cells, where, problems)
        (found.train if part == "train" else found.eval).append(photo)
        if part == "eval":
            found.truth_rows[photo.photo] = row
    if not found.train and not problems.found:
        problems.add(f"{PHOTOS_CSV} has no train row; for predictions alone give the folder as EVAL")
    tell_capped([photo.age for photo in found.train], f"train rows of {PHOTOS_CSV}", notes)
    unused = [show(column) for column in columns if column and column not in (*needed, *BOX)]
    tell(notes, f"columns of {PHOTOS_CSV} that are not used", unused)
    return found


def _check_file(photo: str, where: str, seen: dict[str, int], row: int, links: Links) -> None:
    """The photo of a row exists, inside the data set, and stands in no row before."""
    root, problems, fault = links.root, links.problems, path_fault(photo)
    if fault:
        problems.add(f"{where}: photo {show(photo)} {fault}")
    elif photo in seen:
        problems.add(f"{where}: the photo {show(photo)} already stands in row {seen[photo]}; keep one")
    elif not links.lead_out(photo) and not os.path.isfile(root / photo):
        what = "is a folder, not a photo" if os.path.isdir(root / photo) else "is not on disk"
        problems.add(f"{where}: the photo {show(photo)} {what}; mend or remove the row")
    seen.setdefault(photo, row)


def _check_person(photo: Photo, part: str, row: int, owner: dict[str, tuple[object, int]], problems: Problems) -> None:
    """One part, one gender and one age for each person; `owner` keeps their first ones, and the rows."""
    facts = {
        "part": part if part in PARTS else None,
        "gender": None if photo.gender is None else GENDERS[photo.gender],
        "age": None if photo.age is None else f"{photo.age:g}",
    }
    for fact, value in facts.items():
        if value is None:
            continue
        first, first_row = owner.setdefault(fact, (value, row))
        if first not in (value, "told"):
            rule = "a person is in train or in eval" if fact == "part" else f"a person has one {fact}"
            problems.add(
                f"{PHOTOS_CSV} row {row}: the {fact} of {show(photo.person)} is {value}, "
                f"but {first} in row {first_row}; {rule}"
            )
            owner[fact] = ("told", row)  # once per person is enough
