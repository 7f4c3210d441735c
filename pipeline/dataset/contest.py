"""The contest's layout: train/train.csv and a folder of photos a person, eval/info.csv and eval/images."""

import os
from pathlib import Path

from pipeline.dataset.layouts import (
    Found,
    Links,
    Photo,
    is_dir,
    is_file,
    list_folder,
    read_labels,
    tell_capped,
    tell_system,
    walk_photos,
)
from pipeline.dataset.photo_files import is_photo, is_raw, is_system
from pipeline.dataset.tables import Row, path_fault, read_table
from pipeline.runtime.problems import Problems, show, tell

TRAIN_CSV = "train/train.csv"
TRAIN_IMAGES = "train/images"
EVAL_CSV = "eval/info.csv"
EVAL_IMAGES = "eval/images"
STEMS = {"mask1": 0, "mask2": 0, "mask3": 0, "mask4": 0, "mask5": 0, "incorrect_mask": 1, "normal": 2}
"""The mask code of each of a person's seven photos, by file name without ending."""


def read_contest(links: Links, notes: list[str]) -> Found:
    """Reads train/ and, where it is there, eval/. Truth stays closed: key.csv is not opened here."""
    found = Found(train=_read_contest_train(links, notes))
    if os.path.lexists(links.root / "eval"):
        found.eval = read_contest_eval(links)
        if not links.lead_out(EVAL_IMAGES):
            _tell_eval_files(found.eval, links, notes)
    return found


def _read_contest_train(links: Links, notes: list[str]) -> list[Photo]:
    root, problems = links.root, links.problems
    if links.lead_out(TRAIN_CSV) or links.lead_out(TRAIN_IMAGES):
        return []
    table = read_table(root / TRAIN_CSV, TRAIN_CSV, ("gender", "age", "path"), problems)
    people = _read_contest_people(table[0], problems) if table else {}
    entries = list_folder(root / TRAIN_IMAGES, TRAIN_IMAGES, problems)
    if table is None or entries is None:
        return []
    if not table[0]:
        problems.add(f"{TRAIN_CSV} has no rows; there is nobody to train on")
    tell_capped([person.age for _, person in people.values()], TRAIN_CSV, notes)
    hidden, loose, system, folders = [], [], [], {}
    for entry in entries:
        if is_system(entry.name, is_dir(entry)):
            system.append(entry.name)
        elif entry.name.startswith("."):
            hidden.append(show(f"{TRAIN_IMAGES}/{entry.name}"))
        elif is_dir(entry):
            folders[entry.name] = entry
        else:
            loose.append(show(f"{TRAIN_IMAGES}/{entry.name}"))
    for name, (row, _) in people.items():
        if name not in folders:
            folder = show(f"{TRAIN_IMAGES}/{name}")
            problems.add(f"{TRAIN_CSV} row {row}: there is no folder {folder}; add it or remove the row")
    for name in folders:
        if name not in people:
            folder = show(f"{TRAIN_IMAGES}/{name}")
            problems.add(f"the folder {folder} has no row in {TRAIN_CSV}; add one or take the folder away")
    photos, missing = [], []
    for name in sorted(folders.keys() & people.keys()):
        if links.lead_out(f"{TRAIN_IMAGES}/{name}"):
            continue
        stems = _person_photos(folders[name], links, hidden, loose, system)
        photos += [
            people[name][1]._replace(photo=f"{TRAIN_IMAGES}/{name}/{file}", mask=STEMS[stem])
            for stem, file in stems.items()
        ]
        if len(stems) < len(STEMS):
            missing.append(f"{show(name)} lacks {' '.join(stem for stem in STEMS if stem not in stems)}")
    tell(notes, "people with photos missing", missing)
    tell(notes, f"in {TRAIN_IMAGES} but none of a person's seven photos, not used", sorted(loose))
    tell(notes, "hidden files and folders, not used", sorted(hidden))
    tell_system(system, notes)
    if folders and people and not photos and not problems.found:
        stems = ", ".join(STEMS)
        problems.add(f"{TRAIN_IMAGES} holds no photo; name them {stems} (.jpg, .png or another photo's)")
    return photos


