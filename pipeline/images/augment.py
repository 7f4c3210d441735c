"""Training photos altered, each time another way."""

from __future__ import annotations

import os
import random

import cv2
import numpy as np
from numpy.typing import NDArray

from models.task import Augmentation

# It would look for updates at import; here, because a process that unpickles an Augmenter imports it without asking.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class Augmenter:
    """Alters training photos; what happens to a photo depends on (seed, epoch, photo) alone."""

    def __init__(self, strength: Augmentation, seed: int):
        import albumentations as alb

        s = strength
        self.seed = seed
        self.compose = alb.Compose(
            [
                alb.HorizontalFlip(p=s.flip),
                alb.Affine(
                    translate_percent=(-s.shift, s.shift),
                    scale=(1 - s.scale, 1 + s.scale),
                    rotate=(-s.rotate, s.rotate),
                    border_mode=cv2.BORDER_REPLICATE,
                    p=s.move,
                ),
                alb.RandomBrightnessContrast(p=s.light),
                alb.HueSaturationValue(p=s.colour),
                alb.ToGray(p=s.grey),
                alb.GaussianBlur(blur_limit=(3, 5), p=s.blur),
                alb.GaussNoise(std_range=(0.02, 0.08), p=s.noise),
                alb.CoarseDropout(
                    num_holes_range=(1, 1),
                    hole_height_range=(0.1, 0.3),
                    hole_width_range=(0.1, 0.3),
                    p=s.erase,
                ),
            ]
        )

    def __call__(self, photo: NDArray[np.uint8], epoch: int, index: int) -> NDArray[np.uint8]:
        """photo (H, W, 3) -> altered (H, W, 3)."""
        # `set_random_seed` would give every transform the same stream; this gives them one in turn.
        stream = np.random.default_rng((self.seed, epoch, index))
        self.compose.set_random_state(stream, random.Random(int(stream.integers(2**63))))
        return self.compose(image=np.array(photo))["image"]
