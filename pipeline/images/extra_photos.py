"""The photos of extra sets as a run frames them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.settings import ModelSettings
from pipeline.dataset.extra import is_bare
from pipeline.dataset.run_data import train_rows
from pipeline.faces.draw_mask import VERSION
from pipeline.images.framing import View
from pipeline.images.run_photos import framed, prepared, prepared_all
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.runtime.problems import show, tell

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.faces.face_framing import Framing
    from pipeline.images.prepared import Prepared


@dataclass(frozen=True)
class ExtraPhotos:
    """An extra set in a view: its photos, and those of its rows that a network may learn from."""

    source: DataSet
    photos: Prepared
    rows: pd.DataFrame
    places: list[int]
    """Where the pixels of each row are."""


@dataclass(frozen=True)
class Faces:
    """The faces in photos that masks are drawn on: landmarks (N, 5, 2) in pixels, NaN without one; which are bare."""

    points: NDArray[np.float32]
    bare: NDArray[np.bool_]


@dataclass(frozen=True)
class LearnedPhotos:
    """The photos that a network learns from, in its view: the data set's own, and extra ones.

    faces: of all of them, the own first, where masks are drawn.
    """

    own: Prepared
    extra: list[ExtraPhotos]
    faces: Faces | None = None

    @property
    def digest(self) -> str:
        """Of all pixels, and of where masks are drawn on them."""
        digests = [self.own.digest, *(one.photos.digest for one in self.extra)]
        if self.faces is not None:
            digests += [hashlib.sha256(array.tobytes()).hexdigest() for array in (self.faces.points, self.faces.bare)]
        return store.fingerprint(digests) if len(digests) > 1 else self.own.digest


def learned_photos(
    run: Run, data: DataSet, extras: Sequence[DataSet], task: str, settings: ModelSettings, framing: Framing | None
) -> LearnedPhotos:
    """The photos of a data set, and those of extra sets that a network learns from. Raises UserError for bad ones."""
    view = View.of(settings)
    photos = prepared(run, data, view, framing)
    more = extra_photos(run, extras, task, settings, framing)
    if not (settings.mask_bare or settings.drawn_masks):
        return LearnedPhotos(photos, more)
    from pipeline.images.landmarks import prepared_landmarks

    sets = [data, *(one.source for one in more)]
    points = [prepared_landmarks(run, one, view, framing) for one in sets]
    return LearnedPhotos(photos, more, Faces(np.concatenate(points), np.concatenate([is_bare(one) for one in sets])))


def extra_photos(
    run: Run, extras: Sequence[DataSet], task: str, settings: ModelSettings, framing: Framing | None
) -> list[ExtraPhotos]:
    """The photos of extra sets that a network learns from; a set without its label is not prepared.

    Where faces frame photos, those without a face are left out: how often one is missed may tell the label. Raises
    UserError for bad photos, unless the run skips those.
    """
    made = []
    for extra in extras:
        rows = train_rows(extra, task, settings.drawn_masks)
        if rows.empty:
            continue
        photos = prepared(run, extra, View.of(settings), framing)
        rows = rows[~rows["photo"].isin(list(photos.bad))]
        if framing is not None:
            rows = rows[rows["photo"].isin(photos_with_a_face(run, extra, framing))]
        place = {photo: number for number, photo in enumerate(extra.train["photo"])}
        made.append(ExtraPhotos(extra, photos, rows, [place[photo] for photo in rows["photo"]]))
    return made


def prepare_extra(
    run: Run, extras: Sequence[DataSet], made: Mapping[str, ModelSettings], framing: Framing | None
) -> None:
    """Prepare what `extra_photos` gives for these networks, by task, each photo decoded once for all of them."""
    for extra in extras:
        learning = [one for task, one in made.items() if not train_rows(extra, task, one.drawn_masks).empty]
        if learning:
            prepared_all(run, extra, sorted({View.of(one) for one in learning}), framing)


def drawn_fingerprint(sets: Sequence[DataSet], settings: ModelSettings) -> str:
    """The fingerprint of which photos masks are drawn on, of a data set and its extra sets, where they are."""
    if not (settings.drawn_masks or settings.mask_bare):
        return store.fingerprint(None)
    return store.fingerprint([VERSION, *(is_bare(one).tolist() for one in sets)])


def unused_lines(extras: Sequence[DataSet], learned: Mapping[str, Sequence[ExtraPhotos]]) -> list[str]:
    """From which photos of extra sets nothing is learned, a line for each set and reason.

    learned: what `extra_photos` gives, by task.
    """
    lines: list[str] = []
    for extra in extras:
        sets = [one for photos in learned.values() for one in photos if one.source is extra]
        used = {photo for one in sets for photo in one.rows["photo"]}
        bad = {photo for one in sets for photo in one.photos.bad}
        labelled = {photo for task in learned for photo in train_rows(extra, task)["photo"]}
        reasons: dict[str, list[str]] = {}
        for photo in extra.train["photo"]:
            if photo not in used:
                why = "that cannot be decoded" if photo in bad else "without a face"
                why = why if photo in labelled else "without a label to learn"
                reasons.setdefault(why, []).append(show(photo))
        for why, photos in reasons.items():
            tell(lines, f"photos of the extra set {show(extra.root)} {why}, not used", photos)
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
