"""Small data sets for tests, whole and in both layouts; each is made in an empty folder."""

import csv
from pathlib import Path

STEMS = ("incorrect_mask", "mask1", "mask2", "mask3", "mask4", "mask5", "normal")
GENERAL = ("photo", "person", "mask", "gender", "age", "part")


def write_csv(path: Path, rows: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def change(path: Path, old: str, new: str) -> None:
    """Replaces a piece of a text file that is there exactly once: a test of nothing would fail here."""
    text = path.read_text()
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new))


def touch(*paths: Path) -> None:
    """Reading looks at names only, so empty files do as photos."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def contest(root: Path) -> Path:
    """Two train people (000001 female 25, 000002 male 60), two eval photos."""
    people = [("000001", "female", 25), ("000002", "male", 60)]
    folders = [f"{token}_{gender}_Asian_{age}" for token, gender, age in people]
    rows = [(*person[:2], "Asian", person[2], folder) for person, folder in zip(people, folders, strict=True)]
    write_csv(root / "train/train.csv", [("id", "gender", "race", "age", "path"), *rows])
    touch(*(root / "train/images" / folder / f"{stem}.jpg" for folder in folders for stem in STEMS))
    write_csv(root / "eval/info.csv", [("ImageID", "ans"), ("b.jpg", 0), ("a.png", 0)])
    touch(root / "eval/images/b.jpg", root / "eval/images/a.png")
    return root


def general(root: Path) -> Path:
    """Two train people with two photos each, one eval person with two."""
    write_csv(
        root / "photos.csv",
        [
            GENERAL,
            ("in/b.jpg", "bo", "worn", "male", "61", "train"),
            ("in/b2.jpg", "bo", "1", "0", "61.0", "train"),
            ("in/a.jpg", "ann", "none", "female", "", "train"),
            ("in/a2.jpg", "ann", "", "", "", "train"),
            ("new/d.jpg", "di", "none", "female", "30", "eval"),
            ("new/c.jpg", "di", "worn", "female", "30", "eval"),
        ],
    )
    touch(
        *(root / "in" / f"{name}.jpg" for name in ("a", "a2", "b", "b2")),
        root / "new/c.jpg",
        root / "new/d.jpg",
    )
    return root


def unchanged(root: Path) -> list:
    """Everything in a folder that reading must not touch: names, sizes, times."""
    return sorted((str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in root.rglob("*"))


def key(root: Path, *rows: tuple, header=("ImageID", "ans", "person", "age")) -> Path:
    write_csv(root / "key.csv", [header, *rows])
    return root
