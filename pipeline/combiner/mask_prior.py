"""The mask states of photos without labels: in which shares they are worn right, worn wrong and not worn.

Predicted states are a mixture of true ones, whose confusions are known from people held out; which shares are possible
is told as that of age bands is (`evidence`, `posterior`), drawn toward the shares of the train people as far as the
photos leave them possible. A photo is the unit here, since a person's photos are in states of their own, but mistakes
about a person's photos go together (Kish, Survey Sampling, 1965).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import CLASSES, GENDERS, MASKS
from pipeline.combiner.class_prior import NIL
from pipeline.combiner.counts import correlation
from pipeline.combiner.evidence import Evidence
from pipeline.combiner.posterior import FINEST, posterior
from pipeline.combiner.prior_choice import FEW
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions

LEAST, PHOTOS, SHARE = 3, 30, 0.02
"""With fewer people held out in a state, fewer photos or a smaller share, nothing tells what it is taken for."""
ALIKE = 0.05
"""A state whose predictions differ from those of the others, mixed, by less than this share of photos is not told."""
ABSENT = 0.005
"""A state of a smaller share, which may be none, is taken not to be there."""
PSEUDO = 0.5
"""Photos that are added to each confusion."""


@dataclass(frozen=True)
class MaskPrior:
    """Shares of the mask states: train (3,) of photos held out, estimate (3,) of others; draws (B, 3) that may be.

    confusion: (3, 3) how each state is predicted, rows summing to one; bands: (3, 3) the shares of the age bands among
    the others' photos of each state, None where all have the same.
    """

    train: NDArray[np.float64]
    estimate: NDArray[np.float64]
    draws: NDArray[np.float64]
    confusion: NDArray[np.float64]
    bands: NDArray[np.float64] | None = None

    @property
    def interval(self) -> NDArray[np.float64]:
        """(3, 2) of each share, at 95 %."""
        return np.quantile(self.draws, [0.025, 0.975], axis=0).T

    @property
    def shifted(self) -> bool:
        """Whether the photos tell that some state's share is another than in train."""
        low, high = self.interval.T
        return bool(((self.train < low) | (self.train > high)).any())

    @property
    def share(self) -> NDArray[np.float64]:
        """(3,) what is gone by: the train shares as long as nothing tells others; nil where no photo need be so."""
        if not self.shifted:
            return self.train
        there = np.where((self.interval[:, 0] < 1.5 * FINEST) & (self.estimate < ABSENT), 0.0, self.estimate)
        return there / there.sum()

    def weights(self, rows: LabelledPredictions) -> NDArray[np.float64]:
        """(n,) how often photos held out count, beside one another, to stand for such shares.

        By true and predicted state: where photos were chosen by what was predicted, confusions stay what they are.
        """
        true, predicted = rows.label // CLASSES, rows.cell // len(GENDERS)
        place = true * len(MASKS) + predicted
        own = np.bincount(place, minlength=self.confusion.size) / len(place)
        share = np.maximum(self.share, NIL)  # people of whom there are no other photos still have densities
        return ((share[:, None] * self.confusion).ravel() / np.maximum(own, 1e-12))[place]


def mask_prior(
    rows: LabelledPredictions, mask: NDArray[np.int64], photos_per_person: float, draws: int = 200, seed: int = 0
) -> MaskPrior | None:
    """The shares of mask states of eval photos; None where nothing tells what a state is taken for.

    mask: (n, K) predicted states of n photos by K networks, -1 where one is missing; photos_per_person: how many of
    them are one person's.
    """
    true, predicted = rows.label // CLASSES, rows.cell // len(GENDERS)
    size = len(MASKS)
    photos = np.bincount(true, minlength=size)
    people = np.bincount(np.unique(true * rows.persons + rows.who[rows.person]) // rows.persons, minlength=size)
    raw = np.bincount(true * size + predicted, minlength=size**2).reshape(size, size)
    density = (raw + PSEUDO) / (raw + PSEUDO).sum(1, keepdims=True)
    if people.min() < LEAST or photos.min() < max(PHOTOS, SHARE * len(true)) or _apart(density) < ALIKE:
        return None
    alike = correlation(true, predicted, rows.who[rows.person])
    known = mask >= 0
    seen = np.bincount(mask[known], (known / known.sum(1, keepdims=True))[known], size)
    # the grid of priors tells small shares well but for the middle one's: that is the most common state's
    order = np.argsort(seen)[[0, 2, 1]]
    found = Evidence(
        density=density[order],
        raw=density[order],
        noise=np.stack([np.diag(row) - np.outer(row, row) for row in density[order]]),
        people=(photos / _effect(photos / people, alike))[order],
        seen=seen / seen.sum(),
        eval_people=len(mask) / _effect(photos_per_person, alike),
        genders=np.ones((size, 1)),
    )
    train = photos / photos.sum()
    possible = posterior(found, train[order])
    back = np.argsort(order)
    drawn = possible.draws(draws, np.random.default_rng([seed, 26]))[:, back]
    return MaskPrior(train, possible.mean[back], drawn, raw / photos[:, None])


def _apart(density: NDArray) -> float:
    """How far each state's predictions are at the least from any mixture of the others', as a share of photos."""
    least = 1.0
    for state, row in enumerate(density):
        first, second = np.delete(density, state, axis=0)
        share = np.linspace(0, 1, 51)[:, None]
        least = min(least, float(np.abs(row - share * first - (1 - share) * second).sum(1).min() / 2))
    return least


def _effect(photos: NDArray | float, correlation: float) -> NDArray | float:
    """As how many one counts of so many photos of a person, whose mistakes go together."""
    return 1 + (np.maximum(photos, 1) - 1) * correlation


def masks_of(
    rows: LabelledPredictions, eval: EvalPredictions, draws: int, seed: int, notes: list[str]
) -> MaskPrior | None:
    """The mask states of eval photos, None where nothing is known of them; notes gets why, but for few eval photos."""
    if eval.mask is None or eval.people < FEW:
        return None
    found = mask_prior(rows, eval.mask, eval.photos_per_person, draws, seed)
    if found is None:
        notes.append(
            "too few validation photos are of some mask state, or two states look alike to the network, so that their "
            "shares among the eval photos are not estimated: calibrated for the mask states of the train people"
        )
    return found
