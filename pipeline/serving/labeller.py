"""A trained run, ready to label photos that are shown to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from pipeline.combiner import combiners
from pipeline.combiner.label_combiner import LabelCombiner
from pipeline.combiner.label_table import WORDS, labelled_faces, labelled_photos
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.dataset.run_data import NO_BOXES
from pipeline.images.photos import FaceSearch, Photos
from pipeline.images.run_photos import detector_of
from pipeline.prediction import ensemble
from pipeline.prediction.engine import REFERENCE, Engine
from pipeline.prediction.ensemble import EnsembleMember
from pipeline.prediction.run_predictions import check_calibrated, folds_in, framing_of, networks_of
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, WEIGHTS
from pipeline.run.folder import Run
from pipeline.runtime.progress import Progress


class Labelled(NamedTuple):
    """What a run says of photos.

    photos: a row for each, in order: photo, label, mask, gender, band in words, years and probabilities; columns that
    the system does not predict are left out. faces: the same for each face that was found, with its number and box;
    None where none are looked for.
    bad: the photos that cannot be decoded, with the reason, which have no row; cut_short: those whose file is.
    """

    photos: pd.DataFrame
    faces: pd.DataFrame | None
    bad: dict[str, str]
    cut_short: list[str]


@dataclass(frozen=True)
class Labeller:
    """A system's networks and combiner as predict and calibrate left them; crop, faces: as the run frames photos."""

    members: Sequence[EnsembleMember]
    combiner: ThresholdCombiner | LabelCombiner
    crop: float
    threads: int
    faces: FaceSearch | None = None
    boxed: bool = False
    """Whether the networks learned from photos cropped to face boxes, of which there are none here."""

    @classmethod
    def of_run(cls, run: Run, system: str, threads: int) -> Labeller:
        """What a run has trained and calibrated, with the engine that predicted.

        Raises UserError where it has not come that far, or where networks changed or came since.
        """
        networks, home = networks_of(run, system), run.home(system)
        for fold in folds_in(networks):
            fold.check(SETTINGS, WEIGHTS)
        check_calibrated(networks, run, home)
        predicted = records.last(home, "predict").metrics
        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        engine = Engine.of(predicted.get("engine", "torch"))
        if engine.name == "compiled":  # compiling takes longer than some photos
            engine = replace(REFERENCE, flip=engine.flip)
        members = [ensemble.load(fold, device, threads, engine) for fold in folds_in(networks)]
        framing = framing_of(networks)
        faces = framing and FaceSearch(framing, detector_of(framing, run.face_model), every=True)
        boxed = not framing and any(fold.inputs["boxes"] != NO_BOXES for fold in folds_in(networks))
        return cls(members, combiners.load(home / "combiner.json"), run.crop, threads, faces, boxed)

    def label(self, photos: Sequence[str], quiet: bool = False) -> Labelled:
        """Labels photos. photos: paths, each once; quiet: shows no progress."""
        names, shown = list(photos), Photos(Path(), photos, crop=self.crop, faces=self.faces)
        with Progress("label", len(names), "photos", quiet=quiet) as progress:
            found = ensemble.predict(self.members, shown, self.threads, progress)
        rows = pd.DataFrame(columns=["photo", "label", *WORDS])
        if len(found.bad) < len(names):
            rows = labelled_photos(self.combiner, found.table)
        faces = None if self.faces is None else labelled_faces(self.combiner, found.faces)
        return Labelled(rows, faces, found.bad, found.cut_short)
