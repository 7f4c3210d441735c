"""A trained run, ready to label photos that are shown to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.combiner import combiners
from pipeline.combiner.label_table import WORDS, labelled_faces, labelled_photos
from pipeline.combiner.threshold_combiner import ThresholdCombiner
from pipeline.dataset.reach import BadPhotoError, PhotoBytes
from pipeline.dataset.run_data import NO_BOXES
from pipeline.images.decode import decode
from pipeline.images.photos import FaceSearch, FittedPhoto, Photos, fitted
from pipeline.images.run_photos import detector_of
from pipeline.prediction import converted, over_photos
from pipeline.prediction.engine import BATCH_SIZE, REFERENCE, Engine
from pipeline.prediction.openvino_models import OPENVINO_BATCH_SIZE
from pipeline.prediction.run_predictions import check_calibrated, folds_in, framing_of, networks_of
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, WEIGHTS, FinishedFold
from pipeline.run.folder import Run
from pipeline.runtime.gpu import has_gpu
from pipeline.runtime.progress import Progress
from pipeline.serving.labelled import Labelled

if TYPE_CHECKING:
    from pipeline.combiner.label_combiner import LabelCombiner


@dataclass(frozen=True)
class Labeller:
    """A system's networks and combiner as predict and calibrate left them; crop, faces: as the run frames photos."""

    members: Sequence[over_photos.Predictor]
    combiner: ThresholdCombiner | LabelCombiner
    crop: float
    threads: int
    faces: FaceSearch | None = None
    boxed: bool = False
    """Whether the networks learned from photos cropped to face boxes, of which there are none here."""
    kept: bool = False
    """Whether the networks are those that the run keeps converted, which answer sooner."""

    @classmethod
    def of_run(cls, run: Run, system: str, threads: int) -> Labeller:
        """What a run has trained and calibrated: the networks that it keeps converted, else the engine that predicted.

        Raises UserError where it has not come that far, or where networks changed or came since.
        """
        networks, home = networks_of(run, system), run.home(system)
        for fold in folds_in(networks):
            fold.check(SETTINGS, WEIGHTS)
        check_calibrated(networks, run, home)
        predicted = records.last(home, "predict").metrics
        engine = Engine.of(predicted.get("engine", "torch"))
        folds = folds_in(networks)
        members = None if has_gpu() else _kept(folds, threads, engine)
        kept = members is not None
        if members is None:
            members = _by_torch(folds, threads, engine)
        framing = framing_of(networks)
        faces = framing and FaceSearch(framing, detector_of(framing, run.face_model), every=True)
        boxed = not framing and any(fold.inputs["boxes"] != NO_BOXES for fold in folds)
        return cls(members, combiners.load_for_photos(home / "combiner.json"), run.crop, threads, faces, boxed, kept)

    @property
    def together(self) -> int:
        """Photos that cost the networks about as much as one: what fills their batches."""
        return OPENVINO_BATCH_SIZE * self.threads if self.kept else BATCH_SIZE

    def told(self) -> str:
        """What bands go by."""
        return self.combiner.told()

    def label(self, photos: Sequence[str], quiet: bool = False) -> Labelled:
        """Labels photos. photos: paths, each once; quiet: shows no progress."""
        shown = Photos(Path(), photos, crop=self.crop, faces=self.faces)
        with Progress("label", len(photos), "photos", quiet=quiet) as progress:
            return self._labelled(over_photos.predict(self.members, shown, self.threads, progress))

    def look_at(self, photo: PhotoBytes, most_pixels: float | None, most_faces: int) -> FittedPhoto | str:
        """A photo as the networks see it, or, as a string, why it cannot be decoded. Any number of threads may ask.

        most_pixels: of one that is decoded; most_faces: beside the one that counts, the largest.
        """
        try:
            decoded = decode(photo, most_pixels)
        except BadPhotoError as problem:
            return str(problem)
        views = list(dict.fromkeys(member.view for member in self.members))
        faces = self.faces and replace(self.faces, most=most_faces)
        return fitted(decoded, views, photo.name, crop=self.crop, faces=faces)

    def label_seen(self, names: Sequence[str], photos: Sequence[FittedPhoto]) -> Labelled:
        """Labels photos that `look_at` saw; of names, each once."""
        return self._labelled(over_photos.predict_decoded(self.members, names, photos))

    def _labelled(self, found: over_photos.Predicted) -> Labelled:
        rows = pd.DataFrame(columns=["photo", "label", *WORDS])
        if len(found.table):
            rows = labelled_photos(self.combiner, found.table)
        faces = None if self.faces is None else labelled_faces(self.combiner, found.faces)
        return Labelled(rows, faces, found.bad, found.cut_short)


def keep_networks(run: Run, system: str) -> bool:
    """Keeps a system's networks converted, for the next start not to need torch; as `keep_converted` does."""
    return converted.keep_converted(folds_in(networks_of(run, system)))


def _kept(folds: Sequence[FinishedFold], threads: int, engine: Engine) -> list[converted.ConvertedMember] | None:
    """The networks that a run keeps converted, as precise as the engine that predicted; None without them."""
    precise = "bf16" if str(engine).startswith("openvino-bfloat16") else "f32"
    return converted.converted(folds, threads, precise, engine.flip)


def _by_torch(folds: Sequence[FinishedFold], threads: int, engine: Engine) -> list[over_photos.Predictor]:
    """The networks by the engine that predicted, loaded by torch."""
    import torch

    from pipeline.prediction import ensemble

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if engine.name == "compiled":  # compiling takes longer than some photos
        engine = replace(REFERENCE, flip=engine.flip)
    return [ensemble.load(fold, device, threads, engine) for fold in folds]
