"""What calibrate tells, as a few lines of text."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.labels import BANDS, MASKS
from pipeline.scoring.caveats import suffix


def report(result: dict[str, Any]) -> str:
    """The dictionary of `summary` as a few lines of plain text."""
    prior, scores = result["age_mix"], result["scores"]
    lines = [
        f"fitted on {result['photos']} photos of {result['people']} people ("
        + ", ".join(f"{n} {name}" for n, name in zip(result["people_by_band"], BANDS, strict=True))
        + f"), {result['folds']} fold{'s' if result['folds'] > 1 else ''}"
        + (f"; {result['dropped']} incomplete rows left out" if result["dropped"] else "")
    ]
    lines += ["", *prior_lines(prior), *mask_lines(result.get("mask_states"))]
    (low, high), spans = result["thresholds"], result["threshold_intervals"]
    lines += ["", f"thresholds {low:.1f} ({_span(spans[0], 1)}) and {high:.1f} ({_span(spans[1], 1)}) years"]
    lines += [
        "",
        f"{'macro-F1 of validation':<28}{'thresholds 30/60':>25}{'calibrated, in-sample':>25}{'cross-fitted':>25}"
        + suffix(result["caveats"]),
    ]
    states = result.get("mask_states")
    used = "mixes used" if states and states["kind"] == "estimate" else "age mix used"
    for key, name in (("train", "train age mix"), ("eval", used)):
        cells = [
            f"{scores[key][name]['macro_f1']:.3f} ({_span(scores[key][name]['interval'])})"
            for name in ("plain", "in_sample", "cross_fitted")
        ]
        lines.append(f"  {'in the ' + name:<26}" + "".join(f"{cell:>25}" for cell in cells))
    lines.append(f"a pair of thresholds for each mask state would gain {scores['gain_by_mask']:+.4f}, cross-fitted")
    if result["expected"]:
        lines += ["", expected_line(result)]
        lines += [*possible_line(prior), *second_line(result["expected"])]
    lines += [f"note: {note}" for note in result["notes"]]
    return "\n".join(lines)


def label_report(result: dict[str, Any]) -> str:
    """The report of a LabelCombiner as a few lines of plain text."""
    scores = result["scores"]
    counts = ", ".join(f"{n} {name}" for n, name in zip(result["people_by_band"], BANDS, strict=True))
    lines = [f"fitted on {result['photos']} photos of {result['people']} people ({counts})", ""]
    lines += prior_lines(result["age_mix"])
    young, old = result["offsets"]
    lines += [
        "",
        f"temperature {result['temperature']:.2f}; offsets {young:+.2f} of the young, {old:+.2f} of the old",
    ]
    lines.append(
        f"macro-F1 of validation{suffix(result['caveats'])}: likeliest labels "
        f"{scores['train']['plain']['macro_f1']:.3f}, corrected and cross-fitted "
        f"{scores['train']['cross_fitted']['macro_f1']:.3f}; in the age mix used "
        f"{scores['eval']['plain']['macro_f1']:.3f} and {scores['eval']['cross_fitted']['macro_f1']:.3f}"
    )
    if result["expected"]:
        lines += ["", expected_line(result), *possible_line(result["age_mix"])]
    return "\n".join(lines + [f"note: {note}" for note in result["notes"]])


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


def mask_lines(prior: dict[str, Any] | None) -> list[str]:
    """The mask states of the train people's photos and of the eval photos, as a table; a line where they are alike."""
    if prior is None:
        return []
    if prior["kind"] == "train":
        return ["mask states as in train, which the eval photos leave possible", *_by_state(prior)]
    lines = [f"{'mask states':<28}" + "".join(f"{name:>18}" for name in MASKS)]
    for name, shares in (("train", prior["train"]), ("used: estimated", prior["used"])):
        lines.append(f"  {name:<26}" + "".join(f"{share:>17.1%} " for share in shares))
    spans = [f"{low:.1%} to {high:.1%}" for low, high in prior["interval"]]
    return [*lines, f"  {'95 % interval of it':<26}" + "".join(f"{span:>18}" for span in spans), *_by_state(prior)]


def _by_state(prior: dict[str, Any]) -> list[str]:
    """The age mix of the photos of each mask state, where these differ."""
    if "bands" not in prior:
        return []
    lines = [f"{'age mix by mask state':<28}" + "".join(f"{name:>18}" for name in BANDS)]
    rows = zip(MASKS, prior["bands"], strict=True)
    return lines + [f"  {name:<26}" + "".join(f"{share:>17.1%} " for share in shares) for name, shares in rows]


def possible_line(prior: dict[str, Any]) -> list[str]:
    """What the expected score runs over, where the prior is not known: no line, or one."""
    return ["  over all age mixes that the eval photos leave possible"] if "estimate" in prior else []


def second_line(expected: dict[str, Any]) -> list[str]:
    """The second opinion on the expected score, where there is one."""
    second = expected.get("second")
    if second is None:
        return []
    spread = f"{expected['level']:.0%} interval {_span(second['interval'])}"
    return [f"  by how often each label was predicted there, {second['macro_f1']:.3f} ({spread})"]


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
