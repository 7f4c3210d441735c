"""An exported model at work: photos in, labels out. It needs numpy, OpenCV and onnxruntime alone.

`export` writes these lines, and those that find and frame faces, as label.py beside the networks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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
FORMAT = 2
"""Of the folder; model.json holds it."""
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm")
"""Of the files that are taken out of a folder."""
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "500000000")  # a small file may claim to be larger
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

    Raises ValueError, with a sentence, where the folder is none or a file that is used is not what it was.
    """

    def __init__(self, folder: Path, threads: int = 0):
        try:
            self.about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            if self.about["format"] != FORMAT:
                raise ValueError(f"{folder} was written by another version of face18; export the run again")
            digests, networks, faces = self.about["files"], self.about["networks"], self.about["faces"]
            needed = [made["file"] for made in networks] + ([faces["detector"]] if faces else [])
            content = {name: (folder / name).read_bytes() for name in needed}
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as problem:
            raise ValueError(f"{folder} is no folder that export wrote, or not whole ({problem!r})") from None
        for name in needed:
            if hashlib.sha256(content[name]).hexdigest() != digests.get(name):
                raise ValueError(f"{folder / name} is not what export wrote; export the run again")
        self.networks = [(made, _session(content[made["file"]], threads)) for made in networks]
        self.detector = YuNet(content[faces["detector"]]) if faces else None
        self.typical = TypicalEyes(*faces["typical"]) if faces else None

    def label(self, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """A row a photo, in order: photo, label, mask, gender, band, predictions and, where faces are found, faces.

        A photo that cannot be decoded has photo and error alone.
        """
        for start in range(0, len(photos), AT_ONCE):
            yield from self._labelled(photos[start : start + AT_ONCE])

    def _labelled(self, photos: Sequence[Path]) -> list[dict[str, Any]]:
        rows, waiting = [], []
        for path in photos:
            pixels = read_photo(path)
            rows.append({"photo": str(path)} if pixels is not None else {"photo": str(path), "error": "no photo"})
            for where, views in [] if pixels is None else self._framed(pixels):
                waiting.append((rows[-1], where, views))
                if len(waiting) == AT_ONCE:  # a crowd's faces take megabytes
                    self._tell(waiting)
                    waiting = []
        self._tell(waiting)
        return rows

    def _tell(self, shown: list[tuple[dict[str, Any], dict[str, Any] | None, list[NDArray[np.uint8]]]]) -> None:
        """Puts what is said of photos or faces into the rows of their photos."""
        told = self._predicted([views for *_, views in shown]) if shown else []
        for (row, where, _), one in zip(shown, told, strict=True):
            if where is None or where["face"] == 0:
                row |= one
            if self.detector is not None:
                row.setdefault("faces", []).extend([] if where is None else [where | one])

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
        found: dict[str, list[NDArray[np.float32]]] = {}
        folds: dict[str, list[int]] = {}
        for number, (made, session) in enumerate(self.networks):
            pixels = np.stack([views[number] for views in shown])
            predictions = session.run(None, {"photos": pixels})[0]
            if made["flip"]:
                mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
                predictions = (predictions + session.run(None, {"photos": mirrored})[0]) / 2
            for column, values in zip(made["columns"], predictions.T, strict=True):
                found.setdefault(column, []).append(values)
                folds.setdefault(column, []).append(made["folds"])
        means = {column: np.average(np.float64(values), 0, folds[column]) for column, values in found.items()}
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


def _session(content: bytes, threads: int) -> Any:
    """A network, ready to run. Raises ValueError where this onnxruntime cannot run it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # its own kinds, which are no ValueError
        raise ValueError(f"this onnxruntime cannot run the networks ({str(problem).splitlines()[0]})") from None


def read_photo(path: Path) -> NDArray[np.uint8] | None:
    """A photo's pixels (height, width, 3), RGB and upright, what is transparent laid on white; None of no photo."""
    try:
        content = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
        if pixels is None:
            return None
        whole = None if bytes(content[:2]) == b"\xff\xd8" else cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except (OSError, MemoryError, cv2.error):
        return None
    if whole is not None and whole.ndim == 3 and whole.shape[2] == 4 and whole.shape[:2] == pixels.shape[:2]:
        alpha = whole[:, :, 3:].astype(np.float32) / np.iinfo(whole.dtype).max
        pixels = np.round(255 + (pixels - np.float32(255)) * alpha).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, ::-1])


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
        if not photos:
            raise ValueError(f"there is no photo in {', '.join(map(str, given.photos))}")
        model = ExportedModel(given.model, max(0, given.threads))
        if model.about["boxed"]:
            print(
                "label.py: the networks learned from photos cropped to face boxes; expect more errors", file=sys.stderr
            )
        return _print(model.label(photos), given.json)
    except ValueError as problem:
        print(f"label.py: {problem}.", file=sys.stderr)
        return 2
    except ModuleNotFoundError as missing:
        print(f"label.py: the package {missing.name} is not installed; pip install {missing.name}.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what is printed has gone, like head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print(rows: Iterator[dict[str, Any]], as_json: bool) -> int:
    """Prints a line a photo; returns 1 where one could not be decoded, else 0."""
    bad = 0
    for row in rows:
        name = row["photo"] if row["photo"].isprintable() else repr(row["photo"])
        if as_json:
            print(json.dumps(row), flush=True)
        elif "error" in row:
            print(f"{name}: {row['error']}", file=sys.stderr, flush=True)
        else:
            said = f"mask {row['mask']}, {row['gender']}, {row['band']} ({row['age_years']:.0f})"
            print(f"{name}: {row['label']}, {said}", flush=True)
        bad += "error" in row
    return 1 if bad else 0


def _in_folder(folder: Path) -> Iterator[Path]:
    """The photos of a folder and of those in it, by their endings; hidden ones are none."""
    for path in folder.rglob("*"):
        hidden = any(name.startswith(".") for name in path.relative_to(folder).as_posix().split("/"))
        if not hidden and path.suffix.lower() in ENDINGS and path.is_file():
            yield path
