"""Masks drawn on the bare faces that a network learns from: which rows, and what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.errors import UserError
from models.labels import MASKS
from pipeline.faces.draw_mask import can_be_masked
from pipeline.images.drawn_masks import ANY, NOTHING, DrawnMasks
from pipeline.images.extra_photos import Faces
from pipeline.run.train_settings import TrainingSettings
from pipeline.training.data import TrainingData

COVERED = 0.15
"""How often a bare face that stands for one without a mask has a hand, a scarf or a beard before its mouth."""
WORN, WRONG, NONE = (MASKS.index(name) for name in ("worn", "wrong", "none"))


def with_drawn_masks(
    data: TrainingData, task: str, faces: Faces, settings: TrainingSettings, name: str
) -> TrainingData:
    """What a network learns from, with masks drawn on the bare faces among its train rows as its settings say.

    The mask specialist learns each of them twice more, with a mask worn right and with one worn wrong; others find a
    mask on some, another one in each epoch. Where no face is found nothing is drawn, and for the mask specialist such
    photos of extra sets are left out, as they would all stand for bare ones. Raises UserError, with the training's
    name, where there is no face to draw on.
    """
    size = data.pixels.shape[1:3]
    fit = np.array([can_be_masked(faces.points[row], *size) for row in data.train], bool)
    rows = data.train[faces.bare[data.train] & fit]
    if not len(rows):
        raise UserError(
            f"{name}: masks are drawn on bare faces, and none is found in the photos to learn from; leave "
            f"--{'drawn-masks' if task == 'mask' else 'mask-bare'} out, or label bare faces as such (mask none)."
        )
    train, targets = data.train, data.targets
    again = np.concatenate([rows, rows]) if task == "mask" else rows[:0]
    once, every = len(targets), len(targets) + len(again)
    states, probabilities = np.full(every, NOTHING, np.int8), np.zeros(every, np.float32)
    if task == "mask":
        train = train[fit | ~data.is_extra | ~faces.bare[train]]
        drawn = np.repeat(np.float32([WORN, WRONG]), len(rows))
        targets = np.concatenate([targets, drawn])
        states[once:], probabilities[once:] = drawn, 1
        states[rows], probabilities[rows] = NONE, COVERED
    else:
        states[rows], probabilities[rows] = ANY, settings.mask_bare
    points = np.concatenate([faces.points, faces.points[again]])
    train = np.concatenate([train, np.arange(once, every)])
    drawing = DrawnMasks(points, states, probabilities, settings.seed)
    return replace(data, targets=targets, train=train, again=again, drawing=drawing)
