"""A data set folder -> the photo table. Every check on what users bring happens here, once, at reading."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from models.labels import LABELS, OLDEST
from pipeline.dataset.contest import EVAL_IMAGES, TRAIN_CSV, read_contest
from pipeline.dataset.fixes import apply_fixes
from pipeline.dataset.foreign import in_place_of
from pipeline.dataset.general import LABEL_COLUMNS, PHOTOS_CSV, read_general
from pipeline.dataset.layouts import LeftOut, Links, Photo, read_boxes, walk_photos
from pipeline.dataset.names import in_other_case
from pipeline.dataset.reach import OnDisk, PhotoBytes, Reach
from pipeline.dataset.shards import Shards
from pipeline.dataset.tables import BOX, Box
from pipeline.runtime import store
from pipeline.runtime.problems import Problems, check_folder, show, tell


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set as read: what to train on, what to predict, and what the user should be told.

    Columns are `photo`, `person` (string), `mask`, `gender` (Int64), `age` (float64, years) and, where the
    data set has face boxes, `box_x`, `box_y`, `box_w`, `box_h` (float64, pixels).
    """

    root: Path
    """The folder, as given; of a list or of tars, the folder that the photos' names begin at."""
    name: str
    """The folder's name, used in the names of runs."""
    train: pd.DataFrame
    """The train rows with fixes applied, sorted by photo."""
    eval: pd.DataFrame
    """The eval photos in the order of the submission: photo, person (NA in the contest), boxes; no labels."""
    notes: tuple[str, ...]
    """What is odd but does not stop anything, one line each."""
    layout: str = "general"
    """contest, general, folder, list or shards; of an extra set also FairFace, UTKFace, AgeDB or a folder a class."""
    written: dict[str, str] = field(default_factory=dict)
    """How the table of eval photos writes a photo, where the disk may spell it otherwise: by photo."""
    box_rows: dict[str, str] = field(default_factory=dict)
    """Where the face box of a photo stands, for messages: by photo."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """The files that are not used."""
    further: dict[str, dict[str, str]] = field(default_factory=dict)
    """The cells of the columns that nothing else knows, by photo: groups that a report tells apart."""
    given: Path | None = None
    """What was given for the eval photos, where that is no folder: a list, a tar, or a pattern of tars."""
    shards: Shards | None = None
    """The tars that the eval photos lie in, if they do."""
    looked: tuple[Sequence[int], Sequence[int]] | None = None
    """Bytes of each eval photo, and when it last changed, where that was looked at as they were read."""

    @property
    def subject(self) -> Path:
        """What messages name."""
        return self.given or self.root

    @property
    def reach(self) -> Reach:
        """What reaches the photos of the tables by their names."""
        return OnDisk(self.root) if self.shards is None else self.shards

    def path(self, photo: str) -> Path:
        """Where a photo of the tables lies that is a file."""
        return self.root / photo

    def source(self, photo: str) -> Path | PhotoBytes:
        """What `decode` takes for a photo of the tables; raises as `Reach.source`."""
        return self.reach.source(photo)

    def eval_fingerprint(self) -> str:
        """The fingerprint of the eval photos, by name, size and when they last changed."""
        if self.shards is not None:
            return self.shards.fingerprint()
        if self.looked is not None:
            return store.fingerprint_of_all(zip(self.eval["photo"], *self.looked, strict=True))
        return store.photo_fingerprint(self.root, self.eval["photo"].tolist(), times=True)

    def without_boxes(self) -> Self:
        """The same, as if no face boxes had come with it."""
        tables = {name: getattr(self, name).drop(columns=list(BOX), errors="ignore") for name in ("train", "eval")}
        boxed = set(BOX) <= set(self.train.columns)
        notes = (*self.notes, "the face boxes are not used (FACES=off)") if boxed else self.notes
        return replace(self, **tables, box_rows={}, notes=notes)

    def submission(self, labels: pd.Series) -> pd.DataFrame:
        """The submission: ImageID (photo outside the contest) and ans, one row per eval photo, in its order.

        `labels` holds a label from 0 to 17 for every eval photo, by photo. Raises ValueError where one is
        missing, given twice, unknown or no label: each of these is a mistake in the code that calls.
        """
        photos = pd.Index(self.eval["photo"])
        labels = labels.set_axis(labels.index.astype("string"))
        if not labels.index.is_unique:
            raise ValueError(f"photos with two labels: {sorted(labels.index[labels.index.duplicated()])[:3]}")
        if len(labels) != len(photos) or not photos.isin(labels.index).all():
            differing = sorted(photos.symmetric_difference(labels.index))
            raise ValueError(f"{len(differing)} photos lack a label or are no eval photos: {differing[:3]}")
        ordered = labels.reindex(photos)
        if not ordered.isin(range(LABELS)).all():
            raise ValueError(f"some labels are not whole numbers from 0 to {LABELS - 1}")
        contest = self.layout == "contest"
        column, prefix = ("ImageID", f"{EVAL_IMAGES}/") if contest else ("photo", "")
        names = [self.written.get(photo, photo.removeprefix(prefix)) for photo in photos]
        return pd.DataFrame({column: pd.array(names, "string"), "ans": ordered.to_numpy(np.int64)})


def read_data_set(root: Path, fixes: str | None = None, follow_links: bool = False, extra: bool = False) -> DataSet:
    """Reads a data set in the contest's or the general layout.

    Looks at names and tables, and at the first bytes of files that do not end like photos; not into photos.
    `fixes` is None, "contest" or a CSV file (see `fixes`); `extra`: it is an extra set, of which no person is held out
    and so none need be named. Raises UserError listing everything that
    is wrong with the folder, links that lead out of it included, unless `follow_links`. The truth of the eval
    photos does not get out: see `read_truth`.
    """
    root = Path(root)
    problems, notes = Problems(f"The {'extra' if extra else 'data'} set {show(root)}"), []
    layout = _find_layout(root, problems)
    links = Links(root, follow_links, problems)
    left_out = LeftOut()
    found = read_contest(links, notes, left_out) if layout == "contest" else read_general(links, notes, extra)
    read_boxes(found, links)
    problems.stop()
    train = frame(sorted(found.train, key=lambda photo: photo.photo), found.boxes)
    if fixes is not None:
        train, lines = apply_fixes(train, str(fixes), one_age=layout == "contest")
        notes += lines
    for column in LABEL_COLUMNS:
        photos = [show(photo) for photo in train["photo"][train[column].isna()]]
        tell(notes, f"train photos without {column}", photos)
    listed = frame(found.eval, found.boxes).drop(columns=list(LABEL_COLUMNS))
    _tell_system(left_out, notes)
    written = {photo.photo: found.written[photo.photo] for photo in found.eval}
    return DataSet(
        root, _name(root), train, listed, tuple(notes), layout, written, found.box_rows, left_out, found.further
    )


def read_folder(root: Path, follow_links: bool = False) -> DataSet:
    """Reads any folder of photos, for prediction alone: all photos in it and below are eval photos."""
    root = Path(root)
    problems, notes = Problems(f"The folder {show(root)}"), []
    check_folder(root, problems)
    left_out = LeftOut()
    photos = walk_photos("", Links(root, follow_links, problems), notes, left_out)
    for photo in photos:
        if not is_text(photo):
            problems.add(f"the name of {show(photo)} is not UTF-8, so no table can hold it; rename the photo")
    if not photos and not problems.found:
        tars = sorted({os.path.dirname(name) for name in left_out.files if name.lower().endswith(".tar")})
        below = root.joinpath("**" if len(tars) > 1 else tars[0], "*.tar") if tars else None
        way = f'EVAL="{below}" labels the photos in its tars' if tars else "name a folder that does"
        problems.add(f"it holds no photos (JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, JPEG 2000, PPM or HEIC); {way}")
    problems.stop()
    return of_eval_photos(root, _name(root), photos, notes, "folder", left_out)


def of_eval_photos(
    root: Path,
    name: str,
    photos: list[str],
    notes: list[str],
    layout: str,
    left_out: LeftOut | None = None,
    given: Path | None = None,
) -> DataSet:
    """The data set of some photos, for prediction alone."""
    left_out = left_out or LeftOut()
    _tell_system(left_out, notes)
    nobody = pd.array([pd.NA], "string").take(np.zeros(len(photos), np.int64))
    table = pd.DataFrame({"photo": pd.array(photos, "string"), "person": nobody})
    return DataSet(root, name, frame([], None), table, tuple(notes), layout, left_out=left_out, given=given)


def _tell_system(left_out: LeftOut, notes: list[str]) -> None:
    """Counts the files that nobody put there."""
    if left_out.system:
        notes.append(f"system files (.DS_Store, Thumbs.db, ._* and the like), not used: {left_out.system}")


def _find_layout(root: Path, problems: Problems) -> str:
    """contest or general; UserError where the folder is missing, or neither or both."""
    check_folder(root, problems)
    general = os.path.lexists(root / PHOTOS_CSV)
    if general and os.path.lexists(root / TRAIN_CSV):
        problems.add(f"it has both {PHOTOS_CSV} and {TRAIN_CSV}; keep the table that describes it")
    elif not general and not os.path.lexists(root / "train"):
        beside = in_place_of(root / PHOTOS_CSV) or in_other_case(root, "train")
        if beside and beside.lower() == "train":
            beside = f"the folder {show(beside)} differs from train only in capital letters; rename it"
        problems.add(
            f"it has neither {TRAIN_CSV} nor {PHOTOS_CSV}"
            + (f", but {beside}" if beside else "; name the folder that holds one of them")
        )
    problems.stop()
    return "general" if general else "contest"


def _name(root: Path) -> str:
    return root.resolve().name or "data"


def is_text(name: str) -> bool:
    """Whether a file name is UTF-8; one that is not reaches Python with lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def frame(photos: Iterable[Photo], boxes: dict[str, Box] | None) -> pd.DataFrame:
    """The photo table of some photos, in their order, ages above 100 taken as 100."""
    columns = list(zip(*photos, strict=True)) or [()] * len(Photo._fields)
    photo, person, mask, gender, age = columns
    table = {
        "photo": pd.array(list(photo), "string"),
        "person": pd.array([pd.NA if name is None else name for name in person], "string"),
        "mask": pd.array(list(mask), "Int64"),
        "gender": pd.array(list(gender), "Int64"),
        "age": np.minimum(np.array(age, np.float64), OLDEST),  # None becomes NaN
    }
    if boxes is not None:
        none = (np.nan,) * len(BOX)
        sides = np.array([boxes.get(name, none) for name in photo], np.float64)
        table |= dict(zip(BOX, sides.reshape(-1, len(BOX)).T, strict=True))
    return pd.DataFrame(table)
