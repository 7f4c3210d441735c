"""Photos of a drawn person: expression, mask, pose, light, and what a camera does to them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.faces import MOUTH, NOSE, Person
from pipeline.synthetic.ink import FINE, ORIGIN, Layer, Points, any_colour, arc, blend, both, curve, disc, shade_of
from pipeline.synthetic.people import SKIN

HEIGHT, WIDTH = 256, 192
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right", "chin")
"""The landmarks; left and right as the viewer sees them."""
WORN = ("right", "nose", "chin", "none")
"""How a mask can be worn: right, under the nose, on the chin, not at all."""

_USUAL = np.array(
    [(245, 246, 248), (28, 28, 32), (150, 195, 225), (120, 122, 125),
     (40, 60, 110), (235, 170, 185), (60, 120, 90)], float
)  # fmt: skip
# Pleated, folded cup, seamed cloth, scarf: how wide at the upper corners, the middle and the lower corners,
# in widths of the face there.
_CUTS = ((0.985, 0.97, 0.72), (0.97, 1.03, 0.62), (0.99, 1.0, 0.8), (1.02, 1.06, 0.95))
_SCARF = 3
_EYES = np.array([WIDTH / 2, 112.0])  # where the point between the eyes lies in an unposed photo


def backdrop(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A room, a street or a studio wall, out of focus: RGB uint8, 40 pixels larger than a photo each way."""
    high, wide = HEIGHT + 40, WIDTH + 40

    def ink(dull: float) -> tuple[float, ...]:
        return tuple(any_colour(rng, dull).tolist())

    down = np.linspace(0, 1, high)[:, None, None]
    top = any_colour(rng, 0.75)
    bottom = blend(top, any_colour(rng, 0.75), rng.uniform(0, 0.8))
    image = np.broadcast_to(top * (1 - down) + bottom * down, (high, wide, 3)).astype(np.uint8).copy()
    kind, colour = int(rng.integers(5)), ink(0.75)
    if kind == 1:  # lights
        for x, y, radius in rng.integers((0, 0, 6), (wide, high, 24), (14, 3)).tolist():
            cv2.circle(image, (x, y), radius, ink(0.75), -1, cv2.LINE_AA)
    elif kind == 2:  # boards
        step = int(rng.integers(14, 40))
        for x in range(0, wide, 2 * step):
            cv2.rectangle(image, (x, 0), (x + step, high), colour, -1)
    elif kind == 3:  # a window or a picture
        x, y, w, h = rng.integers((-20, -20, 50, 60), (wide - 40, 80, 110, 140)).tolist()
        cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
    elif kind == 4:  # books
        for y in range(int(rng.integers(30)), high, 54):
            x = 0
            while x < wide:
                w, h = rng.integers((7, 26), (18, 48)).tolist()
                cv2.rectangle(image, (x, y + 50 - h), (x + w, y + 50), ink(0.75), -1)
                x += w + 1
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(3, 7))


def take(
    who: Person, behind: NDArray[np.uint8], rng: np.random.Generator, worn: str
) -> tuple[NDArray[np.uint8], Points]:
    """A photo of a person before a backdrop, the mask worn in one of the ways in WORN.

    Returns RGB uint8 of shape (HEIGHT, WIDTH, 3) and the landmarks, in pixels, of shape (len(POINTS), 2).
    """
    layer = who.base.copy()
    half, corner = _mouth(layer, who, rng)
    if worn != "none":
        _mask(layer, who, rng, worn)
    layer.over(who.front)
    if who.glasses:
        _spectacles(layer, who)
    eye = who.eye_gap
    points = np.array([(-eye, 0), (eye, 0), (0, NOSE), (-half, corner), (half, corner), (0, who.chin)])
    return _shoot(layer, behind, points, rng, who.difficulty)


def _mouth(layer: Layer, who: Person, rng: np.random.Generator) -> tuple[float, float]:
    """Paint a mouth that smiles more or less. Returns how far its corners lie from the axis, and how low."""
    smile, half = rng.uniform(-0.5, 4.5), rng.uniform(12.5, 16)
    gape = rng.uniform(2, 6) if rng.random() < 0.35 else 0.0
    full = (1.8 + 3.4 * who.lips) * (1 - 0.35 * who.thin)
    ink = blend(who.skin * (0.78, 0.52, 0.5), (195, 40, 65), 0.85 * max(0.0, who.lips - 0.3))
    corner = MOUTH - smile * 0.5
    upper, middle = arc(0, corner, half, smile - full), arc(0, corner, half, smile)
    lower = arc(0, corner, half, smile + full * 1.3 + gape)
    layer.fill(np.concatenate([upper, lower[::-1]]), ink)
    if gape:
        inside = arc(0, corner, half * 0.85, smile + gape)
        layer.fill(np.concatenate([middle[1:-1], inside[::-1]]), (250, 248, 244))
    layer.line(middle, who.dark * 0.6, 1.3)
    return half, corner


