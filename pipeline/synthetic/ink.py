"""Ink for drawn people: colours, outlines, and layers to paint on.

Lengths are pixels of a photo at its natural scale, measured from the point between the eyes: x to the right,
y down. A layer is larger than a photo, so that a pose never shows its rim, and painted finer.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

FINE = 2
"""Fine pixels of a layer to a pixel of the photo."""
ORIGIN = np.array([140.0, 140.0])
"""Where the point between the eyes lies on a layer, in pixels of the photo."""
LAYER = (340, 280)
"""Height and width of a layer, in pixels of the photo."""

Points = NDArray[np.float64]  # (n, 2)
Colour = NDArray[np.float64]  # RGB, 0 to 255


def blend(a: ArrayLike, b: ArrayLike, t: float) -> NDArray[np.float64]:
    return np.asarray(a, float) * (1 - t) + np.asarray(b, float) * t


def shade_of(table: NDArray, t: float) -> Colour:
    """The colour at the share t of a table of colours, between two rows where need be."""
    place = min(max(t, 0), 1) * (len(table) - 1)
    i = min(int(place), len(table) - 2)
    return blend(table[i], table[i + 1], place - i)


def any_colour(rng: np.random.Generator, dull: float = 0.0) -> Colour:
    """A colour of any brightness; `dull` from 0 to 1 takes the saturation out."""
    colour = rng.uniform(15, 245, 3)
    return blend(colour, np.full(3, colour.mean()), dull)


def curve(points: ArrayLike, closed: bool = False, steps: int = 8) -> Points:
    """A smooth line (Catmull-Rom) through points of shape (n, 2)."""
    p = np.asarray(points, float)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.arange(steps)[None, :, None] / steps
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    line = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    line = line.reshape(-1, 2)
    return line if closed else np.concatenate([line, p[-2:-1]])


def both(right: ArrayLike) -> Points:
    """A symmetric outline from its right half, given from the top down; ends on the axis stand once."""
    right = np.asarray(right, float)
    left = right[::-1] * (-1, 1)
    left = left[1:] if right[-1, 0] == 0 else left
    return np.concatenate([right, left[:-1] if right[0, 0] == 0 else left])


def arc(x: float, y: float, half: float, bend: float, tilt: float = 0.0) -> Points:
    """A shallow arc centred on (x, y); a positive bend lowers its middle, a positive tilt its right end."""
    u = np.linspace(-1, 1, 9)
    return np.stack([x + half * u, y + bend * (1 - u**2) + tilt * u], 1)


_ROUND = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], 1)


def disc(x: float, y: float, radius: float) -> Points:
    return _ROUND * radius + (x, y)


class Layer:
    """A picture with opacity: `image` is premultiplied RGBA, uint8, in fine pixels."""

    def __init__(self) -> None:
        self.image = np.zeros((LAYER[0] * FINE, LAYER[1] * FINE, 4), np.uint8)
        self._touched = np.array([LAYER[1] * FINE, LAYER[0] * FINE, 0, 0])  # x0, y0, x1, y1

    def copy(self) -> "Layer":
        twin = Layer.__new__(Layer)
        twin.image, twin._touched = self.image.copy(), self._touched.copy()
        return twin

    def _place(self, points: ArrayLike, reach: float) -> NDArray[np.int64]:
        """The area of the layer within `reach` fine pixels of the points: x0, y0, x1, y1."""
        fine = (np.asarray(points, float) + ORIGIN) * FINE
        low = np.clip(np.floor(fine.min(0) - reach), 0, self.image.shape[1::-1])
        high = np.clip(np.ceil(fine.max(0) + reach), 0, self.image.shape[1::-1])
        return np.concatenate([low, high]).astype(np.int64)

    def _touch(self, points: ArrayLike, reach: float) -> None:
        place = self._place(points, reach)
        self._touched[:2] = np.minimum(self._touched[:2], place[:2])
        self._touched[2:] = np.maximum(self._touched[2:], place[2:])

    def fill(self, points: ArrayLike, colour: ArrayLike) -> None:
        self._touch(points, 3)
        cv2.fillPoly(self.image, [_fixed(points)], _ink(colour), cv2.LINE_AA, 4)

    def line(self, points: ArrayLike, colour: ArrayLike, width: float) -> None:
        thick = max(1, round(width * FINE))
        self._touch(points, thick + 3)
        cv2.polylines(self.image, [_fixed(points)], False, _ink(colour), thick, cv2.LINE_AA, 4)

    def glaze(self, shapes: list, colour: ArrayLike, opacity: float, *, width: float = 0.0, blur: float = 0.0) -> None:
        """Tint what is already painted: filled shapes, or lines where a width is given."""
        if not shapes or opacity <= 0:
            return
        x0, y0, x1, y1 = self._place(np.concatenate(shapes), 3 * blur * FINE + width * FINE + 3)
        if x1 <= x0 or y1 <= y0:
            return
        stencil = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for shape in shapes:
            points = _fixed(shape, (x0, y0))
            if width:
                cv2.polylines(stencil, [points], False, 255, max(1, round(width * FINE)), cv2.LINE_AA, 4)
            else:
                cv2.fillPoly(stencil, [points], 255, cv2.LINE_AA, 4)
        if blur:
            stencil = _soften(stencil, blur * FINE)
        area = self.image[y0:y1, x0:x1]
        share = cv2.convertScaleAbs(stencil, alpha=min(opacity, 1.0))
        tint = cv2.multiply(share, np.ascontiguousarray(area[..., 3]), scale=1 / 255)
        left = cv2.bitwise_not(share)
        new = cv2.merge([cv2.convertScaleAbs(tint, alpha=value / 255) for value in _ink(colour)])
        area[:] = cv2.add(cv2.multiply(area, cv2.merge([left] * 4), scale=1 / 255), new)

    def over(self, top: "Layer") -> None:
        """Lay another layer on this one."""
        x0, y0, x1, y1 = top._touched
        if x1 <= x0 or y1 <= y0:
            return
        self._touched[:2] = np.minimum(self._touched[:2], top._touched[:2])
        self._touched[2:] = np.maximum(self._touched[2:], top._touched[2:])
        area, upper = self.image[y0:y1, x0:x1], top.image[y0:y1, x0:x1]
        clear = cv2.bitwise_not(np.ascontiguousarray(upper[..., 3]))
        area[:] = cv2.add(cv2.multiply(area, cv2.merge([clear] * 4), scale=1 / 255), upper)


def _ink(colour: ArrayLike) -> tuple[float, float, float, float]:
    red, green, blue = np.clip(np.asarray(colour, float), 0, 255).tolist()
    return red, green, blue, 255.0


def _fixed(points: ArrayLike, corner: tuple[int, int] = (0, 0)) -> NDArray[np.int32]:
    return np.round(((np.asarray(points, float) + ORIGIN) * FINE - corner) * 16).astype(np.int32)


def _soften(stencil: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    if sigma < 4:
        return cv2.GaussianBlur(stencil, (0, 0), sigma)
    size = stencil.shape[::-1]  # a wide blur is as good, and sixteen times cheaper, at a quarter of the size
    small = cv2.resize(stencil, (max(1, size[0] // 4), max(1, size[1] // 4)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), size, interpolation=cv2.INTER_LINEAR)
