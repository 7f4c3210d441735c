"""The photos of extra sets as a run frames them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.dataset.run_data import train_rows
from pipeline.images.run_photos import framed, prepared
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.runtime.problems import show, tell

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.faces.face_framing import Framing
    from pipeline.images.framing import View
    from pipeline.images.prepared import Prepared


@dataclass(frozen=True)
class ExtraPhotos:
    """An extra set in a view: its photos, and those of its rows that a network may learn from."""

    photos: Prepared
    rows: pd.DataFrame
    places: list[int]
    """Where the pixels of each row are."""


@dataclass(frozen=True)
class LearnedPhotos:
    """The photos that a network learns from, in its view: the data set's own, and extra ones."""

    own: Prepared
    extra: list[ExtraPhotos]

    @property
    def digest(self) -> str:
        """Of all pixels."""
        digests = [self.own.digest, *(one.photos.digest for one in self.extra)]
        return store.fingerprint(digests) if self.extra else self.own.digest


def learned_photos(
    run: Run, data: DataSet, extras: Sequence[DataSet], task: str, view: View, framing: Framing | None
) -> LearnedPhotos:
    """The photos of a data set, and those of extra sets that a network learns from. Raises UserError for bad ones."""
    return LearnedPhotos(prepared(run, data, view, framing), extra_photos(run, extras, task, view, framing))


def extra_photos(
    run: Run, extras: Sequence[DataSet], task: str, view: View, framing: Framing | None
) -> list[ExtraPhotos]:
    """The photos of extra sets that a network learns from; a set without its label is not prepared.

    Where faces frame photos, those without a face are left out: how often one is missed may tell the label. Raises
    UserError for bad photos, unless the run skips those.
    """
    made = []
    for extra in extras:
        rows = train_rows(extra, task)
        if rows.empty:
            continue
        photos = prepared(run, extra, view, framing)
        rows = rows[~rows["photo"].isin(list(photos.bad))]
        if framing is not None:
            rows = rows[rows["photo"].isin(photos_with_a_face(run, extra, framing))]
        place = {photo: number for number, photo in enumerate(extra.train["photo"])}
        made.append(ExtraPhotos(photos, rows, [place[photo] for photo in rows["photo"]]))
    return made


def unused_lines(extras: Sequence[DataSet], learned: Mapping[str, Sequence[ExtraPhotos]]) -> list[str]:
    """What of extra sets no network learns from, a line for each: photos without a face, or without a label that fits.

    learned: what `extra_photos` gives, by task.
    """
    used = {id(extra): set() for extra in extras}
    for task, photos in learned.items():
        with_label = [extra for extra in extras if not train_rows(extra, task).empty]
        for extra, one in zip(with_label, photos, strict=True):
            used[id(extra)] |= set(one.rows["photo"])
    lines = []
    for extra in extras:
        without = [show(photo) for photo in extra.train["photo"] if photo not in used[id(extra)]]
        tell(
            lines,
            f"photos of the extra set {show(extra.root)} from which nothing is learned, for want of a label, of a face "
            f"where these frame photos, or of a file that can be decoded",
            without,
        )
    return lines


def photos_with_a_face(run: Run, extra: DataSet, framing: Framing) -> set[str]:
    """The photos of an extra set in which a face is found, in its box where one is given."""
    import joblib

    from pipeline.faces.face_framing import chosen_face
    from pipeline.images.found_faces import find_faces
    from pipeline.images.prepared import PREPARED

    photos = framed(run, extra, extra.train, framing)
    found = find_faces(photos, extra.name, photos.faces.detector, joblib.cpu_count(), PREPARED).faces
    return {
        photo
        for number, photo in enumerate(photos.names)
        if chosen_face(found.get(photo, ()), photos.box(number)) is not None
    }
