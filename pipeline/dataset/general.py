"""The general layout: photos.csv at the root, the photo table with a column part (train or eval)."""

from collections.abc import Iterable

from models.labels import GENDERS
from pipeline.dataset.layouts import (
    Found,
    Links,
    Photo,
    add_box,
    check_words,
    listed_photo,
    read_labels,
    tell_capped,
    tell_shares,
)
from pipeline.dataset.names import Files, Spellings, composed
from pipeline.dataset.tables import BOX, NOBODY, read_table
from pipeline.runtime.problems import Problems, show, tell

PHOTOS_CSV = "photos.csv"
PARTS = ("train", "eval")
LABEL_COLUMNS = ("mask", "gender", "age")
COLUMNS = ("photo", "person", *LABEL_COLUMNS, "part")
"""The columns of photos.csv, those of a face box apart."""


def read_general(links: Links, notes: list[str], extra: bool = False) -> Found:
    """Reads photos.csv. The eval photos come with their labels: `photos.read_data_set` drops those.

    extra: of an extra set, where a train photo without a person is a person of its own.
    """
    problems, found = links.problems, Found()
    if links.lead_out(PHOTOS_CSV):
        return found
    table = read_table(links.root / PHOTOS_CSV, PHOTOS_CSV, COLUMNS, problems, BOX)
    if table is None:
        return found
    rows, columns = table
    boxed = [column for column in BOX if column in columns]
    if boxed and len(boxed) < len(BOX):
        problems.add(f"{PHOTOS_CSV} has the column {boxed[0]}, but a box needs all of {', '.join(BOX)}")
        boxed = []
    if boxed:
        found.boxes = {}
    train_rows = [(row, cells) for row, cells in rows if cells["part"].strip().lower() == "train"]
    check_words(train_rows, PHOTOS_CSV, LABEL_COLUMNS, problems, notes)  # of eval rows it would tell of the truth
    files = Files(links.root)
    unused = [column for column in columns if column and column not in (*COLUMNS, *BOX)]
    seen: dict[str, str] = {}
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    owners: dict[str, dict[str, tuple[object, int]]] = {}
    for row, cells in rows:
        where, part = f"{PHOTOS_CSV} row {row}", cells["part"].strip().lower()
        labels = read_labels(cells, where, LABEL_COLUMNS, problems)
        photo = Photo(
            listed_photo(cells["photo"], where, f"row {row}", seen, links, files), _person(cells["person"]), **labels
        )
        if part not in PARTS:
            problems.add(f"{where}: part {show(cells['part'])} is neither train nor eval")
        elif part == "train" and photo.person is None and extra:
            photo = photo._replace(person=photo.photo)
        elif part == "train" and photo.person is None:
            word = f" (person {show(cells['person'])} says nobody)" if cells["person"].strip() else ""
            problems.add(f"{where} is a train row without person{word}; folds are by person, so name one")
        if photo.person is not None:
            _check_person(photo, part, row, owners.setdefault(photo.person, {}), problems)
        if boxed:
            add_box(found, photo.photo, cells, where, problems)
        (found.train if part == "train" else found.eval).append(photo)
        found.written[photo.photo] = cells["photo"]
        if unused:
            further = tuple(cells[column].strip() for column in unused)
            found.further[photo.photo] = alike.setdefault(further, dict(zip(unused, further, strict=True)))
        if part == "eval":
            found.truth_rows[photo.photo] = row
    if not found.train and not problems.found:
        way_out = "an extra set is learned from" if extra else "for predictions alone give the folder as EVAL"
        problems.add(f"{PHOTOS_CSV} has no train row; {way_out}")
    tell_shares(found, problems)
    _tell_namesakes(owners, notes)
    tell(notes, f"photos of {PHOTOS_CSV} with backslashes, read as separators", files.backslashed)
    tell_capped([photo.age for photo in found.train], f"train rows of {PHOTOS_CSV}", notes)
    use = "are not used" if extra else "only the report and count may use, for groups"
    tell(notes, f"columns of {PHOTOS_CSV} that {use}", list(map(show, unused)))
    return found


def _person(cell: str) -> str | None:
    """The person that a cell names, letters composed; None where it is blank or a program's word for nobody."""
    name = cell.strip()
    return composed(name) if name and name not in NOBODY else None


def _tell_namesakes(people: Iterable[str], notes: list[str]) -> None:
    """Tells people whose names differ only in capital letters: two people, or one written in two ways."""
    names = Spellings(people)
    alike = [
        f"{show(name)} and {show(other)}" for name in people for other in names.in_other_case(name) if name < other
    ]
    tell(notes, "people whose names differ only in capital letters, taken for different people", alike)


def _check_person(photo: Photo, part: str, row: int, owner: dict[str, tuple[object, int]], problems: Problems) -> None:
    """One part and one gender for each person; `owner` keeps the first ones, and the rows. Ages may differ by photo."""
    facts = {
        "part": part if part in PARTS else None,
        "gender": None if photo.gender is None else GENDERS[photo.gender],
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
