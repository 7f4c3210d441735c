"""A fold's network as OpenVINO runs it, kept in the fold's folder: what answers without torch, which takes seconds.

`openvino.xml` and `openvino.bin` hold the network with its task, photos in and prediction columns out; `openvino.json`
says what they were made of. Where anything is not as it says, nothing is taken: they are made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.images.framing import View
from pipeline.prediction.openvino_models import Forward, forward_of, openvinos_core
from pipeline.run.fold_records import FinishedFold
from pipeline.runtime import store

RECORD, MODEL, WEIGHTS = "openvino.json", "openvino.xml", "openvino.bin"
VERSION = 1
"""Of the files; others are made again."""


@dataclass(frozen=True)
class ConvertedMember:
    """One network of one fold, ready to predict (`over_photos.Predictor`)."""

    fold: int
    view: View
    columns: tuple[str, ...]
    forward: Forward
    flip: bool = False

    def predict(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        predictions = self.forward(photos)
        if self.flip:
            predictions = (predictions + self.forward(np.ascontiguousarray(photos[:, :, ::-1]))) / 2
        return predictions


def converted(
    folds: Sequence[FinishedFold], threads: int, precision: str = "f32", flip: bool = False
) -> list[ConvertedMember] | None:
    """The kept networks of some folds; None where one of them is not kept, or is another by now.

    precision: f32 or bf16; flip: whether they predict the mean over a photo and its mirror image.
    """
    columns = [_columns(fold) for fold in folds]
    if None in columns:
        return None
    core = openvinos_core()[1]
    found = []
    for fold, its in zip(folds, columns, strict=True):
        model = core.read_model((fold.folder / MODEL).read_bytes(), (fold.folder / WEIGHTS).read_bytes())
        forward = forward_of(core, model, threads, precision)
        found.append(ConvertedMember(fold.number, View.of(fold.settings), its, forward, flip))
    return found


def _columns(fold: FinishedFold) -> tuple[str, ...] | None:
    """The prediction columns of a fold's kept network; None where none is kept that can be taken."""
    path = fold.folder / RECORD
    if not path.is_file():
        return None
    try:
        made = store.read_json(path)
    except UserError:  # it is made again, as where there is none
        return None
    now = _made_of(fold) | {name: store.file_fingerprint(fold.folder / name) for name in (MODEL, WEIGHTS)}
    return tuple(made["columns"]) if {name: made.get(name) for name in now} == now else None


def _made_of(fold: FinishedFold) -> dict[str, object]:
    return {"version": VERSION, "network": fold.network_fingerprint, "openvino": version("openvino")}


def keep_converted(folds: Sequence[FinishedFold]) -> None:
    """Converts the networks of some folds and keeps them; takes seconds each.

    Raises whatever torch or OpenVINO raise for a network that they cannot convert, and OSError where nothing can be
    written.
    """
    from pipeline.prediction.engines import Predicting, openvino_model
    from pipeline.prediction.ensemble import trained_network

    for fold in folds:
        if _columns(fold) is not None:
            continue
        task, network = trained_network(fold)
        model, weights = openvino_model(Predicting(task, network.eval()).eval(), View.of(fold.settings).size)
        for name, content in ((MODEL, model), (WEIGHTS, weights)):
            with store.replacing(fold.folder / name) as temporary:
                temporary.write_bytes(content)
        made = _made_of(fold) | {name: store.file_fingerprint(fold.folder / name) for name in (MODEL, WEIGHTS)}
        store.write_json(fold.folder / RECORD, made | {"columns": list(task.columns)})
