"""Outlines of masks and their straps, in a face's own coordinates (face_plane.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Outline = NDArray[np.float64]
WAYS = {
    "worn": ("over the nose",),
    "wrong": ("under the nose", "on the chin", "under the chin", "off one ear"),
}
"""How a mask sits, by the label it makes."""
CUTS = ("flat", "cup", "beak", "wide")
"""flat: a surgical mask; cup: sewn cloth; beak: FFP2; wide: a large one, up to below the eyes."""
WHERE = {
    "over the nose": ((0.18, 0.42), (0.05, 0.2), (1.3, 1.45)),
    "under the nose": ((0.74, 0.92), (-0.12, 0.06), (0.8, 1.0)),
    "on the chin": ((1.22, 1.38), (-0.25, 0.0), (0.5, 0.7)),
    "under the chin": ((1.62, 1.8), (-0.25, 0.0), (0.4, 0.65)),
    "off one ear": ((0.18, 0.42), (0.05, 0.2), (1.15, 1.35)),
}
"""Of each way, from and to: where the upper edge has its middle (the tip of the nose is at 0.62, the lower lip at 1.2),
how much lower its corners are, and how far down the mask reaches from there."""
EAR = (1.0, 0.22)
"""Where an ear holds a strap."""


@dataclass(frozen=True)
class Shape:
    """A mask's outline (N, 2), smooth and closed, and its straps, each a line (M, 2)."""

    outline: Outline
    straps: tuple[Outline, ...]


def shape_of(way: str, cut: str, rng: Generator) -> Shape:
    """A mask of a cut, as it sits in a way of WAYS; sizes differ from one to the next."""
    wide = {"flat": 0.86, "cup": 0.88, "beak": 0.84, "wide": 0.95}[cut] * rng.uniform(0.9, 1.08)
    jaw = wide * {"flat": 0.82, "cup": 0.74, "beak": 0.66, "wide": 0.80}[cut] * rng.uniform(0.92, 1.08)
    bridge, higher, high = WHERE[way]
    bridge = rng.uniform(*bridge)
    top = bridge + rng.uniform(*higher)
    side = top + rng.uniform(0.5, 0.72) * min(1.0, high[1] / 1.3)
    chin = max(bridge, top) + rng.uniform(*high)
    if cut == "wide" and way == "over the nose":
        bridge, top = bridge - 0.06, top - 0.06
    if way in ("on the chin", "under the chin"):  # where the face is narrower
        wide, jaw = wide * rng.uniform(0.72, 0.9), jaw * rng.uniform(0.75, 0.95)
    half = _half(cut, wide, jaw, top, bridge, side, chin)
    outline = smooth(np.concatenate([half, half[-2:0:-1] * (-1, 1)]), sharp=cut in ("flat", "beak"))
    corners = np.array([(-wide, top + 0.04), (wide, top + 0.04), (-jaw, side), (jaw, side)])
    if way == "off one ear":
        outline, corners = _hanging(outline, corners, rng)
        return Shape(outline, _straps(corners, rng, sides=(0,)))
    return Shape(outline, _straps(corners, rng))


def _half(
    cut: str, wide: float, jaw: float, top: float, bridge: float, side: float, chin: float
) -> NDArray[np.float64]:
    """The right half of an outline, from the bridge of the nose round to the chin."""
    middle = {"flat": 0.45, "cup": 0.25, "beak": 0.55, "wide": 0.4}[cut]
    dip = bridge + (top - bridge) * middle
    return np.array(
        [
            (0.0, bridge),
            (0.28 * wide, bridge + (dip - bridge) * 0.5),
            (0.62 * wide, dip + (top - dip) * 0.5),
            (wide, top),
            (wide * 1.01, (top + side) / 2),
            (jaw + (wide - jaw) * 0.6, side),
            (jaw * 0.9, side + (chin - side) * 0.4),
            (jaw * 0.56, side + (chin - side) * 0.82),
            (jaw * 0.22, chin - (0.01 if cut != "beak" else 0.04)),
            (0.0, chin),
        ]
    )


def smooth(points: Outline, sharp: bool = False, each: int = 6) -> Outline:
    """A closed Catmull-Rom spline through points (N, 2), `each` steps from one to the next; `sharp` ones bend less."""
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, each, endpoint=False)[:, None, None]
    slope = 0.25 if sharp else 0.5
    first, last = (after - before) * slope, (beyond - points) * slope
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * points
        + (t**3 - 2 * t**2 + t) * first
        + (3 * t**2 - 2 * t**3) * after
        + (t**3 - t**2) * last
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def _hanging(outline: Outline, corners: Outline, rng: Generator) -> tuple[Outline, Outline]:
    """An outline that hangs off the left ear, half turned to the side, and its corners; or off the right one."""
    about = np.array([-EAR[0] + 0.1, EAR[1] + 0.15])
    angle = rng.uniform(0.5, 1.1)
    cos, sin = np.cos(angle), np.sin(angle)
    squeezed = np.array([rng.uniform(0.55, 0.85), 1.0])

    def turn(points: Outline) -> Outline:
        from_corner = (points - corners[0]) * squeezed
        return about + from_corner @ np.array([[cos, sin], [-sin, cos]])

    turned, turned_corners = turn(outline), turn(corners)
    if rng.random() < 0.5:
        turned, turned_corners = turned * (-1, 1), turned_corners * (-1, 1)
    return turned, turned_corners


def _straps(corners: Outline, rng: Generator, sides: tuple[int, ...] = (0, 1)) -> tuple[Outline, ...]:
    """Straps from the upper and lower corners (left, right, left, right) of a mask to the ears, or around the head."""
    straps = []
    around_head = rng.random() < 0.15
    for side in sides:
        upper, lower = corners[side], corners[side + 2]
        sign = np.sign(upper[0]) or 1.0
        ear = np.array([sign * EAR[0], EAR[1]])
        if around_head:
            straps.append(np.array([upper, (sign * 1.25, upper[1] - 0.55)]))
            straps.append(np.array([lower, (sign * 1.2, lower[1] - 0.1)]))
            continue
        bow = np.array([sign * 0.04, 0.03])
        straps.append(np.array([upper, (upper + ear) / 2 - bow, ear + (0, -0.12)]))
        straps.append(np.array([lower, (lower + ear) / 2 + bow, ear + (0, 0.14)]))
    return tuple(straps)