def _read_contest_people(rows: list[Row], problems: Problems) -> dict[str, tuple[int, Photo]]:
    """The row number and the labels of each person, by folder name."""
    people: dict[str, tuple[int, Photo]] = {}
    for row, cells in rows:
        name, where = cells["path"], f"{TRAIN_CSV} row {row}"
        labels = read_labels(cells, where, ("gender", "age"), problems)
        fault = path_fault(name)
        if fault is None and "/" in name:
            fault = f"is not the name of a folder directly in {TRAIN_IMAGES}"
        if not name.strip():
            problems.add(f"{where} has no person: path is blank; write the name of the person's folder")
        elif fault:
            problems.add(f"{where}: path {show(name)} {fault}")
        elif name in people:
            problems.add(f"{where}: {show(name)} already stands in row {people[name][0]}; keep one of the two")
        else:
            people[name] = (row, Photo("", person=name, **labels))
    return people


def _person_photos(
    folder: os.DirEntry, links: Links, hidden: list[str], loose: list[str], system: list[str]
) -> dict[str, str]:
    """The file name of each of a person's photos, by stem; everything else goes to `hidden`, `loose` or `system`.

    Where one stem has two files, the first by name is used (a camera's raw file last) and the other told: both show
    the same mask state, so neither is wrong, but a person with a photo more would weigh more, and a fix for
    `<person>/<stem>` must name one photo.
    """
    stems: dict[str, str] = {}
    entries = list_folder(Path(folder.path), show(f"{TRAIN_IMAGES}/{folder.name}"), links.problems) or []
    for entry in sorted(entries, key=lambda entry: is_raw(entry.name)):
        stem = entry.name.rpartition(".")[0] or entry.name
        if is_system(entry.name, is_dir(entry)):
            system.append(entry.name)
        elif entry.name.startswith("."):
            hidden.append(show(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}"))
        elif stem in STEMS and stem not in stems and is_file(entry) and _is_photo(entry, links):
            if not links.lead_out(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}"):
                stems[stem] = entry.name
        else:
            loose.append(show(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}"))
    return stems


def _is_photo(entry: os.DirEntry, links: Links) -> bool:
    """Whether a file is a photo; a link that leads out is not opened to see."""
    return not links.strays(entry) and is_photo(entry.path, entry.name)


def read_contest_eval(links: Links) -> list[Photo]:
    """The eval photos in the order of eval/info.csv; its column ans is never looked at."""
    root, problems = links.root, links.problems
    if links.lead_out(EVAL_CSV):
        return []
    if not os.path.lexists(root / EVAL_CSV):
        problems.add(f"{EVAL_CSV} is missing; list the eval photos in it, or take the folder eval away")
        return []
    table = read_table(root / EVAL_CSV, EVAL_CSV, ("ImageID", "ans"), problems)
    if table is None:
        return []
    if not table[0]:
        problems.add(f"{EVAL_CSV} has no rows; list the eval photos or take the folder eval away")
    seen: dict[str, int] = {}
    for row, cells in table[0]:
        name = cells["ImageID"]
        fault = path_fault(name)
        where = f"{EVAL_CSV} row {row}"
        if fault:
            problems.add(f"{where}: ImageID {show(name)} {fault}")
        elif name in seen:
            problems.add(f"{where}: the photo {show(name)} already stands in row {seen[name]}; keep one")
        elif not links.lead_out(f"{EVAL_IMAGES}/{name}"):
            seen[name] = row
    return [Photo(f"{EVAL_IMAGES}/{name}") for name in seen]


def _tell_eval_files(photos: list[Photo], links: Links, notes: list[str]) -> None:
    """Tells eval photos missing or extra: a hole in the eval folder must not stop a submission."""
    names = walk_photos(EVAL_IMAGES, links, notes)
    on_disk = {f"{EVAL_IMAGES}/{name}" for name in names}
    listed = {photo.photo for photo in photos}
    # A photo in a linked folder is not walked to, so what seems missing is looked up once more.
    missing = sorted(name for name in listed - on_disk if not os.path.isfile(links.root / name))
    tell(notes, f"photos of {EVAL_CSV} that are not on disk", [show(name) for name in missing])
    extra = sorted(on_disk - listed)
    tell(notes, f"photos that are not in {EVAL_CSV}, not used", [show(name) for name in extra])
