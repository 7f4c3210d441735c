"""What several stages read: the photos of a run as it frames them, and answer tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from models.presets import SYSTEMS, columns_of
from pipeline import runs, store
from pipeline.progress import CAUTIONS
from pipeline.runs import EvalSettings, Run

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.images import Photos, Prepared, Size
    from pipeline.photos import DataSet

NO_BOXES = store.fingerprint(None)
"""The mark of rows without face boxes."""
VALIDATION = "validation.csv"
"""Beside eval answers of an engine other than torch: what it answers about the validation photos."""


def data_of(run: Run, given: EvalSettings | None = None) -> DataSet:
    """The data set of a run; of a stage after training that was given a folder of its own, that folder."""
    from pipeline.photos import read_data_set, read_folder

    if given is not None and given.eval is not None:
        return read_folder(given.eval, run.follow_links)
    return read_data_set(run.data, run.fixes, run.follow_links)


def labelled(data: DataSet, task: str) -> pd.DataFrame:
    """The train rows that carry the labels a network learns from."""
    return data.train[data.train[list(columns_of(task))].notna().all(axis=1)]


def photo_marks(data: DataSet, rows: pd.DataFrame) -> dict[str, str]:
    """Fingerprints of what a network sees of these rows: the photos, and the face boxes where any has one."""
    return {"photos": store.photo_fingerprint(data.root, rows["photo"].tolist()), "boxes": box_mark(rows)}


def box_mark(rows: pd.DataFrame) -> str:
    """The fingerprint of the face boxes of these rows, NO_BOXES where none has one."""
    from pipeline.tables import BOX

    boxed = set(BOX) <= set(rows.columns) and rows[list(BOX)].notna().any(axis=None)
    return store.fingerprint(rows[list(BOX)].to_numpy().tolist()) if boxed else NO_BOXES


def framed(run: Run, data: DataSet, table: pd.DataFrame) -> Photos:
    """The photos of a table, and how this run frames them."""
    from pipeline.images import Photos
    from pipeline.tables import BOX

    boxes = table[list(BOX)].to_numpy(float) if set(BOX) <= set(table.columns) else None
    return Photos(data.root, table["photo"].tolist(), boxes, run.crop)


def prepared(run: Run, data: DataSet, size: Size) -> Prepared:
    """The train photos of a run at a size. Raises UserError for bad photos, unless the run skips those."""
    from pipeline import images
    from pipeline.machine import available_cores

    photos = images.prepare(framed(run, data, data.train), data.name, size, available_cores())
    if photos.bad and not run.skip_bad_photos:
        raise UserError(
            f"{len(photos.bad)} train photos cannot be decoded; mend or remove them, or train without them "
            f"with --skip-bad-photos:\n{listed(photos.bad)}"
        )
    return photos


def listed(bad: dict[str, str], most: int = 10) -> str:
    """Photos with what is wrong, a line each; the first `most` and a count."""
    from pipeline.tables import show

    lines = [f"  {show(photo)}: {why}" for photo, why in list(bad.items())[:most]]
    more = len(bad) - most
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)


def read_answers(path: Path) -> pd.DataFrame:
    """An answer table. Raises UserError when it is missing or damaged."""
    import pandas as pd

    names = ("photo", "person", "ImageID")  # someone may be called NA, a photo 000123
    try:
        blanks = {column: "" for column in pd.read_csv(path, nrows=0).columns if column not in names}
        return pd.read_csv(path, dtype=dict.fromkeys(names, "string"), keep_default_na=False, na_values=blanks)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it again.") from None
    except (ValueError, UnicodeDecodeError) as damage:
        raise UserError(f"{path} is damaged ({damage}); delete it and run the stages again.") from None


def out_of_fold(folder: Path) -> pd.DataFrame:
    """The answers of a finished fold about the people it held out, as training wrote them."""
    runs.check(folder, "train", ["validation.csv"])
    return read_answers(folder / "validation.csv")


def gather(
    run: Run, system: str = "specialists", answers_of: Callable[[Path], pd.DataFrame] = out_of_fold
) -> pd.DataFrame:
    """The out-of-fold answers of a system's networks side by side, one row per photo.

    answers_of: of a fold's folder. Photos that some specialist did not answer out-of-fold have blanks there.
    Raises UserError when a network has no finished fold, or when they learned from different labels or folds.
    """
    import pandas as pd

    from pipeline.answers import TRUTH

    keys = ["photo", "person", "fold", *TRUTH]
    whole: pd.DataFrame | None = None
    for task in SYSTEMS[system]:
        table = pd.concat([answers_of(folder) for folder in finished(run, task).values()])
        whole = table if whole is None else whole.merge(table, on=keys, how="outer")
    if whole["photo"].duplicated().any():
        raise UserError(
            f"the networks of {run.folder} were trained on different labels or folds; train them again with --restart."
        )
    return whole


def validation_by(run: Run, system: str, place: Path, engine: str) -> pd.DataFrame:
    """The validation answers that go with a place's eval answers. Raises UserError when there are none."""
    if engine == "torch":
        return gather(run, system)
    path = place / VALIDATION
    if not has_validation_by(place, engine):
        raise UserError(f"{path} is missing, damaged or of another engine than {engine}; run predict again.")
    return read_answers(path)


def has_validation_by(place: Path, engine: str) -> bool:
    """Whether such validation answers stand; they are not read."""
    record = place / "done" / "engine.json"
    if engine == "torch" or not record.is_file():
        return engine == "torch"
    made = store.read_json(record)
    stands = made["wrote"].get(VALIDATION) == store.file_fingerprint(place / VALIDATION)
    return made["figures"]["answers"] == engine and stands


def cautions(run: Run, system: str) -> dict[str, str]:
    """What speaks against trusting a run's validation scores: a word to set beside them, and a sentence each."""
    done = [folder / "done" / "train.json" for task in SYSTEMS[system] for folder in run.finished_folds(task).values()]
    figures = [store.read_json(record)["figures"] for record in done]
    return {word: told for word, told in CAUTIONS.items() if any(made.get(word) for made in figures)}


def finished(run: Run, task: str) -> dict[int, Path]:
    """The finished folds of a network. Raises UserError when there are none."""
    folders = run.finished_folds(task)
    if not folders:
        raise UserError(f"no fold of {task} is trained in {run.folder} yet; run make train-{task} first.")
    return folders


def network_mark(folder: Path) -> list[str | None]:
    """What a finished fold answers by: the fingerprints of its settings and weights."""
    return [store.file_fingerprint(folder / name) for name in ("settings.json", "weights.safetensors")]


def check_networks(run: Run, place: Path) -> None:
    """Raises UserError where a network was trained anew since it answered the eval photos of a place."""
    for folder, mark in runs.figures_of(place, "predict").get("weights", {}).items():
        if network_mark(run.folder / folder) != mark:
            raise UserError(
                f"{place / 'predictions.csv'} was answered by another network than {run.folder / folder} holds now; "
                f"run predict again."
            )
