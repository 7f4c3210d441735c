"""A painted person: two layers, one of body and face, one of the hair that hangs in front of a mask."""

import cv2
import numpy as np

from pipeline.synthetic.ink import Layer, Points, arc, blend, both, curve, disc
from pipeline.synthetic.people import COLLAR, GREY, LOW, ROUND, SCARF, Traits

NOSE, MOUTH = 27.0, 41.0
"""How far below the eyes the tip of the nose and the mouth lie."""


class Person(Traits):
    """A person ready for photos: `base` without mouth, mask and glasses, and `front`, which lies over a mask.

    Also `chin` (how far below the eyes) and `dark` (the colour of lines and shadows on the skin).
    """

    def __init__(self, rng: np.random.Generator, gender: int, age: float, difficulty: float) -> None:
        super().__init__(rng, gender, age, difficulty)
        self._rng = rng
        self._shape()
        self.base, self.front = Layer(), Layer()
        self._back_hair(self.base)
        self._body(self.base)
        self._head(self.base)
        self._front_hair(self.front)

    def half_width(self, y: float) -> float:
        """Half the width of the face at height y."""
        return float(np.interp(y, self._side[:, 1], self._side[:, 0]))

    def _shape(self) -> None:
        w = self.width
        chin = self.chin = self.long + 1.5 * self.jaw
        jaw, puff = 29.5 + 9 * self.jaw + 2.5 * self.sag, 2.5 * self.round
        half = [
            (0, -60),
            (24, -56),
            (w - 4, -36),
            (w, -10),
            (w - 1 + puff * 0.5, 14),
            (jaw + 3 + puff, 34),
            (jaw - 5 + 2 * self.sag, 48),
            (11 + 7 * self.jaw, chin - 4),
            (0, chin),
        ]
        self.outline = curve(both(half), closed=True)
        right = self.outline[self.outline[:, 0] > 0]
        self._side = right[np.argsort(right[:, 1])]
        self.dark = self.skin * (0.62, 0.52, 0.5)
        self.shade = self.skin * (0.86, 0.8, 0.78)

    def _head(self, base: Layer) -> None:
        w = self.width
        for side in (-1, 1):
            ear = [(-3, -8), (5, -11), (7, 0), (3, 14 + 4 * self.sag), (-3, 14)]
            base.fill(curve([(side * (w + x), y) for x, y in ear], closed=True), self.shade)
            if self.earring:
                base.fill(disc(side * (w + 4), 20 + 4 * self.sag, 3.4), self.earring_colour)
        base.fill(self.outline, self.skin)
        self._skin(base)
        self._eyes(base)
        self._nose(base)
        if self.beard:
            self._beard(base)

    def _body(self, base: Layer) -> None:
        n, chin, top, s = self.neck, self.chin, self.chin + 16, self.shoulder
        cloth = Layer()
        shirt = [(n + 2, top - 1), (n + 18, top + 7), (s - 12, top + 18), (s, top + 40), (s + 8, 200)]
        cloth.fill(curve(both(shirt)), self.cloth)
        self._weave(cloth, top)
        for side in (-1, 1):  # sleeves
            cloth.glaze([[(side * (s - 14), 200), (side * (s - 26), top + 45)]], (0, 0, 0), 0.25, width=2)
        base.over(cloth)
        skin = self.skin * 0.94
        base.fill(both([(n, chin - 26), (n - 1, chin + 6), (n + 6, top + 8), (0, top + 34)]), skin)
        if self.neckline == ROUND:
            base.fill(curve(both([(n + 4, top), (n - 4, top + 13), (0, top + 18)]), closed=True), skin)
        elif self.neckline == LOW:
            base.fill(both([(n + 5, top - 2), (n - 8, top + 24), (0, top + 46)]), skin)
        base.glaze([both([(n, chin - 20), (n, chin + 3), (0, chin + 13)])], self.dark, 0.55, blur=2.5)
        folds = []
        for i in range(round(4 * self.necklines + 0.3)):
            x, share, bend = self._rng.uniform((-2, 0.6, 1), (2, 0.9, 3))
            folds.append(arc(x, chin + 6 + 5.5 * i, n * share, bend))
        base.glaze(folds, self.dark, 0.3 + 0.5 * self.necklines, width=1.2)
        if self.neckline == COLLAR:
            self._collar(base, top)
        elif self.neckline == SCARF:
            scarf = both([(n - 2, chin + 2), (n + 9, chin + 9), (n + 12, top + 12), (0, top + 26)])
            base.fill(curve(scarf, closed=True), self.cloth_too)
            base.glaze([arc(0, chin + 9 + 7 * i, n + 6, 5) for i in range(4)], (0, 0, 0), 0.3, width=1.2)

    def _weave(self, cloth: Layer, top: float) -> None:
        down = [[(x, top - 10), (x, 200)] for x in np.arange(-110, 111, 14)]
        across = [[(-120, y), (120, y)] for y in np.arange(top - 5, 200, 12)]
        if self.cloth_pattern == 1:
            cloth.glaze(down, self.cloth_too, 0.8, width=4)
        elif self.cloth_pattern == 2:
            cloth.glaze(across, self.cloth_too, 0.8, width=4)
        elif self.cloth_pattern == 3:
            cloth.glaze(down + across, self.cloth_too, 0.45, width=4)
        elif self.cloth_pattern == 4:
            rows, columns = np.arange(top, 196, 10), np.arange(-106, 107, 13)
            dots = [disc(x + 6 * (i % 2), y, 2.5) for i, y in enumerate(rows) for x in columns]
            cloth.glaze(dots, self.cloth_too, 0.85)

    def _collar(self, base: Layer, top: float) -> None:
        if self.tie:
            base.fill([(-5, top + 14), (5, top + 14), (9, 200), (-9, 200)], self.cloth_too)
        for side in (-1, 1):
            flap = [(self.neck + 2, top - 7), (self.neck + 9, top + 8), (13, top + 34), (0, top + 17)]
            flap = [(side * x, y) for x, y in flap]
            base.fill(flap, blend(self.cloth, (255, 255, 255), 0.35))
            base.line([*flap[1:], flap[0]], self.cloth * 0.6, 0.8)

    def _skin(self, base: Layer) -> None:
        """Everything that age writes on a face, each mark with its own progress."""
        rng, dark, w = self._rng, self.dark, self.width
        base.glaze([curve([(w + 2, -40), (w + 2, 50), (w - 9, 40), (w - 6, -20)], True)], dark, 0.25, blur=5)
        for side in (-1, 1):
            base.glaze([disc(side * 26, 22, 9)], (225, 90, 80), 0.12 + 0.2 * self.round, blur=4)
        count = 4.4 * self.forehead  # the last line is as long as the fraction left
        lines = [arc(rng.uniform(-3, 3), -20 - 6.2 * i, 25 * min(1, count - i), rng.uniform(-3, -1))
                 for i in range(int(np.ceil(count)))]  # fmt: skip
        base.glaze(lines, dark, 0.25 + 0.55 * self.forehead, width=1.4)
        if self.forehead > 0.45:
            frown = [[(s * 3.5, -5), (s * 4.2, -13)] for s in (-1, 1)]
            base.glaze(frown, dark, self.forehead * 0.7, width=1.3)
        feet = []
        for side in (-1, 1):
            x = side * (self.eye_gap + 11)
            for angle in np.linspace(-0.7, 0.75, 2 + round(3 * self.feet)):
                size = 2 + 9 * self.feet
                feet.append([(x, 1 + 6 * angle), (x + side * size * np.cos(angle), 1 + (6 + size) * angle)])
        base.glaze(feet, dark, 0.15 + 0.65 * self.feet, width=1.2)
        for side in (-1, 1):
            x = side * self.eye_gap
            pouch = curve([*arc(x, 8, 9.5, 1), *arc(x, 8.5, 9.5, 3 + 5 * self.bags)[::-1]], True)
            base.glaze([pouch], dark, 0.42 * self.bags, blur=0.8)
            base.glaze([arc(x, 8.5, 9, 2.5 + 4.5 * self.bags)], dark, 0.75 * self.bags, width=1.2)
        folds, reach, x = [], 16 + 12 * self.folds, self.nose_width + 2
        for side in (-1, 1):
            fold = [(x, NOSE - 2), (x + 7, NOSE + reach * 0.4), (x + 9, NOSE + reach)]
            folds.append(curve([(side * x, y) for x, y in fold]))
        base.glaze(folds, dark, 0.08 + 0.75 * self.folds, width=1.5)
        jowl = [curve([(s * 19, 50), (s * 24, 57), (s * 30, 50)]) for s in (-1, 1)]
        base.glaze(jowl, dark, 0.8 * self.sag, width=1.4)
        cheek = [curve([(s * 24, 14), (s * 31, 20), (s * (30 - 3 * self.sag), 32)]) for s in (-1, 1)]
        base.glaze(cheek, dark, 0.5 * max(0.0, self.sag - 0.3), width=1.5)
        for _ in range(round(16 * self.spots)):
            x, y = rng.uniform(-w + 5, w - 5), rng.choice([rng.uniform(-42, -14), rng.uniform(10, 30)])
            base.glaze([disc(x, y, rng.uniform(1, 2.6))], dark, 0.55)
        if self.freckles:
            dots = [disc(*rng.normal((0, 17), (15, 4)), 0.8) for _ in range(30)]
            base.glaze(dots, dark, 0.5)

    def _eyes(self, base: Layer) -> None:
        lift = 5.6 - 2.3 * self.droop + 0.7 * self.lash  # how far an eye is open, above its axis
        for side in (-1, 1):
            x, fall = side * self.eye_gap, 2.2 * self.droop * side
            upper, lower = arc(x, 0, 9.2, -lift, fall), arc(x, 0, 9.2, lift * 0.7, fall)
            if self.lash > 0.45:
                shadow = np.concatenate([arc(x, -1, 10, -lift - 4.5, fall), upper[::-1]])
                base.glaze([shadow], self.eye_shadow, 0.7 * self.lash)
            base.fill(np.concatenate([upper, lower[::-1]]), (246, 243, 240))
            base.fill(disc(x, -0.6, min(4.6, lift)), self.eye)
            base.fill(disc(x, -0.6, 2.1), (15, 12, 12))
            base.fill(disc(x + 1.4, -2, 1.0), (255, 255, 255))
            lid = np.concatenate([arc(x, -1, 10.5, -lift - 3.5, fall), upper[::-1]])
            base.glaze([lid], self.shade, 0.6)
            base.line(upper, (30, 22, 20), 0.9 + 2.2 * self.lash)
            base.glaze([lower], self.dark, 0.6, width=0.9)
            base.glaze([arc(x, -3, 9, -lift + 0.5 - 1.5 * self.droop, fall)], self.dark, 0.6, width=0.9)
            if self.lash > 0.5:
                for k in range(3):
                    foot = x + side * (9.2 - 2.4 * k), 2.2 * self.droop - 1.2 * k
                    tip = foot[0] + side * (3 - 2.2 * k), foot[1] - 4 + 0.2 * k
                    base.line([foot, tip], (25, 18, 18), 0.8)
            bend, thick = -2.0 - 4.5 * self.brow, 6.2 - 4.7 * self.brow
            high, tilt = -10.5 - 3.0 * self.brow + 1.5 * self.droop, 1.5 * side
            brow = [arc(x, high, 11.5, bend, tilt), arc(x, high + thick, 11, bend * 0.9, tilt)[::-1]]
            base.glaze([np.concatenate(brow)], self.brow_colour, 0.95 - 0.35 * self.thin)

    def _nose(self, base: Layer) -> None:
        n = self.nose_width
        ridge = [(5, 2), (5.5, 14), (n, NOSE - 3), (0, NOSE + 2), (2, 10)]
        base.glaze([curve(ridge, closed=True)], self.dark, 0.3, blur=1)
        tip = [(-n, -2), (-n + 1, 1), (-3, 1.5), (0, 3), (3, 1.5), (n - 1, 1), (n, -2)]
        base.line(curve([(x, NOSE + y) for x, y in tip]), self.dark, 1.2)
        for side in (-1, 1):
            base.fill(disc(side * n * 0.48, NOSE + 0.6, 1.7), self.dark * 0.6)
        base.glaze([disc(-0.5, NOSE - 5, 2.5)], (255, 255, 255), 0.3, blur=1.2)

    def _beard(self, base: Layer) -> None:
        chin, rng = self.chin, self._rng
        if self.beard_cut == 0:  # the whole jaw
            low = self.outline[self.outline[:, 1] > 12]
            low = low[np.argsort(np.arctan2(low[:, 0], low[:, 1] + 40))] * (1.01, 1.04)
            ear = self.half_width(14) - 5
            inner = curve([(ear, 14), (29, 34), (15, 33), (0, 31), (-15, 33), (-29, 34), (-ear, 14)])
            shape = np.concatenate([low, inner])
        elif self.beard_cut == 1:  # round the mouth
            shape = curve(both([(0, 32), (15, 35), (17, 48), (11, chin + 2)]), closed=True)
        else:  # a moustache
            shape = curve(both([(0, 31), (9, 33), (17, 40), (8, 38), (0, 37)]), closed=True)
        ink = blend(self.colour * 0.85, GREY, 0.85 * self.grey)
        base.glaze([shape], ink, self.beard, blur=1.2 if self.beard < 0.5 else 0.5)
        if self.beard > 0.5:
            strokes = []
            for x, y, lean in rng.uniform((-34, 30, -1.5), (34, chin, 1.5), (70, 3)):
                if cv2.pointPolygonTest(shape.astype(np.float32), (x, y), False) > 0:
                    strokes.append([(x, y), (x + lean, y + 4)])
            base.glaze(strokes, blend(ink, GREY, 0.4) if rng.random() < self.grey else ink * 0.6, 0.6, width=0.8)

    def _strands(self, layer: Layer, lines: list[Points]) -> None:
        """Tint strands of hair: most darker, some lighter, and the grey ones."""
        kind = self._rng.random(len(lines))
        grey = kind < 0.75 * self.grey
        light = ~grey & (kind > 0.85)
        for chosen, colour, strength, width in (
            (~grey & ~light, self.colour * 0.6, 0.55, 1.2),
            (light, blend(self.colour, (255, 240, 210), 0.3), 0.6, 1.2),
            (grey, blend(self.colour, (230, 230, 228), 0.85), 0.8, 1.0),
        ):
            layer.glaze([lines[i] for i in np.flatnonzero(chosen)], colour, strength, width=width)

    def _back_hair(self, layer: Layer) -> None:
        if self.bald or self.hair_length < 0.42:
            return
        reach = 20 + 130 * (self.hair_length - 0.42) ** 0.8
        out = self.width + 7 + self.volume + 5 * self.curl
        wave = 3 * self.curl * self._rng.normal(size=3)
        shape = [(0, -64), (out - 10, -46), (out + wave[0], -5), (out + 3 + wave[1], reach * 0.5),
                 (out + wave[2], reach), (out - 16, reach + 8), (0, reach + 6)]  # fmt: skip
        layer.fill(curve(both(shape), closed=True), self.tint * 0.88)
        y = np.linspace(-30, reach + 8, 12)
        lines = []
        for x in np.linspace(-out, out, 46):
            sway = (1 + 5 * self.curl) * np.sin(y / (9 - 3 * self.curl) + self._rng.uniform(0, 6))
            lines.append(np.stack([x + 0.5 * sway + self._rng.normal(), y], 1))
        self._strands(layer, lines)

    def _front_hair(self, layer: Layer) -> None:
        if self.bald:
            self._bald(layer)
            return
        rng, w, v, p = self._rng, self.width, self.volume, self.parting
        lock = 4 + 24 * max(0.0, self.hair_length - 0.25)  # how far hair comes down beside the face
        line, corner, dip = -37 - 16 * self.recede, -27 - 22 * self.recede, 2
        if self.fringe:
            line, corner, dip = -19 - 6 * self.recede, -17, 5
        wave = dip * rng.uniform(-1, 1, 2)
        side = [(w - 2 + v * 0.6, -44), (w + 4 + v * 0.5, -14), (w + 3, lock)]
        crown = [(-22, -64 - v), (p * 0.4, -67 - v), (22, -64 - v)]
        outer = curve([*((-x, y) for x, y in side[::-1]), *crown, *side])
        side = [(w - 3, lock * 0.6), (w - 6, -10), (w - 13, corner)]
        brink = [(p + 12, line + wave[0]), (p, line - 3), (p - 12, line + wave[1])]
        inner = curve([*side, *brink, *((-x, y) for x, y in side[::-1])])
        if self.curl > 0.55:
            ripple = 2.4 * np.sin(np.arange(len(outer)) * 1.3)
            outer = outer * (1 + ripple / np.linalg.norm(outer, axis=1))[:, None]
        rim = np.concatenate([outer, inner])
        layer.fill(rim, self.tint)
        root = np.array((p, -64.0 - v))
        lines = []
        for end in rim[rng.integers(len(rim), size=100)]:
            middle = (root + end) / 2 + (np.sign(end[0] - p) * 7, -9)
            away = rng.normal(size=(3, 2)) * ((2,), (1 + 3 * self.curl,), (2,))
            lines.append(curve(np.stack([root, middle, end]) + away, steps=4))
        self._strands(layer, lines)
        if self.hair_length > 0.72 and rng.random() < 0.6:
            self._locks(layer)

    def _bald(self, layer: Layer) -> None:
        """What is left above the ears."""
        for side in (-1, 1):
            w = self.width
            patch = [(w - 3, -30), (w + 4, -26), (w + 5, -4), (w - 4, 2)]
            layer.fill(curve([(side * x, y) for x, y in patch], closed=True), self.tint)
            lines = [[(side * (w + k), -28), (side * (w + k + 1), 2)] for k in range(-4, 5, 2)]
            self._strands(layer, lines)

    def _locks(self, layer: Layer) -> None:
        """Long hair that falls in front of the shoulders."""
        w, reach = self.width, 60 + 90 * (self.hair_length - 0.72)
        y = np.linspace(0, reach + 24, 8)
        for side in (-1, 1):
            lock = [(w - 1, -8), (w + 7, -8), (w + 9 + self.volume * 0.5, reach * 0.6), (w + 3, reach + 30),
                    (w - 7, reach * 0.8), (w - 1, 24)]  # fmt: skip
            layer.fill(curve([(side * x, y) for x, y in lock], closed=True), self.tint)
            sway = 2 * self.curl
            lines = [np.stack([side * (w - 5 + 2.4 * k + sway * np.sin(y / 7 + k)), y], 1) for k in range(7)]
            self._strands(layer, lines)
