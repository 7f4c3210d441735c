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
from pipeline.combiner.counts import correlation
from pipeline.combiner.evidence import Evidence
from pipeline.combiner.posterior import posterior
from pipeline.combiner.prior_choice import FEW
from pipeline.prediction.eval_predictions import EvalPredictions
from pipeline.prediction.labelled import LabelledPredictions

LEAST = 3
"""With fewer people held out in a state nothing tells what it is taken for."""
PSEUDO = 0.5
"""Photos that are added to each confusion."""


@dataclass(frozen=True)
class MaskPrior:
    """Shares of the mask states: train (3,) of photos held out, estimate (3,) of others; draws (B, 3) that may be."""

    train: NDArray[np.float64]
    estimate: NDArray[np.float64]
    draws: NDArray[np.float64]

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
        """(3,) what is gone by: the train shares as long as nothing tells others."""
        return self.estimate if self.shifted else self.train

    def weights(self, rows: LabelledPredictions) -> NDArray[np.float64]:
        """(n,) how often photos held out count to stand for such shares; one in the mean of each class of people."""
        each = (self.share / self.train)[rows.label // CLASSES]
        kind = rows.kind[rows.person]
        mean = np.bincount(kind, each) / np.maximum(np.bincount(kind), 1)
        return each / mean[kind]


def mask_prior(
    rows: LabelledPredictions, mask: NDArray[np.int64], photos_per_person: float, draws: int = 200, seed: int = 0
) -> MaskPrior | None:
    """The shares of mask states of eval photos; None where too few people held out are in a state.

    mask: (n, K) predicted states of n photos by K networks, -1 where one is missing; photos_per_person: how many of
    them are one person's.
    """
    true, predicted = rows.label // CLASSES, rows.cell // len(GENDERS)
    size = len(MASKS)
    photos = np.bincount(true, minlength=size)
    people = np.bincount(np.unique(true * rows.persons + rows.who[rows.person]) // rows.persons, minlength=size)
    if people.min() < LEAST:
        return None
    table = np.bincount(true * size + predicted, minlength=size**2).reshape(size, size) + PSEUDO
    density = table / table.sum(1, keepdims=True)
    alike = correlation(true, predicted, rows.who[rows.person])
    known = mask >= 0
    weight = (known / known.sum(1, keepdims=True))[known]
    seen = np.bincount(mask[known], weight, size)
    found = Evidence(
        density=density,
        raw=density,
        noise=np.stack([np.diag(row) - np.outer(row, row) for row in density]),
        people=photos / _effect(photos / people, alike),
        seen=seen / seen.sum(),
        eval_people=len(mask) / _effect(photos_per_person, alike),
        genders=np.ones((size, 1)),
    )
    train = photos / photos.sum()
    possible = posterior(found, train)
    return MaskPrior(train, possible.mean, possible.draws(draws, np.random.default_rng([seed, 26])))


def _effect(photos: NDArray | float, correlation: float) -> NDArray | float:
    """As how many one counts of so many photos of a person, whose mistakes go together."""
    return 1 + (np.maximum(photos, 1) - 1) * correlation


def masks_of(
    rows: LabelledPredictions, eval: EvalPredictions, draws: int, seed: int, notes: list[str]
) -> MaskPrior | None:
    """The mask states of eval photos, None where they are taken to be as in train, which notes tell."""
    if eval.mask is None or eval.people < FEW:
        return None
    found = mask_prior(rows, eval.mask, eval.photos_per_person, draws, seed)
    if found is None:
        notes.append(
            f"fewer than {LEAST} validation people are in some mask state, so that its share among the eval photos is "
            "not estimated: calibrated for the mask states of the train people"
        )
    return found
