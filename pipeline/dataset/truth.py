"""The truth of the eval photos, which nothing else opens."""

import os
from pathlib import Path

import pandas as pd

from models.labels import BANDS, LABELS, band, decode, encode
from pipeline.dataset.contest import EVAL_CSV, TRAIN_IMAGES, read_contest_eval
from pipeline.dataset.foreign import in_place_of
from pipeline.dataset.general import LABEL_COLUMNS, PHOTOS_CSV, read_general
from pipeline.dataset.layouts import Links, Photo
from pipeline.dataset.names import Files, Spellings, composed, path_fault
from pipeline.dataset.photos import frame
from pipeline.dataset.tables import NOBODY, number, parse_label, read_table
from pipeline.runtime.problems import Problems, check_folder, show

KEY_CSV = "key.csv"


def read_truth(root: Path, follow_links: bool = False) -> pd.DataFrame | None:
    """The truth of the eval photos, in the order of the submission, or None where the data set has none.

    Nothing else opens it: key.csv in the contest's layout, the eval labels of photos.csv in the general one.
    Columns: photo, person (string, NA where unknown), mask, gender, band (int64), age (float64 years, NaN
    where unknown), label (int64, 0 to 17). Raises UserError where it is broken or not whole.
    """
    root = Path(root)
    problems = Problems(f"The truth of {show(root)}")
    check_folder(root, problems)
    links = Links(root, follow_links, problems)
    if os.path.lexists(root / PHOTOS_CSV):
        photos = _general_truth(links)
    elif os.path.lexists(root / KEY_CSV) and os.path.lexists(root / "eval"):  # a key alone is the truth of nothing
        photos = _contest_truth(links)
    else:
        beside = in_place_of(root / KEY_CSV, may_be_missing=True) if os.path.lexists(root / "eval") else None
        if beside:
            problems.add(f"{KEY_CSV} is not there, but {beside}, or take it away")
            problems.stop()
        return None
    problems.stop()
    if not photos:
        return None
    table = frame([photo for photo, _ in photos], None)
    mask, gender, bands = decode([label for _, label in photos])
    table = table.assign(mask=mask, gender=gender, band=bands, label=encode(mask, gender, bands))
    return table[["photo", "person", "mask", "gender", "band", "age", "label"]]


def _general_truth(links: Links) -> list[tuple[Photo, int]]:
    """The eval photos of photos.csv with their labels; none where not a single one carries any."""
    problems = links.problems
    found = read_general(links, [])
    problems.stop()
    if all(photo[2:] == (None, None, None) for photo in found.eval):
        return []
    for photo in found.eval:
        lacking = [name for name in LABEL_COLUMNS if getattr(photo, name) is None]
        if lacking:
            where = f"{PHOTOS_CSV} row {found.truth_rows[photo.photo]}"
            problems.add(f"{where}: the eval photo lacks {', '.join(lacking)}; label all eval photos or none")
    problems.stop()
    return [(photo, int(encode(photo.mask, photo.gender, band(photo.age)))) for photo in found.eval]


def _contest_truth(links: Links) -> list[tuple[Photo, int]]:
    """The rows of key.csv in the order of eval/info.csv."""
    root, problems = links.root, links.problems
    found = read_contest_eval(links, [])
    table = None
    if not links.lead_out(KEY_CSV):
        table = read_table(root / KEY_CSV, KEY_CSV, ("ImageID", "ans"), problems, ("person", "age"))
    problems.stop()
    listed = {found.written[photo.photo]: photo.photo for photo in found.eval}
    names, files = Spellings(listed), Files(root)
    truth: dict[str, tuple[Photo, int]] = {}
    genders: dict[str, int] = {}
    for row, cells in table[0]:
        where = f"{KEY_CSV} row {row}"
        try:
            photo = listed.get(names.find(cells["ImageID"]) or "")
        except ValueError as error:
            problems.add(f"{where}: the photo {show(cells['ImageID'])} {error}")
            continue
        if photo is None:
            problems.add(f"{where}: the photo {show(cells['ImageID'])} is not in {EVAL_CSV}")
        elif photo in truth:
            problems.add(f"{where}: the photo {show(cells['ImageID'])} stands there twice; keep one row")
        try:
            label, age = _key_label(cells)
        except ValueError as error:
            problems.add(f"{where}: {error}")
            label, age = -1, None
        person = composed(cells.get("person", "").strip())
        person = person if person and person not in NOBODY else None
        if person is not None and label >= 0:
            gender = int(decode(label)[1])
            if genders.setdefault(person, gender) != gender:
                problems.add(f"{where}: {show(person)} has another gender in a row above; a person has one")
        if photo is not None:
            truth[photo] = (Photo(photo, person, age=age), label)
    for person in sorted(genders):
        if path_fault(person) is None and _is_train_person(person, files):
            problems.add(f"{KEY_CSV}: {show(person)} is in train too; a person is in train or in eval")
    for name, photo in listed.items():
        if photo not in truth:
            problems.add(f"{KEY_CSV} has no row for the photo {show(name)}; add it, or take {KEY_CSV} away")
    return [truth[photo.photo] for photo in found.eval if photo.photo in truth]


def _is_train_person(person: str, files: Files) -> bool:
    """Whether a person of the truth has a folder in train, in any spelling of the name."""
    try:
        folder = files.find(f"{TRAIN_IMAGES}/{person}")
    except ValueError:  # one that differs in capital letters is somebody else's
        return False
    return folder is not None and os.path.isdir(files.root / folder)


def _key_label(cells: dict[str, str]) -> tuple[int, float | None]:
    """The label and the age of a row of key.csv; ValueError with a phrase where they are none, or differ."""
    label = number(cells["ans"])
    if label is None or label not in range(LABELS):
        raise ValueError(f"ans {show(cells['ans'])} is no label; write 0 to {LABELS - 1}")
    label = int(label)
    age = parse_label("age", cells.get("age", ""))
    means = BANDS[decode(label)[2]]
    if age is not None and BANDS[band(age)] != means:
        raise ValueError(f"age {age:g} and ans {label} ({means}) differ; mend one of them")
    return label, age
