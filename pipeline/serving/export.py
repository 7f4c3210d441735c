"""A trained run as a folder to take along: ONNX files, what is needed to use them rightly, and a program that does."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.declared import declared
from models.errors import UserError, listed
from models.labels import NAMES
from models.settings import ModelSettings
from pipeline.combiner import combiners
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.dataset.run_data import NO_BOXES
from pipeline.faces.detect import MODEL, PACKAGE
from pipeline.images.framing import View
from pipeline.images.run_photos import detector_of
from pipeline.prediction.engine import Engine
from pipeline.prediction.engines import Predicting
from pipeline.prediction.run_predictions import Networks, check_calibrated, folds_in, framing_of, networks_of
from pipeline.prediction.trained import trained_network
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, WEIGHTS, FinishedFold
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.runtime.progress import Progress
from pipeline.serving.bundle import portable
from pipeline.serving.exported import ABOUT, FORMAT
from pipeline.serving.model_card import model_card

OPSET = 18
DETECTOR, PROGRAM, CARD = "detector.onnx", "label.py", "MODEL_CARD.md"
AGREED = 1e-4
"""How far an exported network's predictions may be from torch's; of years a hundred times as far."""
TRIED = 8
"""Photos of noise that both predict."""


def export_run(run: Run, system: str, folder: Path) -> dict[str, Any]:
    """Writes the folder; returns what model.json holds.

    model.json is written last and knows every other file by its SHA-256. Raises UserError where the run has not come
    that far, where a rival predicts, and where an exported network predicts otherwise than the one that was trained.
    """
    networks, home = networks_of(run, system), run.home(system)
    for fold in folds_in(networks):
        fold.check(SETTINGS, WEIGHTS)
    check_calibrated(networks, run, home)
    combiner = combiners.load_for_photos(home / "combiner.json")
    if not isinstance(combiner, ThresholdCombiner):
        raise UserError(f"the system {system} predicts no years; only systems with age thresholds can be exported.")
    engine = Engine.of(records.last(home, "predict").metrics.get("engine", "torch"))
    if engine.precision != "float32":
        raise UserError(
            f"{home / 'combiner.json'} is calibrated to predictions in {engine.precision}, and exported networks "
            f"predict in float32; run predict again with --engine openvino, then calibrate."
        )
    files: dict[str, bytes] = {}
    described = []
    with Progress("export", len(folds_in(networks)), "networks") as progress:
        for folds in alike(networks):
            task, view = folds[0].task, View.of(folds[0].settings)
            name = f"{task}-fold{'-'.join(str(fold.number) for fold in folds)}.onnx"
            files[name], columns = onnx_of(folds)
            described.append(
                {"file": name, "task": task, "folds": len(folds), "columns": columns, "flip": engine.flip}
                | {"height": view.height, "width": view.width, "margin": view.margin}
            )
            progress.advance(len(folds))
    faces = _faces(run, networks, files)
    margin = declared(ModelSettings)["face_margin"].default
    files[PROGRAM] = portable(margin).encode()
    files[CARD] = model_card(run, networks, home, combiner.report_).encode()
    about = {
        "format": FORMAT,
        "made_by": "face18",
        "labels": list(NAMES),
        "networks": described,
        "crop": run.crop,
        "faces": faces,
        "boxed": learned_from_boxes(networks),
        "thresholds": list(combiner.thresholds_),
        "expected": combiner.report_["expected"],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    (folder / ABOUT).unlink(missing_ok=True)  # until all is there, nothing is
    for name, content in files.items():
        with store.replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    for old in folder.glob("*-fold*.onnx"):
        if old.name not in files:
            old.unlink(missing_ok=True)
    store.write_json(folder / ABOUT, about)
    return about


def _faces(run: Run, networks: Networks, files: dict[str, bytes]) -> dict[str, Any] | None:
    """How faces are found and framed, None where they are not; the detector's model goes to the files."""
    framing = framing_of(networks)
    if framing is None:
        return None
    detector_of(framing, run.face_model)
    files[DETECTOR] = MODEL.content() if str(run.face_model) == PACKAGE else run.face_model.read_bytes()
    return {"detector": DETECTOR, "typical": list(framing.typical)}


def learned_from_boxes(networks: Networks) -> bool:
    """Whether networks learned from photos with face boxes, which an exported folder knows nothing of."""
    return any(fold.inputs["boxes"] != NO_BOXES for fold in folds_in(networks))


def alike(networks: Networks) -> list[list[FinishedFold]]:
    """The folds that one file holds: those of a task that see photos in the same view."""
    found: dict[tuple[str, View], list[FinishedFold]] = {}
    for fold in folds_in(networks):
        found.setdefault((fold.task, View.of(fold.settings)), []).append(fold)
    return list(found.values())


class Averaged(torch.nn.Module):
    """The mean of what networks predict, as the mean over folds is."""

    def __init__(self, members: Sequence[Predicting]):
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return torch.stack([member(photos) for member in self.members]).mean(0)


def onnx_of(folds: Sequence[FinishedFold]) -> tuple[bytes, list[str]]:
    """The mean over folds of a network as ONNX, photos (N, H, W, 3) uint8 in and prediction columns out; the columns.

    Raises UserError where it cannot be exported, or predicts otherwise than torch.
    """
    members = []
    for fold in folds:
        task, network = trained_network(fold)
        members.append(Predicting(task, network.eval()))
    module = (Averaged(members) if len(members) > 1 else members[0]).eval()
    name = f"{folds[0].task} {listed([f'fold {fold.number}' for fold in folds])}"
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (TRIED, *View.of(folds[0].settings).size, 3), np.uint8)
    with torch.no_grad():
        wanted = module(torch.from_numpy(photos)).numpy()
    try:
        content = _exported(module, torch.from_numpy(photos[:2]))
        found = _run(content, photos)
    except Exception as problem:  # exporters raise whatever they raise
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{name} cannot be exported as ONNX ({first}).") from problem
    allowed = np.array([AGREED * (100 if column == "age_years" else 1) for column in task.columns])
    off = np.abs(found - wanted).max(0)
    if not (off <= allowed).all():  # NaN is neither
        worst = task.columns[int(np.nan_to_num(off / allowed, nan=np.inf).argmax())]
        raise UserError(
            f"{name}: the exported network's {worst} is off by {off.max():.2g}, so it is not "
            f"written; tell us which torch and onnxruntime these are."
        )
    return content, list(task.columns)


def _exported(module: torch.nn.Module, photos: torch.Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of there being a newer exporter, which needs more packages
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            module, (photos,), file, input_names=["photos"], output_names=["predictions"], opset_version=OPSET,
            dynamic_axes={"photos": {0: "count"}, "predictions": {0: "count"}}, dynamo=False,
        )  # fmt: skip
        return file.read_bytes()


def _run(content: bytes, photos: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"photos": photos})[0]
