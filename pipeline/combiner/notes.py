"""What a reader must know of a calibration, in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS
from pipeline.combiner.expected_score import LEAST
from pipeline.combiner.prior_estimate import Estimate, ShiftedAges
from pipeline.combiner.second_opinion import disagree
from pipeline.combiner.self_test import SelfTest
from pipeline.scoring.thresholds import boundaries_without

FAR = 0.1
"""From so far on a reader is told that a threshold is drawn toward the fallback."""


def tried_note(tried: SelfTest, prior: NDArray, shifted: bool = False) -> str:
    """How the estimate did on one's own people, and those that came out like this prior (3,), in a sentence.

    shifted: whether ages shift inside bands, as among those people they do not.
    """
    gains = tried.gains[:, -1]
    gain, error = gains.mean(), gains.std(ddof=1) / len(gains) ** 0.5
    told = (
        f"on your own people, in {len(gains)} sets of other age mixes, {'an' if shifted else 'this'} estimate "
        f"{'gained' if gain >= 0 else 'lost'} {abs(gain):.3f} macro-F1 (give or take {error:.3f}) against the train "
        "age mix; "
    )
    if shifted:
        return told + "on ages that shift inside bands it was not tried"
    return told + f"where it came out like this it was off by {100 * tried.error(prior):.0f} points"


def unlike_note(guess: Estimate) -> str:
    """That the photos are no mixture of predictions about the validation people."""
    return (
        f"the eval photos look unlike your validation people in any age mix (misfit {guess.misfit:.0f}, usual at most "
        f"{guess.limit:.0f}): an estimate of their age mix and the expected score may be far off; if you know the age "
        "mix, give it with --prior 0.42,0.28,0.30"
    )


def ages_note(ages: ShiftedAges) -> str:
    """That people of other ages inside the bands explain the photos, and of which there are most beside one's own."""
    most = int(np.nanargmax(ages.factor))
    first, last = ages.start[most], ages.start[most + 1] - 1 if most + 1 < len(ages.start) else np.inf
    which = f"{first:.0f} to {last:.0f}" if np.isfinite(last) else f"{first:.0f} and over"
    return (
        "no age mix of your validation people explains the eval photos, but people of other ages inside the bands do "
        f"(people of {which} count {ages.factor[most]:.1f} times as often among those of their band); the score to "
        "expect is told for these, and thresholds are chosen for them as far as for the estimate of the age mix"
    )


def shrinkage_notes(shrinkage: NDArray, counts: NDArray, names: tuple[str, str], toward: str) -> list[str]:
    """A sentence for each of the two that few people (counts (3,) by band) draw toward something, by shrinkage (2,)."""
    return [
        f"the {name} is drawn {p:.0%} of the way to {toward}: only {pair.min()} people in a band beside it"
        for name, p, pair in zip(names, shrinkage, (counts[:2], counts[1:]), strict=True)
        if p > FAR and pair.all()  # the others are told by `absence`
    ]


def second_notes(expected: dict[str, Any]) -> list[str]:
    """That the two expected scores are far apart, where they are."""
    second = expected.get("second")
    if second is None or not disagree(expected, second):
        return []
    low, high = second["interval"]
    return [
        f"by how often each label was predicted on the eval photos a macro-F1 of {second['macro_f1']:.3f} ({low:.3f} "
        f"to {high:.3f}) is to be expected, further from the one above than either's interval reaches: the eval photos "
        "are predicted otherwise than your validation people would be in the age mix and mask states gone by, and both "
        "may be wrong"
    ]


def nobody(counts: NDArray) -> str:
    """Which bands have no validation people, counts (3,), in words; nothing where all have."""
    absent = [name for name, count in zip(BANDS, counts, strict=True) if not count]
    return f"no validation person is {' or '.join(absent)}" if absent else ""


def absence(counts: NDArray, names: tuple[str, str], values: tuple[float, float]) -> tuple[list[str], list[str]]:
    """What is said beside every score, and in a sentence, where bands have no validation people, counts (3,).

    names, values: of the two that were to be fitted, and what they are where nobody is on one side of them.
    """
    absent = nobody(counts)
    if not absent:
        return [], []
    unfitted = [
        f"the {name} is {value:g}"
        for name, value, lacking in zip(names, values, boundaries_without(counts), strict=True)
        if lacking
    ]
    rest = "rests" if len(unfitted) == 1 else "rest"
    told = (
        f"{absent}: {' and '.join(unfitted)}, which {rest} on nobody, and no score tells how such people are labelled; "
        "more folds (FOLDS=all), where not all are trained, or such people mend it"
    )
    return [absent], [told]


def interval_notes(counts: NDArray, shares: NDArray) -> list[str]:
    """A sentence where `expected_interval` gives none, for people, counts (3,), and shares (3,), by band."""
    lacking = [
        f"{n} validation {'person is' if n == 1 else 'people are'} {name}"
        for n, share, name in zip(counts, shares, BANDS, strict=True)
        if share > 0 and n < LEAST
    ]
    if not lacking:
        return []
    return [
        f"the expected score has no interval: only {' and '.join(lacking)}, and at least {LEAST} are needed to tell "
        "how much people differ"
    ]
