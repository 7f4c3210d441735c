"""Masks drawn on bare faces: a sheet of them to look at, and what drawing one costs.

    python benchmarks/drawn_masks.py --sheet docs/masks.png              # on drawn people
    python benchmarks/drawn_masks.py --sheet out.png --photos FOLDER     # on the bare faces in a folder's photos
    python benchmarks/drawn_masks.py                                     # milliseconds a photo, as JSON

Rows of the sheet are people; columns a bare face, four masks worn right, three worn wrong, and what is no mask. Costs
are those of one thread at the photo sizes of lite, beside altering a photo and a training step of its network (forward
and backward, a share of a batch of 32) on the same thread, medians of turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measures import hardware

from pipeline.faces.detect import Detector
from pipeline.faces.draw_mask import draw_mask, draw_other
from pipeline.faces.face_framing import chosen_face
from pipeline.images.decode import decode
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import backdrop, take

ROWS, HEIGHT, WIDTH = 5, 200, 150
PLACES = np.array([(0.36, 0.4), (0.64, 0.4), (0.5, 0.55), (0.4, 0.68), (0.6, 0.68)])
"""Where a face's landmarks are in a photo that it fills, as shares of its sides."""
TURNS = 5


def faces(folder: Path | None) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Bare faces with their landmarks: of a folder's photos, or of drawn people."""
    detector = Detector(Path("package"))
    if folder is None:
        people = (np.random.default_rng(number) for number in range(100))
        photos = (
            take(Person(rng, number % 2, 18 + number * 9 % 60, 1.0), backdrop(rng), rng, "none")[0]
            for number, rng in enumerate(people)
        )
    else:
        photos = (decode(path).pixels for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    for photo in photos:
        shrunk = HEIGHT / photo.shape[0]
        face = chosen_face(detector.find(photo))
        if face is not None:
            small = cv2.resize(photo, (round(photo.shape[1] * shrunk), HEIGHT), interpolation=cv2.INTER_AREA)
            yield small, np.array(face.landmarks) * shrunk


def sheet(path: Path, folder: Path | None) -> None:
    rows = []
    for number, (photo, points) in zip(range(ROWS), faces(folder), strict=False):
        streams = iter([np.random.default_rng((number, column)) for column in range(9)])
        cells = [photo, *(draw_mask(photo, points, "worn", next(streams)) for _ in range(4))]
        cells += [draw_mask(photo, points, "wrong", next(streams)) for _ in range(3)]
        cells.append(draw_other(photo, points, next(streams)))
        rows.append(np.concatenate([cv2.resize(cell, (WIDTH, HEIGHT)) for cell in cells], axis=1))
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 9))


def milliseconds(work: Callable[[int], object], count: int) -> float:
    """Of a piece of work, called with 0 to count - 1: the median of turns."""
    turns = []
    for _ in range(TURNS):
        started = time.perf_counter()
        for number in range(count):
            work(number)
        turns.append((time.perf_counter() - started) / count * 1000)
    return round(median(turns), 3)


def costs() -> dict[str, dict[str, float]]:
    import torch

    from models.backbone import build
    from models.tasks import build_task
    from pipeline.images.augment import Augmenter
    from pipeline.run.presets import PRESETS

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    told = {}
    for task in ("mask", "gender", "age"):
        settings = PRESETS["lite"][task]
        one = build_task(task, settings)
        photo = np.random.default_rng(0).integers(60, 190, (settings.height, settings.width, 3)).astype(np.uint8)
        points = PLACES * (settings.width, settings.height)
        network = build(settings, one.num_logits).train()
        photos = torch.zeros(32, 3, settings.height, settings.width, dtype=torch.uint8)
        augmenter = Augmenter(one.augmentation, 0)

        def drawn(number: int, photo=photo, points=points) -> None:
            draw_mask(photo, points, ("worn", "wrong")[number % 2], np.random.default_rng(number))

        told[f"{task}, {settings.height}x{settings.width}"] = {
            "a mask": milliseconds(drawn, 200),
            "altering": milliseconds(lambda number, photo=photo, augmenter=augmenter: augmenter(photo, 0, number), 200),
            "a step": milliseconds(lambda _, network=network, photos=photos: network(photos).sum().backward(), 3) / 32,
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--photos", type=Path)
    given = parser.parse_args()
    if given.sheet:
        sheet(given.sheet, given.photos)
    else:
        print(json.dumps({"hardware": hardware(), "milliseconds a photo": costs()}, indent=1))


if __name__ == "__main__":
    main()
