"""What calibrate tells, as a few lines of text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import BANDS
from pipeline.combiner.expected_score import LEAST
from pipeline.combiner.prior_estimate import Estimate
from pipeline.combiner.self_test import SelfTest
from pipeline.scoring.caveats import suffix

FAR = 0.1
"""From so far on a reader is told that a threshold is drawn toward the fallback."""


def tried_note(tried: SelfTest, prior: NDArray) -> str:
    """How the estimate did on one's own people, and those that came out like this prior (3,), in a sentence."""
    gains = tried.gains[:, -1]
    gain, error = gains.mean(), gains.std(ddof=1) / len(gains) ** 0.5
    return (
        f"on your own people, in {len(gains)} sets of other age mixes, this estimate "
        f"{'gained' if gain >= 0 else 'lost'} {abs(gain):.3f} macro-F1 (give or take {error:.3f}) against the train "
        f"age mix; where it came out like this it was off by {100 * tried.error(prior):.0f} points"
    )


def unlike_note(guess: Estimate) -> str:
    """That the photos are no mixture of predictions about the validation people."""
    return (
        f"the eval photos look unlike your validation people in any age mix (misfit {guess.misfit:.0f}, usual at most "
        f"{guess.limit:.0f}): an estimate of their age mix and the expected score may be far off; if you know the age "
        "mix, give it with --prior 0.42,0.28,0.30"
    )


def shrinkage_notes(shrinkage: NDArray, counts: NDArray, names: tuple[str, str], toward: str) -> list[str]:
    """A sentence for each of the two that few people (counts (3,) by band) draw toward something, by shrinkage (2,)."""
    return [
        f"the {name} is drawn {p:.0%} of the way to {toward}: only {pair.min()} people in a band beside it"
        for name, p, pair in zip(names, shrinkage, (counts[:2], counts[1:]), strict=True)
        if p > FAR
    ]


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


def report(result: dict[str, Any]) -> str:
    """The dictionary of `summary` as a few lines of plain text."""
    prior, scores = result["age_mix"], result["scores"]
    lines = [
        f"fitted on {result['photos']} photos of {result['people']} people ("
        + ", ".join(f"{n} {name}" for n, name in zip(result["people_by_band"], BANDS, strict=True))
        + f"), {result['folds']} fold{'s' if result['folds'] > 1 else ''}"
        + (f"; {result['dropped']} incomplete rows left out" if result["dropped"] else "")
    ]
    lines += ["", *prior_lines(prior)]
    (low, high), spans = result["thresholds"], result["threshold_intervals"]
    lines += ["", f"thresholds {low:.1f} ({_span(spans[0], 1)}) and {high:.1f} ({_span(spans[1], 1)}) years"]
    lines += [
        "",
        f"{'macro-F1 of validation':<28}{'thresholds 30/60':>25}{'calibrated, in-sample':>25}{'cross-fitted':>25}"
        + suffix(result["caveats"]),
    ]
    for key, name in (("train", "train age mix"), ("eval", "age mix used")):
        cells = [
            f"{scores[key][name]['macro_f1']:.3f} ({_span(scores[key][name]['interval'])})"
            for name in ("plain", "in_sample", "cross_fitted")
        ]
        lines.append(f"  {'in the ' + name:<26}" + "".join(f"{cell:>25}" for cell in cells))
    lines.append(f"a pair of thresholds for each mask state would gain {scores['gain_by_mask']:+.4f}, cross-fitted")
    if result["expected"]:
        lines += ["", expected_line(result)]
        lines += possible_line(prior)
    lines += [f"note: {note}" for note in result["notes"]]
    return "\n".join(lines)


def prior_lines(prior: dict[str, Any]) -> list[str]:
    """The train age mix, the one used and the one estimated, as a table."""
    lines = [f"{'age mix':<28}" + "".join(f"{name:>18}" for name in BANDS)]
    whole = "estimate" in prior and np.allclose(prior["estimate"], prior["used"])
    used = {"train": "train", "given": "given", "estimate": "estimated" if whole else "toward the estimate"}[
        prior["kind"]
    ]
    rows = [("train", prior["train"]), (f"used: {used}", prior["used"])]
    if "estimate" in prior and not (whole and prior["kind"] == "estimate"):
        rows.append(("estimated", prior["estimate"]))
    lines += [f"  {name:<26}" + "".join(f"{share:>17.1%} " for share in shares) for name, shares in rows]
    if "interval" in prior:
        spans = [f"{low:.1%} to {high:.1%}" for low, high in prior["interval"]]
        lines.append(f"  {'95 % interval of it':<26}" + "".join(f"{span:>18}" for span in spans))
    return lines


def possible_line(prior: dict[str, Any]) -> list[str]:
    """What the expected score runs over, where the prior is not known: no line, or one."""
    return ["  over all age mixes that the eval photos leave possible"] if "estimate" in prior else []


def expected_line(result: dict[str, Any]) -> str:
    """The expected score of these eval photos, in one line; for submit and score too."""
    expected = result["expected"]
    spread = (
        f"{expected['level']:.0%} interval {_span(expected['interval'])}" if expected["interval"] else "no interval"
    )
    return (
        f"expect macro-F1 {expected['macro_f1']:.3f} on these {expected['photos']} eval photos "
        f"({spread}){suffix(result['caveats'])}"
    )


def _span(pair: list[float], digits: int = 3) -> str:
    return f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"
