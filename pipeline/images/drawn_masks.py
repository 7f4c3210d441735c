"""Masks drawn on photos as they are learned from, each time others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import MASKS
from pipeline.faces.draw_mask import draw_mask, draw_other

STREAM = 22
"""Keeps what is drawn apart from how the photo is altered after it."""
WRONG = 0.25
"""The share of masks worn wrong among those drawn where the label does not say which."""
NOTHING, ANY = -1, len(MASKS)
"""In place of a mask's code: nothing is drawn; a mask in any state."""


@dataclass(frozen=True)
class DrawnMasks:
    """What is drawn on the photos of some rows.

    points (M, 5, 2): landmarks in pixels, NaN where there are none, and nothing is drawn. states (M,): a mask's code,
    where none means a hand, a scarf or a beard, or NOTHING, or ANY. probabilities (M,): how often it is drawn.
    """

    points: NDArray[np.float32]
    states: NDArray[np.int8]
    probabilities: NDArray[np.float32]
    seed: int

    def __call__(self, photo: NDArray[np.uint8], epoch: int, row: int) -> NDArray[np.uint8]:
        """photo (H, W, 3) of a row -> the same with what is drawn on it; that follows from (seed, epoch, row)."""
        state = self.states[row]
        if state == NOTHING or np.isnan(self.points[row]).any():
            return photo
        rng = np.random.default_rng((self.seed, epoch, row, STREAM))
        if rng.random() >= self.probabilities[row]:
            return photo
        if state == ANY:
            state = MASKS.index("wrong" if rng.random() < WRONG else "worn")
        if MASKS[state] == "none":
            return draw_other(photo, self.points[row], rng)
        return draw_mask(photo, self.points[row], MASKS[state], rng)
