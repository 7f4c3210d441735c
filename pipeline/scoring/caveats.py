"""What a validation score must not be shown without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CAVEATS = {"leaky": "leaky", "optimistic": "optimistic: it chose the epoch"}
"""What stands beside a validation score that flatters, by its name in logs and records."""
CAVEAT_SENTENCES = {
    "leaky": "split by photo: the same faces stand on both sides, so the validation scores are leaky; split by person "
    "to know the score to expect",
    "optimistic": "the validation scores are optimistic: early stopping chose its epoch by them",
}
"""The same in a sentence."""


def caveat_suffix(metrics: dict[str, Any]) -> str:
    """What a validation score must not be shown without, by what stands beside it in a log or record."""
    return suffix([word for name, word in CAVEATS.items() if metrics.get(name)])


def suffix(caveats: Sequence[str]) -> str:
    """Caveats as they stand behind a score, nothing where there are none."""
    return f" ({', '.join(caveats)})" if caveats else ""
