"""What masks are made of: colours, patterns and folds, over a face's own coordinates."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Colours = NDArray[np.float32]
"""(height, width, 3), 0 to 255, RGB."""
MATERIALS = ("surgical", "ffp2", "cloth", "black", "printed")
_SURGICAL = ((150, 200, 232), (120, 178, 222), (176, 216, 238), (160, 214, 196), (236, 240, 244), (238, 190, 208))
_FFP2 = ((244, 244, 242), (232, 234, 236), (250, 248, 240), (60, 62, 66), (196, 204, 214))


def cloth(material: str, grid: NDArray[np.float32], rng: Generator) -> Colours:
    """The colours of a material at places (height, width, 2) of a face, its folds' light and dark included."""
    u, v = grid[..., 0], grid[..., 1]
    if material == "surgical":
        colours = _plain(u, _SURGICAL[rng.integers(len(_SURGICAL))], rng)
        folds = _pleats(v, rng)
    elif material == "ffp2":
        colours = _plain(u, _FFP2[rng.integers(len(_FFP2))], rng)
        folds = _crease(u, v, rng)
    elif material == "black":
        level = rng.uniform(12, 52)
        colours = _plain(u, (level, level, level * rng.uniform(1.0, 1.15)), rng)
        folds = _crease(u, v, rng) if rng.random() < 0.5 else _wrinkles(u.shape, rng)
    elif material == "cloth":
        colours = _plain(u, _any_colour(rng), rng)
        folds = (_crease(u, v, rng), _wrinkles(u.shape, rng), _pleats(v, rng))[rng.integers(3)]
    elif material == "printed":
        colours = _printed(u, v, rng)
        folds = _wrinkles(u.shape, rng)
    else:
        raise ValueError(f"no material is called {material}")
    return colours * folds[..., None]


def _any_colour(rng: Generator) -> tuple[float, ...]:
    """A colour as cloth has it: any hue, mostly not the most vivid."""
    hue, vivid, light = rng.random(), rng.beta(2, 2.5), rng.uniform(0.15, 0.98)
    return tuple(255 * one for one in colorsys.hsv_to_rgb(hue, vivid, light))


def _plain(u: NDArray[np.float32], colour: tuple[float, ...], rng: Generator) -> Colours:
    shifted = np.clip(np.array(colour, np.float32) + rng.normal(0, 6, 3).astype(np.float32), 0, 255)
    return np.broadcast_to(shifted, (*u.shape, 3)).astype(np.float32)


def _printed(u: NDArray[np.float32], v: NDArray[np.float32], rng: Generator) -> Colours:
    """Stripes, checks, dots or blots of two colours."""
    ground, ink = np.array(_any_colour(rng), np.float32), np.array(_any_colour(rng), np.float32)
    angle, often = rng.uniform(0, np.pi), rng.uniform(3, 11)
    a = np.cos(angle) * u + np.sin(angle) * v
    b = np.cos(angle) * v - np.sin(angle) * u
    kind = rng.integers(4)
    if kind == 0:
        there = np.sin(2 * np.pi * often * a) > rng.uniform(-0.6, 0.6)
    elif kind == 1:
        there = (np.sin(2 * np.pi * often * a) > 0) ^ (np.sin(2 * np.pi * often * b) > 0)
    elif kind == 2:
        there = np.cos(2 * np.pi * often * a) + np.cos(2 * np.pi * often * b) > rng.uniform(0.8, 1.5)
    else:
        there = _noise(u.shape, rng, int(rng.integers(4, 12))) > rng.uniform(-0.3, 0.6)
    return np.where(there[..., None], ink, ground).astype(np.float32)


def _pleats(v: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """Folds across: light above and dark below each."""
    count, deep = rng.integers(2, 5), rng.uniform(0.05, 0.22)
    place = (v - rng.uniform(0.4, 0.6)) / 1.1 * (count + 1)
    within = place - np.floor(place)
    dark = np.exp(-((within / 0.12) ** 2)) - 0.4 * np.exp(-(((within - 0.85) / 0.12) ** 2))
    return (1 - deep * dark).astype(np.float32)


def _crease(u: NDArray[np.float32], v: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """A fold down the middle, one side of it in the shade."""
    deep, soft, side = rng.uniform(0.04, 0.2), rng.uniform(0.02, 0.12), rng.choice((-1, 1))
    line = np.exp(-((u / soft) ** 2)) * deep
    return (1 - line - 0.5 * deep * np.tanh(side * u / 0.2)).astype(np.float32)


def _wrinkles(shape: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    return (1 + rng.uniform(0.02, 0.09) * _noise(shape, rng, int(rng.integers(3, 7)))).astype(np.float32)


def _noise(shape: tuple[int, int], rng: Generator, cells: int) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and deviation of about 1, so many waves across."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
