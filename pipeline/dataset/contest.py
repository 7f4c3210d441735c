"""The contest's layout: train/train.csv and a folder of photos a person, eval/info.csv and eval/images."""

import os
from pathlib import Path

from pipeline.dataset.codes import check_codes
from pipeline.dataset.foreign import in_place_of
from pipeline.dataset.layouts import (
    Found,
    LeftOut,
    Links,
    Photo,
    check_words,
    is_dir,
    is_file,
    list_folder,
    read_labels,
    tell_capped,
    walk_photos,
)
from pipeline.dataset.names import Files, Spellings, composed, in_other_case, path_fault
from pipeline.dataset.photo_files import ends_like_a_photo, is_photo, is_raw, is_system, raw_fault
from pipeline.dataset.tables import Row, read_table
from pipeline.runtime.problems import Problems, show, tell

TRAIN_CSV = "train/train.csv"
TRAIN_IMAGES = "train/images"
EVAL_CSV = "eval/info.csv"
EVAL_IMAGES = "eval/images"
PERSON_COLUMNS = ("id", "gender", "age", "path")
"""The columns of train.csv that are known."""
STEMS = {"mask1": 0, "mask2": 0, "mask3": 0, "mask4": 0, "mask5": 0, "incorrect_mask": 1, "normal": 2}
"""The mask code of each of a person's seven photos, by file name without ending."""


def read_contest(links: Links, notes: list[str], left_out: LeftOut) -> Found:
    """Reads train/ and, where it is there, eval/. Truth stays closed: key.csv is not opened here."""
    further: dict[str, dict[str, str]] = {}
    train = _read_contest_train(links, notes, left_out, further)
    found = Found()
    if os.path.lexists(links.root / "eval"):
        found = read_contest_eval(links, notes)
        if not links.lead_out(EVAL_IMAGES):
            _tell_eval_files(found.eval, links, notes, left_out)
    elif other := in_other_case(links.root, "eval"):
        links.problems.add(f"the folder {show(other)} differs from eval only in capital letters; rename it")
    found.train, found.further = train, further
    return found


def _read_contest_train(
    links: Links, notes: list[str], left_out: LeftOut, further: dict[str, dict[str, str]]
) -> list[Photo]:
    """The train photos; what else train.csv says of a person goes to `further`, by photo."""
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
    check_words(table[0], TRAIN_CSV, ("gender", "age"), problems, notes)
    check_codes(people, TRAIN_CSV, problems, notes)
    tell_capped([person.age for _, person in people.values()], TRAIN_CSV, notes)
    hidden, loose, folders = [], [], {}
    for entry in entries:
        if is_system(entry.name, is_dir(entry)):
            left_out.system += 1
        elif entry.name.startswith("."):
            hidden.append(f"{TRAIN_IMAGES}/{entry.name}")
        elif is_dir(entry):
            folders[entry.name] = entry
        else:
            loose.append(f"{TRAIN_IMAGES}/{entry.name}")
    photos, missing = [], []
    for name, folder in _match_folders(people, folders, problems):
        if links.lead_out(f"{TRAIN_IMAGES}/{folder.name}"):
            continue
        stems = _person_photos(folder, links, hidden, loose, left_out)
        photos += [
            people[name][1]._replace(photo=f"{TRAIN_IMAGES}/{folder.name}/{file}", mask=STEMS[stem])
            for stem, file in stems.items()
        ]
        if len(stems) < len(STEMS):
            missing.append(f"{show(name)} lacks {' '.join(stem for stem in STEMS if stem not in stems)}")
    unused = [column for column in table[1] if column and column not in PERSON_COLUMNS]
    if unused:
        of_person = {composed(cells["path"]): {c: cells[c].strip() for c in unused} for _, cells in table[0]}
        further |= {photo.photo: of_person[photo.person] for photo in photos}
    tell(notes, "people with photos missing", missing)
    _leave_out(hidden, loose, notes, left_out)
    if folders and people and not photos and not problems.found:
        stems = ", ".join(STEMS)
        problems.add(f"{TRAIN_IMAGES} holds no photo; name them {stems} (.jpg, .png or another photo's)")
    return photos


def _match_folders(
    people: dict[str, tuple[int, Photo]], folders: dict[str, os.DirEntry], problems: Problems
) -> list[tuple[str, os.DirEntry]]:
    """Each person and his folder, sorted by name; adds the problems of those who have none, or two."""
    names = Spellings(folders)
    matched: dict[str, os.DirEntry] = {}
    told: set[str] = set()
    for name, (row, _) in people.items():
        try:
            folder = names.find(name)
        except ValueError as error:
            told |= set(names.alike(name)) | set(names.in_other_case(name))
            problems.add(f"{TRAIN_CSV} row {row}: the folder {show(f'{TRAIN_IMAGES}/{name}')} {error}")
            continue
        if folder is None:
            missing = show(f"{TRAIN_IMAGES}/{name}")
            problems.add(f"{TRAIN_CSV} row {row}: there is no folder {missing}; add it or remove the row")
        else:
            matched[name] = folders[folder]
    for name in sorted(folders.keys() - {folder.name for folder in matched.values()} - told):
        folder = show(f"{TRAIN_IMAGES}/{name}")
        problems.add(f"the folder {folder} has no row in {TRAIN_CSV}; add one or take the folder away")
    return sorted(matched.items())


