"""Hands, scarves and beards before a mouth: what a mask classifier must not take for a mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.faces.face_plane import FacePlane
from pipeline.faces.mask_cloth import cloth
from pipeline.faces.mask_shapes import smooth
from pipeline.faces.worn_in import colourless_too, exposed, shadowed, worn_in

Photo = NDArray[np.uint8]
COVERS = ("hand", "scarf", "beard")
FINE = 2
"""Pixels along a side that are drawn for one of the photo."""


def cover_mouth(photo: Photo, plane: FacePlane, what: str, rng: Generator) -> Photo:
    """A photo (H, W, 3) with one of COVERS drawn over the mouth of the face on a plane."""
    height, width = photo.shape[:2]
    grid = plane.grid(0, 0, width, height, 1.0)
    alpha, colours = {"hand": _hand, "scarf": _scarf, "beard": _beard}[what](photo, plane, grid, rng)
    # As masks are, or how it is drawn would tell that it is none.
    colours = exposed(photo, colours, rng) if what == "scarf" else colourless_too(photo, colours)
    colours, alpha = worn_in(colours.astype(np.float32), np.clip(alpha, 0, 1).astype(np.float32), rng)
    under = photo.astype(np.float32) if what == "beard" else shadowed(photo.astype(np.float32), alpha, plane.unit, rng)
    drawn = under + (colours - under) * alpha[..., None]
    return np.clip(np.round(drawn), 0, 255).astype(np.uint8)


def _filled(plane: FacePlane, outline: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """How much of each pixel an outline of the face covers (H, W)."""
    fine = np.zeros((shape[0] * FINE, shape[1] * FINE), np.uint8)
    cv2.fillPoly(fine, [np.round(plane.to_photo(outline) * FINE * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.resize(fine, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _skin(photo: Photo, plane: FacePlane) -> NDArray[np.float32]:
    """The colour of the cheeks and the forehead."""
    height, width = photo.shape[:2]
    places = plane.to_photo(np.array([(-0.6, 0.5), (0.6, 0.5), (0.0, -0.5), (-0.3, -0.5), (0.3, -0.5)]))
    x = np.clip(places[:, 0].round().astype(int), 0, width - 1)
    y = np.clip(places[:, 1].round().astype(int), 0, height - 1)
    return np.median(photo[y, x].astype(np.float32), axis=0)


def _hand(photo: Photo, plane: FacePlane, grid: NDArray[np.float32], rng: Generator):
    """Fingers across the mouth, from one side."""
    shape = photo.shape[:2]
    skin = _skin(photo, plane) * rng.uniform(0.85, 1.1)
    side, lean = rng.choice((-1.0, 1.0)), rng.uniform(-0.5, 0.5)
    alpha, colours = np.zeros(shape, np.float32), np.broadcast_to(skin, photo.shape).astype(np.float32).copy()
    thick = rng.uniform(0.11, 0.15)
    around = np.linspace(-np.pi / 2, np.pi / 2, 7)
    for finger in range(int(rng.integers(3, 5))):
        y = 0.72 + finger * thick * 1.9 + rng.uniform(-0.03, 0.03)
        tip = -side * rng.uniform(0.2, 0.6)
        # A round tip, thinner than where the finger begins.
        x = np.concatenate(
            [tip - side * 0.85 * thick * np.cos(around), (side * 0.5, side * 1.5, side * 1.5, side * 0.5)]
        )
        across = np.concatenate([0.85 * np.sin(around), (1.05, 1.1, -1.1, -1.05)]) * thick
        outline = np.column_stack([x, y + across + lean * side * (x - tip) * 0.3])
        covered = _filled(plane, outline, shape)
        inner = cv2.GaussianBlur(covered, (0, 0), max(0.6, plane.unit * thick * 0.5)) ** 1.5
        lit = skin * (0.55 + 0.5 * inner)[..., None]
        colours = colours * (1 - covered[..., None]) + lit * covered[..., None]
        alpha = np.maximum(alpha, covered)
    return alpha, colours


def _scarf(photo: Photo, plane: FacePlane, grid: NDArray[np.float32], rng: Generator):
    """Cloth from the mouth or the chin down to the photo's edge, in loose folds."""
    top, wide = rng.uniform(0.85, 1.5), rng.uniform(1.15, 1.5)
    sag = rng.uniform(-0.1, 0.25)
    corners = [(-wide, top - 0.1), (-0.5 * wide, top + sag * 0.7), (0, top + sag), (0.5 * wide, top + sag * 0.7)]
    outline = np.array([*corners, (wide, top - 0.1), (wide * 1.3, 4.0), (-wide * 1.3, 4.0)])
    alpha = _filled(plane, outline, photo.shape[:2])
    colours = cloth(("cloth", "printed")[rng.integers(2)], grid, rng)
    u, v = grid[..., 0], grid[..., 1]
    folds = 1 + rng.uniform(0.1, 0.3) * np.sin(rng.uniform(5, 12) * (v + rng.uniform(-0.4, 0.4) * u) + 2 * u**2)
    return alpha, colours * np.clip(folds, 0.5, 1.4)[..., None]


def _beard(photo: Photo, plane: FacePlane, grid: NDArray[np.float32], rng: Generator):
    """Hair around the mouth, which stays free; dark, brown, red or grey."""
    shape = photo.shape[:2]
    low = rng.uniform(1.75, 2.3)
    half = [(0.82, 0.55), (0.86, 1.0), (0.7, low * 0.75), (0.3, low * 0.97)]
    outline = [(0.0, 0.78), (0.32, 0.86), (0.55, 0.95), *half, (0.0, low)]
    mirrored = [(-x, y) for x, y in outline[-2:0:-1]]
    alpha = _filled(plane, smooth(np.array([*outline, *mirrored])), shape)
    lips = _filled(plane, smooth(np.array([(-0.3, 1.04), (0, 0.96), (0.3, 1.04), (0, 1.16)])), shape)
    colour = np.array(((35, 28, 24), (70, 48, 32), (110, 66, 36), (150, 148, 146), (205, 203, 200))[rng.integers(5)])
    strands = rng.normal(0, 0.18, shape).astype(np.float32)
    strands = cv2.GaussianBlur(strands, (0, 0), 0.6, sigmaY=1.2)
    dense = cv2.GaussianBlur(alpha, (0, 0), max(0.6, plane.unit * 0.06)) * rng.uniform(0.75, 0.97)
    colours = colour.astype(np.float32) * (1 + 1.6 * strands)[..., None]
    return dense * (1 - lips), colours
