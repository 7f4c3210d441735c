"""Networks over many photos: each photo decoded once, for all networks and folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from models import backbone
from models.backbone import Network
from models.errors import UserError
from models.task import Task
from models.tasks import build_task
from models.weight_files import weights_fault
from pipeline.images.framing import View
from pipeline.images.photos import Photos, decode_all
from pipeline.prediction import engines
from pipeline.prediction.engine import REFERENCE, Engine
from pipeline.prediction.engines import BATCH_SIZE, Forward
from pipeline.prediction.tables import FACE
from pipeline.run.fold_records import WEIGHTS, BegunFold
from pipeline.runtime.machine import Plan
from pipeline.runtime.progress import Progress

CHUNK = 8 * BATCH_SIZE
"""Photos out of a memory map at a time: whole batches, so that the predictions are those about all at once."""


@dataclass(frozen=True)
class EnsembleMember:
    """One network of one fold, ready to predict."""

    task: Task
    fold: int
    folder: Path
    view: View
    forward: Forward
    flip: bool = False
    """Whether it predicts the mean over a photo and its mirror image."""

    def predict(self, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        """photos (N, H, W, 3) -> prediction columns (N, len(task.columns))."""
        predictions = self.task.predict(torch.from_numpy(self.forward(photos))).numpy()
        if self.flip:
            mirrored = np.ascontiguousarray(photos[:, :, ::-1])
            predictions = (predictions + self.task.predict(torch.from_numpy(self.forward(mirrored))).numpy()) / 2
        return predictions


def load(fold: BegunFold, device: str, threads: int, engine: Engine = REFERENCE) -> EnsembleMember:
    """The network that was trained for a fold.

    Raises UserError when its files are damaged, and what torch or OpenVINO raise where an engine other than torch
    cannot run it.
    """
    settings = fold.settings
    one, network = trained_network(fold)
    device = engine.device(device)
    # As the reference: float32, whatever the training's precision was.
    plan = Plan(device, "float32", fold.plan.channels_last, threads, 0)
    if plan.channels_last:
        network = network.to(memory_format=torch.channels_last)
    view = View.of(settings)
    forward = engines.build(engine, network.to(device), view.size, plan)
    return EnsembleMember(one, fold.number, fold.folder, view, forward, engine.flip)


def trained_network(fold: BegunFold) -> tuple[Task, Network]:
    """A fold's task and network, with the weights that it was trained to. Raises UserError as `load` does."""
    one = build_task(fold.task, fold.settings)
    network = backbone.blank(fold.settings, one.num_logits, one.learned)
    load_weights(network, fold)
    return one, network


def load_weights(network: Network, fold: BegunFold) -> None:
    """Give a network the weights that a fold was trained to. Raises UserError where these are damaged or another's."""
    file = fold.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; train it again with --restart.") from None
    except (SafetensorError, RuntimeError) as damage:
        fault = weights_fault(file)
        if fault is not None:
            raise UserError(f"{file} {fault[0]}; {fault[1]}, or train it again with --restart.") from None
        raise UserError(
            f"{file} is damaged or of another network ({str(damage).splitlines()[0]}); train it again with --restart."
        ) from None


def predict_rows(
    member: EnsembleMember,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    advance: Callable[[int], None] = lambda photos: None,
) -> NDArray[np.float32]:
    """A member's predictions about rows (N,) of prepared photos, of which but a chunk is in memory at a time.

    advance: told how many photos were predicted.
    """
    predictions = []
    for start in range(0, len(rows), CHUNK):
        predictions.append(member.predict(pixels[rows[start : start + CHUNK]]))
        advance(len(predictions[-1]))
    return np.concatenate(predictions)


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


def predict(members: Sequence[EnsembleMember], photos: Photos, jobs: int, progress: Progress) -> Predicted:
    """Predictions of all members about all photos, each photo decoded once. `progress` counts photos."""
    bad: dict[str, str] = {}
    cut_short: list[str] = []
    whole, others = _Batches(members), _Batches(members)
    faces: list[tuple[Any, ...]] = []
    views = list(dict.fromkeys(member.view for member in members))
    for name, decoded in zip(photos.names, decode_all(photos, views, jobs), strict=True):
        if isinstance(decoded, str):
            bad[name] = decoded
        else:
            whole.add(name, 0, decoded.pixels)
            cut_short += [name] if decoded.cut_short else []
            faces += [(name, 0, *decoded.counts.face.box, decoded.counts.face.score)] if decoded.counts else []
            for number, other in enumerate(decoded.others, 1):
                others.add(name, number, other.pixels)
                faces.append((name, number, *other.face.box, other.face.score))
        progress.advance()
    table = whole.table(photos.names)
    found = pd.DataFrame(faces, columns=["photo", "face", *FACE])
    if faces:
        both = pd.concat([table, others.table(photos.names)])
        found = found.merge(both, on=["photo", "face"], how="left", validate="1:m")
    else:
        found = found.reindex(columns=[*found, *table.columns.drop(["photo", "face"])])
    return Predicted(table.drop(columns="face"), bad, cut_short, found)


class _Batches:
    """Predictions about what is added, in full batches."""

    def __init__(self, members: Sequence[EnsembleMember]):
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
            tables[member.fold][list(member.task.columns)] = member.predict(stacks[member.view])
        self._pieces += tables.values()
        self._waiting.clear()

    def table(self, order: Sequence[str]) -> pd.DataFrame:
        """photo, face, fold and prediction columns, by the photos' order."""
        if self._waiting:
            self._flush()
        columns = ["photo", "face", "fold", *dict.fromkeys(c for m in self.members for c in m.task.columns)]
        place = {name: number for number, name in enumerate(order)}
        table = (pd.concat(self._pieces) if self._pieces else pd.DataFrame()).reindex(columns=columns)
        return table.sort_values("photo", key=lambda p: p.map(place), kind="stable", ignore_index=True)
