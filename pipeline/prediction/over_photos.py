"""Networks over many photos: each photo decoded once, for all networks and folds. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.images.framing import View
from pipeline.images.photos import FittedPhoto, Photos, decode_all
from pipeline.prediction.engine import BATCH_SIZE
from pipeline.prediction.tables import FACE
from pipeline.runtime.progress import Progress


class Predictor(Protocol):
    """One network of one fold, ready to predict, by whatever engine."""

    @property
    def fold(self) -> int: ...

    @property
    def view(self) -> View: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    def predict(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """photos (N, H, W, 3) -> prediction columns (N, len(columns))."""


class Predicted(NamedTuple):
    """What networks predict about photos.

    table: photo, fold, prediction columns; one row per photo and fold, blank where a specialist has no such fold.
    bad: the photos that could not be decoded, with the reason; cut_short: those whose file ends too early. faces: the
    same as table of every face that was found, with its number, its box and its score: 0 is the one that counts as the
    photo's; empty where faces are not looked for.
    """

    table: pd.DataFrame
    bad: dict[str, str]
    cut_short: list[str]
    faces: pd.DataFrame


def predict(members: Sequence[Predictor], photos: Photos, jobs: int, progress: Progress) -> Predicted:
    """Predictions of all members about all photos, each photo decoded once. `progress` counts photos."""
    views = list(dict.fromkeys(member.view for member in members))

    def decoded() -> Iterator[FittedPhoto | str]:
        for photo in decode_all(photos, views, jobs):
            yield photo
            progress.advance()

    return predict_decoded(members, photos.names, decoded())


def predict_decoded(
    members: Sequence[Predictor], names: Sequence[str], photos: Iterable[FittedPhoto | str]
) -> Predicted:
    """Predictions of all members about photos that are decoded and fitted to their views; of names, each once."""
    bad: dict[str, str] = {}
    cut_short: list[str] = []
    whole, others = _Batches(members), _Batches(members)
    faces: list[tuple[Any, ...]] = []
    for name, decoded in zip(names, photos, strict=True):
        if isinstance(decoded, str):
            bad[name] = decoded
        else:
            whole.add(name, 0, decoded.pixels)
            cut_short += [name] if decoded.cut_short else []
            faces += [(name, 0, *decoded.counts.face.box, decoded.counts.face.score)] if decoded.counts else []
            for number, other in enumerate(decoded.others, 1):
                others.add(name, number, other.pixels)
                faces.append((name, number, *other.face.box, other.face.score))
    table = whole.table(names)
    found = pd.DataFrame(faces, columns=["photo", "face", *FACE])
    if faces:
        both = pd.concat([table, others.table(names)])
        found = found.merge(both, on=["photo", "face"], how="left", validate="1:m")
    else:
        found = found.reindex(columns=[*found, *table.columns.drop(["photo", "face"])])
    return Predicted(table.drop(columns="face"), bad, cut_short, found)


class _Batches:
    """Predictions about what is added, in full batches."""

    def __init__(self, members: Sequence[Predictor]):
        self.members = members
        self._waiting: list[tuple[str, int, dict[View, NDArray[np.uint8]]]] = []
        self._pieces: list[pd.DataFrame] = []

    def add(self, photo: str, face: int, pixels: dict[View, NDArray[np.uint8]]) -> None:
        self._waiting.append((photo, face, pixels))
        if len(self._waiting) == BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        rows = [(photo, face) for photo, face, _ in self._waiting]
        folds = sorted({member.fold for member in self.members})
        tables = {fold: pd.DataFrame(rows, columns=["photo", "face"]).assign(fold=fold) for fold in folds}
        views = dict.fromkeys(member.view for member in self.members)
        stacks = {view: np.stack([pixels[view] for *_, pixels in self._waiting]) for view in views}
        for member in self.members:
            tables[member.fold][list(member.columns)] = member.predict(stacks[member.view])
        self._pieces += tables.values()
        self._waiting.clear()

    def table(self, order: Sequence[str]) -> pd.DataFrame:
        """photo, face, fold and prediction columns, by the photos' order."""
        if self._waiting:
            self._flush()
        columns = ["photo", "face", "fold", *dict.fromkeys(c for m in self.members for c in m.columns)]
        place = {name: number for number, name in enumerate(order)}
        table = (pd.concat(self._pieces) if self._pieces else pd.DataFrame()).reindex(columns=columns)
        return table.sort_values("photo", key=lambda p: p.map(place), kind="stable", ignore_index=True)