def _leave_out(hidden: list[str], loose: list[str], notes: list[str], left_out: LeftOut) -> None:
    """Tells the files of train/images that are not used; by themselves those that only need another name or format."""
    raw = {path for path in loose if is_raw(path)}
    almost = {
        path
        for path in set(loose) - raw
        if _stem(path) not in STEMS and _stem(path).lower() in STEMS and ends_like_a_photo(path)
    }
    rest = set(loose) - raw - almost
    left_out.tell(
        f"in {TRAIN_IMAGES} and one of a person's seven photos but for capital letters; rename them", almost, notes
    )
    left_out.tell(f"in {TRAIN_IMAGES} but none of a person's seven photos", rest, notes)
    left_out.tell("cameras' raw files; export them as JPEG", raw, notes)
    left_out.tell("hidden files and folders", hidden, notes)


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _read_contest_people(rows: list[Row], problems: Problems) -> dict[str, tuple[int, Photo]]:
    """The row number and the labels of each person, by folder name with its letters composed."""
    people: dict[str, tuple[int, Photo]] = {}
    for row, cells in rows:
        name, where = composed(cells["path"]), f"{TRAIN_CSV} row {row}"
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
    folder: os.DirEntry, links: Links, hidden: list[str], loose: list[str], left_out: LeftOut
) -> dict[str, str]:
    """The file name of each of a person's photos, by stem; everything else goes to `hidden` or `loose`.

    Where one stem has two files, the first by name is used (never a camera's raw file) and the other told: both show
    the same mask state, so neither is wrong, but a person with a photo more would weigh more, and a fix for
    `<person>/<stem>` must name one photo.
    """
    stems: dict[str, str] = {}
    for entry in list_folder(Path(folder.path), show(f"{TRAIN_IMAGES}/{folder.name}"), links.problems) or []:
        stem = _stem(entry.name)
        if is_system(entry.name, is_dir(entry)):
            left_out.system += 1
        elif entry.name.startswith("."):
            hidden.append(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}")
        elif stem in STEMS and stem not in stems and is_file(entry) and _is_photo(entry, links):
            if not links.lead_out(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}"):
                stems[stem] = entry.name
        else:
            loose.append(f"{TRAIN_IMAGES}/{folder.name}/{entry.name}")
    return stems


def _is_photo(entry: os.DirEntry, links: Links) -> bool:
    """Whether a file is a photo that can be one of the seven; a link that leads out is not opened to see."""
    return not links.strays(entry) and not is_raw(entry.name) and is_photo(entry.path, entry.name)


def read_contest_eval(links: Links, notes: list[str]) -> Found:
    """The eval photos in the order of eval/info.csv, and how that writes them; its column ans is never looked at."""
    root, problems, found = links.root, links.problems, Found()
    if links.lead_out(EVAL_CSV):
        return found
    if not os.path.lexists(root / EVAL_CSV):
        beside = in_place_of(root / EVAL_CSV)
        way_out = f"but {beside}" if beside else "list the eval photos in it, or take the folder eval away"
        problems.add(f"{EVAL_CSV} is missing{',' if beside else ';'} {way_out}")
        return found
    table = read_table(root / EVAL_CSV, EVAL_CSV, ("ImageID", "ans"), problems)
    if table is None:
        return found
    if not table[0]:
        problems.add(f"{EVAL_CSV} has no rows; list the eval photos or take the folder eval away")
    files = Files(root)
    seen: dict[str, int] = {}
    for row, cells in table[0]:
        name = cells["ImageID"]
        where = f"{EVAL_CSV} row {row}"
        try:
            photo = _eval_photo(name, files)
        except ValueError as error:
            problems.add(f"{where}: ImageID {show(name)} {error}")
            continue
        if photo in seen:
            problems.add(f"{where}: the photo {show(name)} already stands in row {seen[photo]}; keep one")
        elif not links.lead_out(photo):
            seen[photo] = row
            found.written[photo] = name
    found.eval = [Photo(photo) for photo in seen]
    tell(notes, f"names in {EVAL_CSV} with backslashes, read as separators", files.backslashed)
    return found


def _eval_photo(name: str, files: Files) -> str:
    """The path of an eval photo on the disk, or where it should be; ValueError with a phrase where it cannot be one."""
    if fault := path_fault(name) or raw_fault(name):
        raise ValueError(fault)
    return files.find(f"{EVAL_IMAGES}/{name}") or f"{EVAL_IMAGES}/{name}"


def _tell_eval_files(photos: list[Photo], links: Links, notes: list[str], left_out: LeftOut) -> None:
    """Tells eval photos missing or extra: a hole in the eval folder must not stop a submission.

    Where all that are listed are missing and others are there, the names are wrong.
    """
    names = walk_photos(EVAL_IMAGES, links, notes, left_out)
    on_disk = {f"{EVAL_IMAGES}/{name}" for name in names}
    listed = {photo.photo for photo in photos}
    # A photo in a linked folder is not walked to, so what seems missing is looked up once more.
    missing = sorted(name for name in listed - on_disk if not os.path.isfile(links.root / name))
    tell(notes, f"photos of {EVAL_CSV} that are not on disk", [show(name) for name in missing])
    if on_disk and listed and len(missing) == len(listed):
        links.problems.add(
            f"none of the photos that {EVAL_CSV} lists is in {EVAL_IMAGES}, which holds others, like "
            f"{show(min(on_disk))}; write their names into ImageID as they are there, endings and all"
        )
    left_out.tell(f"photos that are not in {EVAL_CSV}", list(on_disk - listed), notes)
