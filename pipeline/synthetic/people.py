"""The lasting traits of a drawn person, and how far they tell the truth.

Each cue of age and gender has its own error, scaled by `difficulty`, and all cues of a person share another
one, which no reader can average away. At 0 every cue tells the truth; at 1 cues contradict each other now and
then (a smooth forehead at fifty, a dyed grandmother, a man with a bob); at 3 they often do.
"""

import numpy as np

from pipeline.synthetic.ink import Colour, any_colour, blend, shade_of

SKIN = np.array([(252, 222, 200), (240, 198, 165), (222, 170, 130), (186, 128, 92), (138, 90, 62), (98, 64, 46)], float)
"""Colours of skin, from light to dark."""
GREY = np.array((206, 206, 204), float)

_HAIR = np.array(
    [(28, 24, 24), (52, 36, 28), (88, 58, 38), (130, 88, 50),
     (176, 134, 82), (216, 186, 132), (128, 52, 30), (226, 214, 190)], float
)  # fmt: skip
_HAIR_ODDS = (0.25, 0.22, 0.16, 0.1, 0.09, 0.07, 0.06, 0.05)
_EYES = np.array([(70, 45, 25), (45, 30, 20), (60, 90, 120), (70, 110, 70), (110, 120, 130)], float)
_EARRINGS = np.array([(225, 190, 90), (220, 220, 225), (190, 60, 80)], float)
_EYE_SHADOWS = np.array([(120, 60, 110), (90, 70, 60), (60, 80, 130)], float)
ROUND, COLLAR, LOW, SCARF = range(4)
_NECKLINES = np.array([(0.25, 0.5, 0.1, 0.15), (0.35, 0.15, 0.35, 0.15)])  # how common, for men and for women


class _Cues:
    """Draws single cues of a person, each with an error of its own beside the one that all share."""

    def __init__(self, rng: np.random.Generator, gender: int, age: float, difficulty: float) -> None:
        self._rng, self._difficulty = rng, difficulty
        self._lived = age + 2.5 * difficulty * rng.normal()  # health and sun: shared by all cues of age
        self._leaning = (1 if gender else -1) + 0.25 * difficulty * rng.normal()

    def old(self, start: float, end: float) -> float:
        """How far one cue of age has come: 0 at `start` years, 1 at `end`."""
        lived = self._lived + 5.5 * self._difficulty * self._rng.normal()
        return float(np.clip((lived - start) / (end - start), 0, 1))

    def female(self, spread: float = 0.4) -> float:
        """How feminine one cue is."""
        leaning = self._leaning + spread * self._difficulty * self._rng.normal()
        return float(np.clip(0.5 + 0.36 * leaning, 0, 1))

    def happens(self, share: float) -> bool:
        return bool(self._rng.random() < share)


class Traits:
    """Everything that a person's photos share, apart from the background.

    gender: 0 male, 1 female. age: years, 18 to about 80. difficulty: 0 (every cue tells the truth) upwards.
    Traits without a unit run from 0 to 1; lengths are pixels of a photo, colours RGB.
    """

    def __init__(self, rng: np.random.Generator, gender: int, age: float, difficulty: float) -> None:
        self.difficulty = difficulty
        cues = _Cues(rng, gender, age, difficulty)
        self._draw_build(rng, cues)
        self._draw_gender(rng, cues, gender)
        self._draw_age(cues, gender)
        self._draw_looks(rng, cues)

    def _draw_build(self, rng: np.random.Generator, cues: _Cues) -> None:
        self.skin = np.clip(shade_of(SKIN, rng.random() ** 1.2) + rng.uniform(-9, 9, 3), 20, 255)
        self.width = rng.uniform(40.5, 47)  # half of the face
        self.long = rng.uniform(58, 66)
        self.jaw = 1 - 0.8 * cues.female() + rng.uniform(-0.1, 0.1)
        self.neck = 27 - 9.5 * cues.female() + rng.uniform(-1, 1)
        self.shoulder = 102 - 30 * cues.female() + rng.uniform(-4, 4)
        self.eye = rng.choice(_EYES)
        self.eye_gap = rng.uniform(18.5, 21.5)
        self.nose_width = rng.uniform(7, 10.5) + 1.2 * (1 - cues.female())
        self.freckles = cues.happens(0.12)

    def _draw_gender(self, rng: np.random.Generator, cues: _Cues, gender: int) -> None:
        """What gender shows in, apart from the build."""
        self.brow, self.lash, self.lips = cues.female(), cues.female(), cues.female()
        self.eye_shadow = rng.choice(_EYE_SHADOWS)
        self.hair_length = cues.female(0.5)
        bearded = gender == 0 and cues.happens(0.6)
        self.beard = float(rng.choice([0.25, 0.6, 0.95])) if bearded else 0.0
        self.beard_cut = int(rng.integers(3))
        self.earring = cues.happens(0.03 + 0.6 * cues.female() ** 2)
        self.earring_colour = rng.choice(_EARRINGS)

    def _draw_age(self, cues: _Cues, gender: int) -> None:
        """What age shows in."""
        self.round = 1 - cues.old(18, 45)
        self.forehead, self.feet, self.bags = cues.old(24, 72), cues.old(20, 70), cues.old(22, 72)
        self.folds, self.necklines, self.droop = cues.old(22, 72), cues.old(28, 75), cues.old(20, 75)
        self.sag, self.spots, self.thin = cues.old(30, 78), cues.old(35, 80), cues.old(25, 75)
        dyed = cues.happens((0.25 if gender else 0.08) * min(self.difficulty, 1))
        self.grey = cues.old(32, 70) * (0.25 if dyed else 1.0)
        self.recede = cues.old(22, 80) * (0.45 if gender else 1.0)
        self.bald = gender == 0 and cues.happens(0.05 + 0.35 * cues.old(28, 75))

    def _draw_looks(self, rng: np.random.Generator, cues: _Cues) -> None:
        """Hair, glasses and clothes."""
        odd = cues.happens(0.03)
        colour = any_colour(rng) if odd else rng.choice(_HAIR, p=_HAIR_ODDS) * rng.uniform(0.8, 1.15)
        self.colour = np.clip(colour, 8, 245)
        self.brow_colour = blend(blend(self.colour, (40, 30, 25), 0.5), GREY, 0.8 * cues.old(40, 75))
        self.curl = rng.uniform(0, 1) ** 2
        self.volume = rng.uniform(2, 9)
        self.parting = rng.uniform(-22, 22)
        self.fringe = cues.happens(0.12 + 0.2 * self.hair_length)
        self.glasses = int(rng.integers(1, 4)) if cues.happens(0.18 + 0.2 * cues.old(30, 70)) else 0
        self.glass_colour = any_colour(rng, 0.5) * 0.5
        self.cloth, self.cloth_too = any_colour(rng, 0.5), any_colour(rng, 0.4)
        self.cloth_pattern = int(rng.integers(5))
        self.neckline = int(rng.choice(4, p=blend(*_NECKLINES, cues.female())))
        self.tie = self.neckline == COLLAR and cues.happens(0.55 * (1 - cues.female()))

    @property
    def tint(self) -> Colour:
        """The colour of the hair, grey and all."""
        return blend(self.colour, GREY * 0.85, 0.65 * self.grey**1.5)
