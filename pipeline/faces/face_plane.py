"""The plane of a face: where on a photo the places of a face are, by its five landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOUTH = 1.05
"""How far the mouth lies below the eyes, in distances between these, in a face seen from before."""
NOSE_SHIFT = 1.1
"""How far the outline turns to the side, as a share of how far the tip of the nose does."""


@dataclass(frozen=True)
class FacePlane:
    """A face's own coordinates: x to the viewer's right along the eyes, y down to the mouth, from between the eyes.

    In distances between the eyes, as if seen from before: eyes at (-0.5, 0) and (0.5, 0), the mouth at (0, MOUTH), the
    chin at about (0, 1.75). Foreshortening is the photo's; `turned` is where the tip of the nose lies to the side.
    """

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    """(2, 2): its columns are a step along x and one along y, in pixels."""
    turned: float

    @classmethod
    def of(cls, points: NDArray[np.floating]) -> FacePlane:
        """By the landmarks (5, 2) in pixels: the eyes, the tip of the nose, the corners of the mouth, left ones first.

        Left is where a viewer sees it.
        """
        points = np.asarray(points, np.float64)
        origin, mouth = points[:2].mean(0), points[3:].mean(0)
        along, down = points[1] - points[0], (mouth - origin) / MOUTH
        apart, high = max(np.hypot(*along), 1.0), max(np.hypot(*down), 1e-6)
        # One of a face from the side, or nodding, is foreshortened; neither by more than a half.
        along = along * max(1.0, 0.55 * high / apart)
        down = down * max(1.0, 0.55 * apart / high)
        axes = np.column_stack([along, down])
        if abs(np.linalg.det(axes)) < 1e-3:  # points that are no face's
            axes = np.array([[apart, 0.0], [0.0, apart]])
        nose = np.linalg.solve(axes, points[2] - origin)
        return cls(origin, axes, float(np.clip(nose[0], -0.6, 0.6)))

    @property
    def unit(self) -> float:
        """The distance between the eyes, in pixels, as if seen from before."""
        return float(np.sqrt(abs(np.linalg.det(self.axes))))

    def to_photo(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (N, 2) of the face -> pixels (N, 2): what stands out of the face, at its middle, turns the most."""
        places = np.asarray(places, np.float64)
        out = np.clip(1 - (places[:, 0] / 1.1) ** 2, 0, 1) * np.clip((places[:, 1] + 0.1) / 0.5, 0, 1)
        turned = places + np.column_stack([NOSE_SHIFT * self.turned * out, np.zeros(len(places))])
        return self.origin + turned @ self.axes.T

    def grid(self, left: float, top: float, width: int, height: int, step: float) -> NDArray[np.float32]:
        """The places (height, width, 2) of the pixels of a region that begins at (left, top), `step` pixels apart.

        Flat: without what turns with the nose.
        """
        x = left + (np.arange(width) + 0.5) * step
        y = top + (np.arange(height) + 0.5) * step
        inverse = np.linalg.inv(self.axes)
        dx, dy = x - self.origin[0], y - self.origin[1]
        u = inverse[0, 0] * dx[None, :] + inverse[0, 1] * dy[:, None]
        v = inverse[1, 0] * dx[None, :] + inverse[1, 1] * dy[:, None]
        return np.stack([u, v], axis=2).astype(np.float32)
