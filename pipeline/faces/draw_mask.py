"""Masks drawn on bare faces, and hands, scarves and beards that are none.

Everything is drawn from shapes and colours; no other photo is pasted in. What is drawn is in the photo's light, and as
sharp, noisy and compressed as some photo is. After Anwar and Raychowdhury (2020, MaskTheFace), who paste photographed
masks instead.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.labels import MASKS
from pipeline.faces.face_plane import MOUTH, FacePlane
from pipeline.faces.mask_cloth import MATERIALS, cloth
from pipeline.faces.mask_shapes import CUTS, WAYS, Outline, Shape, shape_of
from pipeline.faces.mouth_covers import COVERS, cover_mouth
from pipeline.faces.worn_in import exposed, shadowed, worn_in

Photo = NDArray[np.uint8]
FINE = 60.0
"""Pixels between the eyes at which a mask is drawn, before it is shrunk to the photo's."""
FINEST = 4
"""Pixels along a side that are drawn for one of the photo, at the most."""
SEEN = 0.6
"""The share of a mask's outline that must lie in the photo; where it does not, another way to wear it is tried."""
VERSION = 1
"""Of what is drawn, which trained networks have learned from."""
CUT_OF = {"surgical": ("flat", "flat", "wide"), "ffp2": ("beak", "beak", "cup")}
"""The cuts that a material comes in; others in any."""


def draw_mask(photo: Photo, points: NDArray[np.floating], state: str, rng: Generator, material: str = "") -> Photo:
    """A photo (H, W, 3) with a mask drawn on the face with these landmarks (5, 2) in pixels.

    state: worn or wrong, as in `MASKS`. material: one of MATERIALS, any where it is blank. Nothing else of the photo
    changes. Raises ValueError for another state.
    """
    if state not in WAYS:
        raise ValueError(f"a mask is drawn {' or '.join(WAYS)}, not {state}")
    plane = FacePlane.of(points)
    material = material or MATERIALS[rng.integers(len(MATERIALS))]
    cuts = CUT_OF.get(material, CUTS)
    height, width = photo.shape[:2]
    for way in rng.permutation(WAYS[state]):
        shape = shape_of(way, cuts[rng.integers(len(cuts))], rng)
        if _inside(plane.to_photo(shape.outline), height, width) >= SEEN:
            break
    return _Drawing(photo, plane, rng).mask(shape, material)


def can_be_masked(points: NDArray[np.floating], height: int, width: int) -> bool:
    """Whether a face with these landmarks lies in a photo of this size so that a mask on it shows."""
    if not np.isfinite(points).all():
        return False
    around = np.array([(0.0, 0.2), (-0.5, 0.6), (0.5, 0.6), (0.0, MOUTH), (0.0, 1.6)])
    return _inside(FacePlane.of(points).to_photo(around), height, width) == 1


def _inside(places: Outline, height: int, width: int) -> float:
    """The share of some places (N, 2) that lie in a photo."""
    return float(((places >= 0) & (places <= (width, height))).all(1).mean())


def draw_other(photo: Photo, points: NDArray[np.floating], rng: Generator) -> Photo:
    """A photo with a hand, a scarf or a beard before the mouth, which is no mask; as `draw_mask` otherwise."""
    return cover_mouth(photo, FacePlane.of(points), COVERS[rng.integers(len(COVERS))], rng)


class _Drawing:
    """A mask that is drawn on a photo, in a region around it at a finer resolution."""

    def __init__(self, photo: Photo, plane: FacePlane, rng: Generator):
        self.photo, self.plane, self.rng = photo, plane, rng

    def mask(self, shape: Shape, material: str) -> Photo:
        outline = self.plane.to_photo(shape.outline)
        straps = [self.plane.to_photo(strap) for strap in shape.straps]
        region = self._region([outline, *straps])
        if region is None:  # the mask lies beside the photo
            return self.photo.copy()
        left, top, right, bottom = region
        scale = int(np.clip(np.ceil(FINE / self.plane.unit), 1, FINEST))
        width, height = (right - left) * scale, (bottom - top) * scale
        grid = self.plane.grid(left, top, width, height, 1 / scale)

        def fine(line: Outline) -> NDArray[np.int32]:
            return np.round((line - (left, top)) * scale * 16).astype(np.int32)

        under = self.photo[top:bottom, left:right].astype(np.float32)
        alpha = np.zeros((height, width), np.uint8)
        cv2.fillPoly(alpha, [fine(outline)], 255, cv2.LINE_AA, 4)
        colours = self._lit(cloth(material, grid, self.rng), grid, under)
        size = (right - left, bottom - top)
        made = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
        covered = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        shaded = shadowed(under, covered, self.plane.unit, self.rng)
        drawn = self._with_straps(shaded, [fine(strap) for strap in straps], (height, width))
        made, covered = worn_in(made, covered, self.rng)
        drawn += (made - drawn) * covered[..., None]
        result = self.photo.copy()
        result[top:bottom, left:right] = np.clip(np.round(drawn), 0, 255).astype(np.uint8)
        return result

    def _region(self, lines: list[Outline]) -> tuple[int, int, int, int] | None:
        """What of the photo the lines may touch, and some pixels around: (left, top, right, bottom)."""
        every = np.concatenate(lines)
        around = 2 + self.plane.unit * 0.15
        height, width = self.photo.shape[:2]
        left, top = (int(max(0, side)) for side in np.floor(every.min(0) - around))
        right, bottom = (int(side) for side in np.minimum(np.ceil(every.max(0) + around), (width, height)))
        return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None

    def _lit(self, colours: NDArray[np.float32], grid: NDArray[np.float32], under: NDArray[np.float32]):
        """Cloth in the photo's light: as bright as its brightest, shaded to the sides and where the face is darker."""
        rng = self.rng
        u, v = grid[..., 0] - self.plane.turned, grid[..., 1]
        shade = 1 - rng.uniform(0.05, 0.4) * u**2 - rng.uniform(0, 0.25) * np.clip(v - 1.1, 0, 1)
        shade += rng.uniform(-0.18, 0.18) * u
        grey = under.mean(2)
        coarse = cv2.resize(grey, (6, 6), interpolation=cv2.INTER_AREA)
        light = (coarse + 20) / (coarse.mean() + 20)
        light = cv2.resize(light, (u.shape[1], u.shape[0]), interpolation=cv2.INTER_LINEAR)
        shade *= np.clip(light, 0.5, 1.6) ** rng.uniform(0.1, 0.7)
        return exposed(self.photo, colours * np.clip(shade, 0.3, 1.5)[..., None], rng)

    def _with_straps(
        self, face: NDArray[np.float32], straps: list[NDArray[np.int32]], fine: tuple[int, int]
    ) -> NDArray[np.float32]:
        rng = self.rng
        if rng.random() < 0.25:  # under the hair
            return face
        thick = max(1, round(self.plane.unit * fine[1] / face.shape[1] * rng.uniform(0.012, 0.035)))
        alpha = np.zeros(fine, np.uint8)
        cv2.polylines(alpha, straps, False, 255, thick, cv2.LINE_AA, 4)
        covered = cv2.resize(alpha, (face.shape[1], face.shape[0]), interpolation=cv2.INTER_AREA) / 255.0
        level = rng.choice((235.0, 235.0, 25.0, 160.0)) * rng.uniform(0.85, 1.05)
        covered = (covered * rng.choice((1.0, 1.0, 0.35)))[..., None].astype(np.float32)  # some are transparent
        return face + (level - face) * covered


assert set(WAYS) < set(MASKS)
