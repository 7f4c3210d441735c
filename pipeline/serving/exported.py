"""An exported model at work: photos in, labels out. It needs numpy, OpenCV and onnxruntime alone.

`export` writes these lines, and those that find and frame faces, as label.py beside the networks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.frame import TypicalEyes, eyes_of, frame_face
from pipeline.faces.yunet import YuNet
from pipeline.images.framing import fit

ABOUT = "model.json"
"""What an exported folder says of itself."""
AT_ONCE = 32
"""Photos, or faces, that are predicted together."""
MASK_NAMES, GENDER_NAMES, BAND_NAMES = (
    ("worn", "wrong", "none"),
    ("male", "female"),
    ("under 30", "30 to 59", "60 and over"),
)
"""label = mask * 6 + gender * 3 + band."""


class ExportedModel:
    """The networks of a folder that export wrote; threads: of the processor, 0 for all.

    Raises ValueError, with a sentence, where the folder is none or a file of it is not what it was.
    """

    def __init__(self, folder: Path, threads: int = 0):
        import onnxruntime

        try:
            self.about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise ValueError(f"{folder} is no folder that export wrote: {ABOUT} cannot be read ({problem})") from None
        content = {name: (folder / name).read_bytes() for name in self.about["files"]}
        for name, digest in self.about["files"].items():
            if hashlib.sha256(content[name]).hexdigest() != digest:
                raise ValueError(f"{folder / name} is not what export wrote; export the run again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self.networks = [
            (made, onnxruntime.InferenceSession(content[made["file"]], options, providers=providers))
            for made in self.about["networks"]
        ]
        faces = self.about["faces"]
        self.detector = YuNet(content[faces["detector"]]) if faces else None
        self.typical = TypicalEyes(*faces["typical"]) if faces else None

    def label(self, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """A row a photo, in order: photo, label, mask, gender, band, predictions and, where faces are found, faces.

        A photo that cannot be decoded has photo and error alone.
        """
        for start in range(0, len(photos), AT_ONCE):
            yield from self._labelled(photos[start : start + AT_ONCE])

    def _labelled(self, photos: Sequence[Path]) -> list[dict[str, Any]]:
        rows, shown = [], []
        for path in photos:
            pixels = read_photo(path)
            rows.append({"photo": str(path)} if pixels is not None else {"photo": str(path), "error": "no photo"})
            if pixels is not None:
                shown += [(rows[-1], where, views) for where, views in self._framed(pixels)]
        for start in range(0, len(shown), AT_ONCE):
            some = shown[start : start + AT_ONCE]
            for (row, where, _), told in zip(some, self._predicted([views for *_, views in some]), strict=True):
                if where is None or where["face"] == 0:
                    row |= told
                if self.detector is not None:
                    faces = row.setdefault("faces", [])
                    faces += [] if where is None else [where | told]
        return rows

    def _framed(self, photo: NDArray[np.uint8]) -> list[tuple[dict[str, Any] | None, list[NDArray[np.uint8]]]]:
        """The whole photo, or its faces, the largest first: where each is, and as each network sees it."""
        sizes = [(made["height"], made["width"], made["margin"]) for made, _ in self.networks]
        if self.detector is None:
            return [(None, [fit(photo, size, None, self.about["crop"]) for size in sizes])]
        found = []
        for number, face in enumerate(self.detector.find(photo)):
            left, top, wide, high = face.box
            where = {"face": number, "box_x": left, "box_y": top, "box_w": wide, "box_h": high, "score": face.score}
            found.append((where, [frame_face(photo, h, w, eyes_of(face), margin) for h, w, margin in sizes]))
        if not found:  # as if a face were where they usually are
            eyes = self.typical.on(photo.shape[1], photo.shape[0])
            found.append((None, [frame_face(photo, h, w, eyes, margin) for h, w, margin in sizes]))
        return found

    def _predicted(self, shown: list[list[NDArray[np.uint8]]]) -> list[dict[str, Any]]:
        """What is said of each photo or face, seen by each network: label, words, and the means over folds."""
        sums: dict[str, list[NDArray[np.float32]]] = {}
        for number, (made, session) in enumerate(self.networks):
            pixels = np.stack([views[number] for views in shown])
            predictions = session.run(None, {"photos": pixels})[0]
            if made["flip"]:
                mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
                predictions = (predictions + session.run(None, {"photos": mirrored})[0]) / 2
            for column, values in zip(made["columns"], predictions.T, strict=True):
                sums.setdefault(column, []).append(values)
        means = {column: np.mean(values, 0, dtype=np.float64) for column, values in sums.items()}
        mask = np.stack([means[f"mask_{name}"] for name in MASK_NAMES], 1).argmax(1)
        gender = (means["gender_female"] > 0.5).astype(int)
        low, high = self.about["thresholds"]
        band = (means["age_years"] >= low).astype(int) + (means["age_years"] >= high)
        return [
            {"label": int(mask[i] * 6 + gender[i] * 3 + band[i]), "mask": MASK_NAMES[mask[i]]}
            | {"gender": GENDER_NAMES[gender[i]], "band": BAND_NAMES[band[i]]}
            | {column: round(float(values[i]), 6) for column, values in means.items()}
            for i in range(len(shown))
        ]


def read_photo(path: Path) -> NDArray[np.uint8] | None:
    """A photo's pixels (height, width, 3), RGB and upright; None where it cannot be decoded."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError:
        return None
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    return None if pixels is None else np.ascontiguousarray(pixels[:, :, ::-1])


def main(words: Sequence[str] | None = None) -> int:
    """Labels photos that are named: a line each, as JSON with --json. Returns 1 where one cannot be decoded."""
    parser = argparse.ArgumentParser(description="Label photos of people: mask, gender, age band.")
    parser.add_argument("photos", nargs="+", type=Path, help="photos, or folders of photos")
    parser.add_argument(
        "--model", type=Path, default=Path(__file__).resolve().parent, help="the folder of the networks"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each photo")
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0 for all")
    given = parser.parse_args(words)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    photos = [photo for name in given.photos for photo in ([name] if not name.is_dir() else sorted(_in_folder(name)))]
    try:
        model = ExportedModel(given.model, given.threads)
    except ValueError as problem:
        print(f"label.py: {problem}.", file=sys.stderr)
        return 2
    bad = 0
    for row in model.label(photos):
        bad += "error" in row
        print(json.dumps(row) if given.json else _line(row), flush=True)
    return 1 if bad else 0


def _in_folder(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['photo']}: {row['error']}"
    return (
        f"{row['photo']}: {row['label']}, mask {row['mask']}, {row['gender']}, {row['band']} ({row['age_years']:.0f})"
    )