def _spectacles(layer: Layer, who: Person) -> None:
    gap, thick = who.eye_gap, 1.2 if who.glasses < 3 else 2.4
    for side in (-1, 1):
        rim = disc(side * gap, 2, 13)
        if who.glasses > 1:
            rim = curve([(side * gap + x, y) for x, y in ((-15, -8), (15, -8), (13, 10), (-13, 10))], True)
        layer.glaze([rim], (235, 245, 255), 0.12)
        layer.line([*rim, rim[0]], who.glass_colour, thick)
        layer.line([(side * (gap + 14), -3), (side * (who.width + 4), -5)], who.glass_colour, 1.6)
    layer.line(arc(0, 0, gap - 13.5, -2), who.glass_colour, 1.6)


def _mask(layer: Layer, who: Person, rng: np.random.Generator, worn: str) -> None:
    """Lay a mask of any colour, cut and pattern on the face."""
    kind = rng.random()
    if kind < 0.75:
        colour = rng.choice(_USUAL)
    elif kind < 0.8:  # near some skin, so that colour alone does not tell a mask
        colour = shade_of(SKIN, rng.random()) + rng.uniform(-30, 30, 3)
    else:
        colour = any_colour(rng)
    colour = np.clip(colour * rng.uniform(0.9, 1.05), 8, 250)
    cut = int(rng.integers(len(_CUTS)))
    slip = min(who.difficulty, 2.0)  # how near to the tip of the nose an edge may come, on either side
    if worn == "right":
        top, bottom = rng.uniform(7, 13 + 2.5 * slip), who.chin + rng.uniform(2, 6)
    elif worn == "nose":
        top, bottom = rng.uniform(34.5 - slip, 38), who.chin + rng.uniform(2, 8)
    else:
        top, bottom = rng.uniform(50, 56), who.chin + rng.uniform(8, 16)
    side_top = top - rng.uniform(2, 8) if worn == "chin" else top + rng.uniform(1, 6)
    middle, low = blend(side_top, bottom, 0.45), blend(side_top, bottom, 0.85)
    tail = bottom + (rng.uniform(8, 18) if cut == _SCARF else 0)

    wide = [share * max(who.half_width(min(y, who.chin - 12)), 24.0)
            for share, y in zip(_CUTS[cut], (side_top, middle, low), strict=True)]  # fmt: skip
    right = [(0, top), (9, top + 0.6), (wide[0] * 0.6, (top + side_top) / 2 + 0.5), (wide[0], side_top),
             (wide[1], middle), (wide[2], low), (9, tail - 1), (0, tail)]  # fmt: skip
    shape = both(right)
    slant = rng.uniform(-0.05, 0.05)
    shape[:, 1] += slant * shape[:, 0]
    shape = curve(shape, closed=True, steps=6)

    thread = blend(colour, (235, 235, 235), 0.3) if rng.random() < 0.6 else colour * 0.7
    if cut != _SCARF:
        for side in (-1, 1):
            for x, y, ear in ((wide[0], side_top, -4), (wide[2], low, 14)):
                layer.line([(side * x, y + slant * side * x), (side * (who.width + 2), ear)], thread, 1.6)
    layer.glaze([shape + (0, 1.5)], who.dark, 0.5, blur=1.8)
    cloth = Layer()
    cloth.fill(shape, colour)
    _pattern(cloth, rng, top, tail)
    dark = colour * 0.62
    cloth.glaze(_folds(cut, top, tail), dark, 0.7, width=1.2)
    if worn == "chin":
        creases = [arc(rng.uniform(-5, 5), blend(top, tail, f), 30, 5) for f in (0.3, 0.6)]
        cloth.glaze(creases, dark, 0.6, width=1.4)
    if worn == "right":
        cloth.glaze([disc(-3, NOSE - 2, 8)], (255, 255, 255), 0.25, blur=4)
    shadow = [(44, side_top), (30, middle), (26, tail), (60, tail)]
    cloth.glaze([curve(shadow, closed=True)], (0, 0, 0), 0.3, blur=5)
    cloth.glaze([[*shape, shape[0]]], dark, 0.8, width=1.4)
    layer.over(cloth)


