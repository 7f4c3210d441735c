"""What a validation score must not be shown without."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pipeline.runtime.problems import some

CAVEATS = {"leaky": "leaky", "optimistic": "optimistic: it chose the epoch"}
"""What stands beside a validation score that flatters, by its name in logs and records."""
CAVEAT_SENTENCES = {
    "leaky": "split by photo: the same faces stand on both sides, so the validation scores are leaky; split by person "
    "to know the score to expect",
    "optimistic": "the validation scores are optimistic: early stopping chose its epoch by them",
}
"""The same in a sentence."""


UNSEEN = "unseen"
"""In a fold's record: the labels of the 18 that its network cannot know, as no train photo shows such."""


def unseen_caveat(labels: Collection[int]) -> dict[str, str]:
    """Nothing, or what stands beside every score where no train photo is of these labels: in short, and a sentence."""
    if not labels:
        return {}
    from models.labels import LABELS, NAMES

    is_of = "is" if len(labels) == 1 else "are"
    names = some([f"{label} ({NAMES[label]})" for label in sorted(labels)])
    return {
        f"{len(labels)} of {LABELS} labels unseen in train": f"{len(labels)} of the {LABELS} labels {is_of} of no "
        f"train photo and cannot be answered, which a score tells only where such photos are scored: {names}"
    }


def of_every_score(caveats: Sequence[str]) -> list[str]:
    """Those of the caveats of a calibration that hold for the score of a submission too: they are not validation's."""
    return [caveat for caveat in caveats if caveat not in (*CAVEATS, *CAVEATS.values())]


def caveat_suffix(metrics: dict[str, Any]) -> str:
    """What a validation score must not be shown without, by what stands beside it in a log or record."""
    return suffix([word for name, word in CAVEATS.items() if metrics.get(name)])


def suffix(caveats: Sequence[str]) -> str:
    """Caveats as they stand behind a score, nothing where there are none."""
    return f" ({', '.join(caveats)})" if caveats else ""
