"""The prior of the age bands of photos without labels, with what is not known about it and what it is worth.

The estimate is the mean of the priors that the photos leave possible (`posterior`), given how predictions distribute in
each band (`densities`), both after the estimate was tried on one's own people (`self_test`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS
from pipeline.combiner.densities import Densities, choose_smoothing
from pipeline.combiner.evidence import chi2_quantile, evidence
from pipeline.combiner.posterior import posterior
from pipeline.combiner.self_test import Score, SelfTest, self_test
from pipeline.prediction.labelled import LabelledPredictions

SETS = 200
"""So many sets of one's own people are tried."""
UNTRIED = 2.0
"""How much wider than chi-squared the statistic is taken to be where there are too few people to try it on."""
USUAL = chi2_quantile(0.95, 7)
"""The usual misfit there."""


@dataclass(frozen=True)
class Estimate:
    """The prior of photos without labels.

    raw, prior: (3,) shares by band, of greatest likelihood and as estimated; shares: (6,) the latter by band * 2 +
    gender; draws: (B, 6) priors that the photos leave possible; misfit, limit: how far the photos are from any mixture
    of validation predictions, and how far is usual; tried: on one's own people, None where they are too few.
    """

    raw: NDArray[np.float64]
    prior: NDArray[np.float64]
    shares: NDArray[np.float64]
    draws: NDArray[np.float64]
    misfit: float
    limit: float
    tried: SelfTest | None

    @property
    def unlike(self) -> bool:
        """Whether the photos are unlike what differs from the validation people in nothing but the prior.

        Few people cannot tell.
        """
        return self.tried is not None and self.misfit > self.limit

    @property
    def beyond(self) -> bool:
        """Whether the photos are more unlike than any set of one's own people was: no prior explains them."""
        return self.tried is not None and self.misfit > max(self.limit, float(self.tried.misfit.max()))

    @property
    def step(self) -> float:
        """How far from the train prior toward the estimate labels are best chosen for, as found on one's own people.

        0 where nobody was tried, or where no prior explains the photos.
        """
        return 0.0 if self.tried is None or self.beyond else self.tried.step


def estimate(
    rows: LabelledPredictions,
    age: NDArray,
    gender: NDArray,
    eval_people: float,
    group: NDArray,
    draws: int = 200,
    seed: int = 0,
    score: Score | None = None,
) -> Estimate:
    """The prior of eval photos, from single-network predictions.

    rows: the validation people; age, gender: (n, K) predicted ages and genders of n eval photos by K networks, NaN and
    any number where a network is missing; eval_people: as how many people the photos count; group: (P,) people are held
    out together, to choose a smoothing, who have the same number; score: of `self_test`.
    """
    smoothing = choose_smoothing(rows, group)
    densities = Densities(rows, smoothing)
    known = np.isfinite(age)
    code = densities.code(np.where(known, age, 0.0), gender)
    weight = known / known.sum(1, keepdims=True) / len(age)
    seen = np.bincount(code.ravel(), weight.ravel(), minlength=densities.density.shape[1])
    found = evidence(densities, seen, eval_people)
    tried = self_test(rows, smoothing, SETS, seed, score)
    misfit, limit = found.misfit(), USUAL if tried is None else tried.limit
    # what no prior explains is a noise that the statistic does not know of
    widen = (UNTRIED if tried is None else tried.widen) * max(1.0, misfit / limit)
    possible = posterior(found, rows.counts / rows.people, widen)
    priors = np.concatenate([possible.mean[None], possible.draws(draws, np.random.default_rng([seed, 15]))])
    shares = (priors[:, :, None] * found.genders).reshape(-1, len(BANDS) * len(GENDERS))
    return Estimate(found.likeliest, possible.mean, shares[0], shares[1:], misfit, limit, tried)
