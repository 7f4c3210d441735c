"""How fast the faces of many photos are found, beside nothing but decoding and the detector, and in how much memory.

    python benchmarks/faces.py --photos 10000

Draws people at 384x512 and has their faces found as `prepare` does, in turns with the bare work on as many threads.
Prints one JSON document: photos a second of both (medians of the turns), the ratio, and the memory of the process after
a tenth of the photos and after all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measures import hardware

from pipeline.faces.detect import MODEL, Detector
from pipeline.faces.yunet import FACE_SCORE, NMS_IOU, TOP_K
from pipeline.images.found_faces import find_faces
from pipeline.images.photos import Photos
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import backdrop, take

SIZE = (384, 512)
DISTINCT = 100
"""Photos that differ; the others are the same files under other names."""


def draw(folder: Path, count: int) -> list[str]:
    """So many photos of drawn people, half of them masked."""
    names = [f"{number:06}.jpg" for number in range(count)]
    for number, name in enumerate(names[:DISTINCT]):
        rng = np.random.default_rng(number)
        photo, _ = take(
            Person(rng, number % 2, 20 + number % 40, 1.0), backdrop(rng), rng, ("none", "nose")[number % 2]
        )
        cv2.imwrite(str(folder / name), cv2.resize(photo, SIZE)[..., ::-1])
    for number, name in enumerate(names[DISTINCT:], DISTINCT):
        os.link(folder / names[number % DISTINCT], folder / name)
    return names


def bare(folder: Path, names: list[str], jobs: int) -> None:
    """Decode and search each photo, and keep nothing."""

    def work(some: list[str]) -> None:
        model = np.frombuffer(MODEL.content(), np.uint8)
        detector = cv2.FaceDetectorYN.create("onnx", model, np.empty(0, np.uint8), SIZE, FACE_SCORE, NMS_IOU, TOP_K)
        for name in some:
            detector.detect(cv2.imread(str(folder / name)))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, [names[job::jobs] for job in range(jobs)]))


def memory() -> float:
    """Megabytes of the process in memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measured(count: int, turns: int) -> dict[str, Any]:
    """Times of both in turns, and memory."""
    jobs, ours, theirs = joblib.cpu_count(), [], []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "photos"
        folder.mkdir()
        names = draw(folder, count)
        detector = Detector()
        find_faces(Photos(folder, names[: count // 10]), "some", detector, jobs, Path(home) / "kept")
        after_some = memory()
        for turn in range(turns):
            started = time.monotonic()
            find_faces(Photos(folder, names), f"turn{turn}", detector, jobs, Path(home) / "kept")
            ours.append(count / (time.monotonic() - started))
            after_all = memory()
            started = time.monotonic()
            bare(folder, names, jobs)
            theirs.append(count / (time.monotonic() - started))
            shutil.rmtree(Path(home) / "kept")
    return {
        "photos": count,
        "turns": turns,
        "faces_per_second": float(np.median(ours)),
        "bare_per_second": float(np.median(theirs)),
        "ratio": float(np.median(np.array(ours) / np.array(theirs))),
        "ratios": [float(o / t) for o, t in zip(ours, theirs, strict=True)],
        "megabytes_after_a_tenth": after_some,
        "megabytes_after_all": after_all,
        "hardware": hardware(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    print(json.dumps(measured(asked.photos, asked.turns), indent=2))


if __name__ == "__main__":
    main()
