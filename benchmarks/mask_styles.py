"""Whether masks of a material are recognised by a specialist that has seen all others drawn, and none of it.

    python benchmarks/mask_styles.py --data FOLDER --work FOLDER

FOLDER's bare faces alone are learned from (lite, fold 0), with masks drawn on: of all materials, or of all but one.
Judged on the bare faces held out, each as it is and with a mask of that material worn right and worn wrong. What has
been trained in the working folder stands.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from measures import hardware

from models.labels import MASKS
from pipeline.dataset.run_data import data_of
from pipeline.faces import draw_mask
from pipeline.faces.mask_cloth import MATERIALS
from pipeline.images.framing import View
from pipeline.images.landmarks import prepared_landmarks
from pipeline.images.run_photos import prepared
from pipeline.prediction import ensemble
from pipeline.prediction.run_predictions import out_of_fold
from pipeline.run.fold_records import FinishedFold
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.stages.train import Train, train

DRAWN = 3
"""Masks drawn on each face held out, in each state."""


def held_out(
    run_folder: Path, fold: FinishedFold, material: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_]]:
    """Photos of the faces held out, with masks of a material drawn on and without, their true masks, and the people."""
    run = open_run(RunStage.of(run=run_folder))
    data, view = data_of(run), View.of(fold.settings)
    photos, points = prepared(run, data, view, None), prepared_landmarks(run, data, view, None)
    table = out_of_fold(fold)
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    made, states, people = [], [], []
    for photo, person in zip(table["photo"], table["person"], strict=True):
        row = place[photo]
        if np.isnan(points[row]).any():
            continue
        for state, name in enumerate(MASKS):
            for number in range(1 if name == "none" else DRAWN):
                rng = np.random.default_rng((row, state, number, 1000))
                drawn = name != "none"
                pixels = photos.pixels[row]
                made.append(draw_mask.draw_mask(pixels, points[row], name, rng, material) if drawn else pixels)
                states.append(state)
                people.append(person)
    return np.array(made), np.array(states), np.array(people)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=5.0)
    given = parser.parse_args()
    data = given.data.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    os.chdir(given.work)
    told: dict[str, object] = {"hardware": hardware()}
    for without in ("", *MATERIALS):
        draw_mask.MATERIALS = tuple(one for one in MATERIALS if one != without)
        folder = Path(f"runs/without-{without or 'none'}")
        train(
            Train.of(
                task="mask", run=folder, data=data, preset="lite", faces="given", drawn_masks=True, epochs=given.epochs
            )
        )
        fold = FinishedFold.read(folder / "mask/fold0")
        member = ensemble.load(fold, "cpu", 2)
        for material in MATERIALS if not without else (without,):
            pixels, states, people = held_out(folder, fold, material)
            right = member.predict(pixels).argmax(1) == states
            told[f"{material}, {'not seen' if without else 'seen'}"] = {
                "people": len(set(people)),
                "right": float(right.mean()),
                **{name: float(right[states == state].mean()) for state, name in enumerate(MASKS)},
            }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
