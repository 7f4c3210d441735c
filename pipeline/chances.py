"""Chances of labels made honest on validation photos, and the mix of classes that explains photos' chances best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from models.labels import BANDS, GENDERS, LABELS, MASKS, decode
from pipeline.answers import Known
from pipeline.calibration import bands_of, with_bands
from pipeline.prior import CLASSES, draw_in, em, person_weights

SPREAD = 0.5
"""The biases are held to zero as if drawn from a Gaussian of this deviation, in logits: few people move them little."""
TEMPERATURES = (0.2, 5.0)
"""The lowest and the highest."""
USUAL = 5.99
"""The squared distance, in errors, of an estimated mix from the train mix that error alone passes in 5 of 100 (two
shares are free). Below it the train mix is used: a rival loses more by a wrong mix than two thresholds do."""
DRAWS = 100
"""Resamples of people behind the uncertainty of a mix."""

_MASK, _GENDER, _BAND = decode(np.arange(LABELS))
_PARTS = np.concatenate(
    [np.eye(len(MASKS))[_MASK], np.eye(len(GENDERS))[_GENDER], np.eye(len(BANDS))[_BAND],
     np.eye(len(GENDERS) * len(BANDS))[_GENDER * len(BANDS) + _BAND]], 1,
)  # fmt: skip
"""(18, 14) which biases a label has: one of its mask state, its gender, its band, and its gender x band."""


@dataclass(frozen=True)
class Honest:
    """A temperature, and a bias (18,) for each label, in logits.

    The temperature mends how sure a network is (Guo et al. 2017), the biases that it learned from another mix than
    validation's, as with --sampling balanced (Alexandari et al. 2020).
    """

    temperature: float
    biases: NDArray[np.float64]

    def log(self, chances: NDArray) -> NDArray[np.float64]:
        """Chances (n, 18), each above 0 -> the logarithms of honest ones (n, 18)."""
        return log_softmax(np.log(chances) / self.temperature + self.biases, 1)


def fit(chances: NDArray, label: NDArray, people: int) -> Honest:
    """What gives the true labels (n,) the greatest likelihood under chances (n, 18), a person counting once.

    A label's bias is a sum: a gender x band without people goes with its gender and its band.
    """
    log, each = np.log(chances), people / len(label)
    rows = np.arange(len(label))

    def loss(given: NDArray) -> tuple[float, NDArray]:
        scale, biases = np.exp(-given[0]), given[1:]
        found = log_softmax(log * scale + _PARTS @ biases, 1)
        wrong = np.exp(found)
        wrong[rows, label] -= 1
        slope = np.concatenate([[-(wrong * log).sum() * scale], wrong.sum(0) @ _PARTS]) * each
        slope[1:] += biases / SPREAD**2
        return float(-found[rows, label].sum() * each + (biases**2).sum() / 2 / SPREAD**2), slope

    size = _PARTS.shape[1]
    bounds = [tuple(np.log(TEMPERATURES)), *[(None, None)] * size]
    best = minimize(loss, np.zeros(1 + size), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Honest(float(np.exp(best[0])), _PARTS @ best[1:])


def shares_of(counts: NDArray) -> NDArray[np.float64]:
    """(6,) shares of people by class, from their counts (6,): half a person is added to each, so that none is nil."""
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def mix_of(chances: NDArray, train: NDArray, count: NDArray | None = None) -> NDArray[np.float64]:
    """The shares (6,) of the classes that explain photos' chances (n, 18) best, by EM (Saerens et al. 2002).

    train (6,): the shares under which the chances are honest; count (n,): how often each row counts.
    """
    by_class = chances.reshape(len(chances), len(MASKS), len(GENDERS), len(BANDS)).sum(1)
    by_class = by_class.transpose(0, 2, 1).reshape(len(chances), CLASSES)
    # an honest chance is the class's share times how likely it makes the photo
    return em((by_class / train).T, np.ones(len(chances)) if count is None else count, start=train)


def estimate(
    chances: NDArray, photo: NDArray, people: int, own: NDArray, rows: Known, train: NDArray, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """The mix of photos' chances (n, 18), drawn toward the train mix (6,) by as much as it is uncertain.

    photo: (n,) from 0, of each row, a row being one network's; people: as so many the photos count; own: the honest
    chances (m, 18) of the validation photos, rows. Returns the bands (3,) as EM gave them, and the mix (6,), plausible
    others (B, 6) and the trust that `prior.draw_in` makes of them; the genders inside a band stay the train people's,
    since of a weak network EM finds the six shares so badly that they cost more than the bands gain.
    """
    raw, rng, photos = mix_of(chances, train), np.random.default_rng(seed), int(photo.max()) + 1
    eval, validation = np.empty((2, DRAWS, CLASSES))
    for i, times in enumerate(person_weights(rows, DRAWS, rng)):
        drawn = np.bincount(rng.integers(0, photos, people), minlength=photos)
        eval[i] = mix_of(chances, train, drawn[photo])
        # chances were made honest on the validation people: how far EM is off on them drawn again is by their luck
        validation[i] = mix_of(own, train, times[rows.person])
    used, moved, trust = draw_in(raw, eval + validation - validation.mean(0), train, USUAL)
    used, moved = (with_bands(bands_of(shares), train) for shares in (used, moved))
    return bands_of(raw), used, moved, trust
