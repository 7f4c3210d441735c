"""A fold's network as OpenVINO runs it, kept in the fold's folder: converting it, and torch itself, take seconds.

`openvino.xml` and `openvino.bin` hold the network with its task, photos in, logits and prediction columns out;
`openvino.json` says what they were made of. Where anything is not as it says, nothing is taken: they are made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.images.framing import View
from pipeline.prediction.openvino_models import Forward, forward_of, openvinos_core
from pipeline.run.fold_records import FinishedFold
from pipeline.runtime import store

if TYPE_CHECKING:
    from models.backbone import Network
    from models.task import Task

RECORD, MODEL, WEIGHTS = "openvino.json", "openvino.xml", "openvino.bin"
LOGITS, PREDICTIONS = 0, 1
"""Which of the model's outputs they are."""
VERSION = 2
"""Of the files; others are made again."""
TRIED, AGREED = 8, 1e-4
"""Photos of noise that both predict, and how far apart they may be, beside their size."""


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
    columns = [_columns(fold, _record(fold)) for fold in folds]
    if None in columns:
        return None
    core = openvinos_core()[1]
    found = []
    for fold, its in zip(folds, columns, strict=True):
        try:
            model = core.read_model((fold.folder / MODEL).read_bytes(), (fold.folder / WEIGHTS).read_bytes())
            forward = forward_of(core, model, threads, precision, PREDICTIONS)
        except RuntimeError:  # this OpenVINO cannot run it: torch can
            return None
        found.append(ConvertedMember(fold.number, View.of(fold.settings), its, forward, flip))
    return found


def logits_by(fold: FinishedFold, threads: int, precision: str) -> Forward | None:
    """What gives a fold's logits by OpenVINO, from the network that is kept, which is converted where it is not.

    None where it is refused, or cannot be kept. Raises UserError where its weights are damaged.
    """
    try:
        if not keep_converted([fold]):
            return None
        content = (fold.folder / MODEL).read_bytes(), (fold.folder / WEIGHTS).read_bytes()
    except UserError:
        raise
    except Exception:  # a full disk, or whatever torch and OpenVINO raise: who converts for this time alone will tell
        return None
    core = openvinos_core()[1]
    return forward_of(core, core.read_model(*content), threads, precision, LOGITS)


def _columns(fold: FinishedFold, made: dict[str, Any]) -> tuple[str, ...] | None:
    """The prediction columns of a fold's network that is kept by a record; None where none is that can be taken."""
    if "columns" not in made:
        return None
    now = _made_of(fold) | {name: store.file_fingerprint(fold.folder / name) for name in (MODEL, WEIGHTS)}
    return tuple(made["columns"]) if {name: made.get(name) for name in now} == now else None


def _record(fold: FinishedFold) -> dict[str, Any]:
    """What stands of a fold's conversion; nothing where it is missing or damaged: then it is made again."""
    try:
        return store.read_json(fold.folder / RECORD)
    except (FileNotFoundError, UserError):
        return {}


def _was_refused(fold: FinishedFold, made: dict[str, Any]) -> bool:
    """Whether, by its record, this very network could not be converted before."""
    return "refused" in made and made | _made_of(fold) == made


def _made_of(fold: FinishedFold) -> dict[str, object]:
    return {"version": VERSION, "network": fold.network_fingerprint, "openvino": version("openvino")}


def keep_converted(folds: Sequence[FinishedFold]) -> bool:
    """Converts the networks of some folds and keeps them; takes seconds each. False where that was refused before.

    Raises whatever torch or OpenVINO raise for a network that they cannot convert, ValueError where they predict
    otherwise, and OSError where nothing can be written. A network that was refused is not tried again.
    """
    records = {fold.folder: _record(fold) for fold in folds}
    if any(_was_refused(fold, records[fold.folder]) for fold in folds):
        return False
    from pipeline.prediction.trained import trained_network

    for fold in folds:
        with store.locked(fold.folder / "openvino.lock", f"the conversion of {fold.name}", wait=True):
            if _columns(fold, records[fold.folder]) is not None or _columns(fold, _record(fold)) is not None:
                continue  # another process may have made it meanwhile
            task, network = trained_network(fold)
            try:
                _keep(fold, task, network)
            except (OSError, MemoryError):
                raise
            except Exception as problem:
                store.write_json(fold.folder / RECORD, _made_of(fold) | {"refused": str(problem)})
                raise
    return True


def _keep(fold: FinishedFold, task: Task, network: Network) -> None:
    """Converts a network and, where it predicts as torch's does, keeps it. Raises ValueError where it does not."""
    import torch

    from pipeline.prediction.engines import LogitsAndPredictions, openvino_model

    module = LogitsAndPredictions(task, network.eval()).eval()
    size = View.of(fold.settings).size
    content = dict(zip((MODEL, WEIGHTS), openvino_model(module, size), strict=True))
    photos = np.random.default_rng(0).integers(0, 256, (TRIED, *size, 3), np.uint8)
    core = openvinos_core()[1]
    model = core.read_model(content[MODEL], content[WEIGHTS])
    with torch.no_grad():
        wanted = module(torch.from_numpy(photos))[PREDICTIONS].numpy()
    found = forward_of(core, model, 1, "f32", PREDICTIONS)(photos)
    if not np.allclose(found, wanted, rtol=AGREED, atol=AGREED):  # NaN is not close
        raise ValueError(f"{fold.name} predicts otherwise by OpenVINO than by torch")
    for name, one in content.items():
        with store.replacing(fold.folder / name) as temporary:
            temporary.write_bytes(one)
    made = _made_of(fold) | {name: store.file_fingerprint(fold.folder / name) for name in content}
    store.write_json(fold.folder / RECORD, made | {"columns": list(task.columns)})
