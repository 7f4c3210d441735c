"""What is drawn on a photo, made to look as if photographed with it: light, grey, noise, blur, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
Colours = NDArray[np.float32]
"""(height, width, 3), 0 to 255, RGB."""
COLOURLESS = 6.0
"""A photo whose colours are no farther than this from grey, on average, is black and white."""


def exposed(photo: Photo, colours: Colours, rng: Generator) -> Colours:
    """Colours as bright as the brightest of a photo allow, and grey on a black and white one."""
    exposure = np.clip(np.percentile(photo[::4, ::4], 95) / 225, 0.35, 1.1) ** rng.uniform(0.6, 1.2)
    return colourless_too(photo, colours * np.float32(exposure))


def colourless_too(photo: Photo, colours: Colours) -> Colours:
    """Colours, grey where a photo is black and white."""
    if float(np.ptp(photo[::4, ::4].astype(np.float32), axis=2).mean()) < COLOURLESS:
        return np.repeat(colours.mean(2, keepdims=True), 3, axis=2)
    return colours


def worn_in(colours: Colours, covered: NDArray[np.float32], rng: Generator) -> tuple[Colours, NDArray[np.float32]]:
    """Colours, and how much of each pixel (H, W) they cover, as sharp, noisy and compressed as some photos are."""
    colours = colours + rng.normal(0, rng.uniform(0, 5), colours.shape[:2]).astype(np.float32)[..., None]
    if rng.random() < 0.4:
        blur = rng.uniform(0.3, 1.0)
        colours, covered = cv2.GaussianBlur(colours, (0, 0), blur), cv2.GaussianBlur(covered, (0, 0), blur)
    if rng.random() < 0.3:
        told = np.clip(colours, 0, 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", told[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))))
        colours = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32)
    return colours, covered


def shadowed(under: Colours, covered: NDArray[np.float32], unit: float, rng: Generator) -> Colours:
    """A face with the shadow that an edge throws on it; unit: the distance between the eyes, in pixels."""
    soft = cv2.GaussianBlur(covered, (0, 0), max(0.5, unit * rng.uniform(0.02, 0.08)))
    return under * (1 - rng.uniform(0.1, 0.5) * soft * (1 - covered))[..., None]