def _folds(cut: int, top: float, tail: float) -> list[Points]:
    """The lines that belong to a cut: pleats, two folds, a seam, or waves."""
    span = tail - top
    if cut == 0:
        return [arc(0, top + span * f, 60, 3) for f in (0.3, 0.5, 0.7)] + [arc(0, top + 2.5, 22, -1)]
    if cut == 1:
        return [arc(0, top + span * 0.38, 52, -4), arc(0, top + span * 0.68, 52, 4)]
    if cut == 2:
        return [curve([(0, top), (1, top + span * 0.4), (0, tail)])]
    wave = np.array([(-50, 0), (-15, 4), (20, -2), (50, 5)])
    return [curve(wave + (0, top + span * f)) for f in (0.25, 0.55, 0.8)]


def _pattern(cloth: Layer, rng: np.random.Generator, top: float, tail: float) -> None:
    """Dots, bars, slanting stripes, checks, or (two times in three) nothing."""
    pattern, ink, gap = int(rng.integers(12)), any_colour(rng, 0.7), rng.uniform(6, 11)
    rows, columns = np.arange(top - 4, tail + 4, gap), np.arange(-56, 57, gap)
    bars = [[(-60, y), (60, y)] for y in rows]
    if pattern == 0:
        dots = [disc(x + gap / 2 * (i % 2), y, gap * 0.25) for i, y in enumerate(rows) for x in columns]
        cloth.glaze(dots, ink, 0.9)
    elif pattern == 1:
        cloth.glaze(bars, ink, 0.8, width=gap * 0.35)
    elif pattern == 2:
        cloth.glaze([[(x, top - 9), (x + 20, tail)] for x in columns], ink, 0.8, width=gap * 0.35)
    elif pattern == 3:
        cloth.glaze(bars + [[(x, top - 9), (x, tail)] for x in columns], ink, 0.5, width=gap * 0.4)


def _shoot(
    layer: Layer, behind: NDArray[np.uint8], points: Points, rng: np.random.Generator, difficulty: float
) -> tuple[NDArray[np.uint8], Points]:
    """Pose, light and camera: the finished photo, and where the points of the face came to lie."""
    size, angle = rng.uniform(0.95, 1.2), np.deg2rad(rng.normal() * 5)
    centre = _EYES + rng.uniform((-12, -10), (12, 10))
    turn = rng.uniform((-6, -4), (6, 4))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))

    def bulge(x, y):
        """How far a point of the head stands out towards the camera, 0 to 1."""
        return np.maximum(1 - np.square(x / 62) - np.square((y - 4) / 84), 0) ** 2

    # Each photo pixel looks up its place on the layer; the turn moves what stands out most.
    # A layer is twice as fine, so that a linear look-up averages about as much as one photo pixel covers.
    px = ((np.arange(WIDTH) + 0.5 - centre[0]) / size).astype(np.float32)[None]
    py = ((np.arange(HEIGHT) + 0.5 - centre[1]) / size).astype(np.float32)[:, None]
    x, y = cos * px + sin * py, cos * py - sin * px
    out = bulge(x, y) * np.float32(FINE)
    map_x = x * FINE - np.float32(turn[0]) * out + np.float32(ORIGIN[0] * FINE - 0.5)
    map_y = y * FINE - np.float32(turn[1]) * out + np.float32(ORIGIN[1] * FINE - 0.5)
    shown = cv2.remap(layer.image, map_x, map_y, cv2.INTER_LINEAR)

    places = points.copy()
    for _ in range(12):  # the inverse of the look-up above, by repetition
        places = points + bulge(places[:, :1], places[:, 1:]) * turn
    places = places @ np.array([(cos, sin), (-sin, cos)]) * size + centre

    dx, dy = rng.integers(0, 41, 2)
    clear = cv2.bitwise_not(np.ascontiguousarray(shown[..., 3]))
    image = cv2.multiply(behind[dy : dy + HEIGHT, dx : dx + WIDTH], cv2.merge([clear] * 3), scale=1 / 255)
    image = cv2.add(image, np.ascontiguousarray(shown[..., :3])).astype(np.float32)

    across, down = rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.1)  # where the light comes from
    slope = 1 + across * np.linspace(-1, 1, WIDTH)[None] + down * np.linspace(-1, 1, HEIGHT)[:, None]
    contrast = rng.uniform(0.88, 1.15)
    gain = contrast * rng.uniform(0.85, 1.12) * rng.uniform(0.95, 1.05, 3)
    image = cv2.multiply(image, cv2.merge([(slope * g).astype(np.float32) for g in gain]))
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.5 + 0.35 * difficulty))
    grain = rng.standard_normal((HEIGHT, WIDTH), np.float32) * np.float32(rng.uniform(0, 4))
    image = cv2.add(image, cv2.merge([grain + np.float32(127.5 - 127 * contrast)] * 3))
    return np.clip(image, 0, 255).astype(np.uint8), places
