"""What `evaluation` found of a submission, as a few lines of text."""

from __future__ import annotations

from typing import Any

from models.labels import BANDS, GENDERS, LABELS, MASKS
from pipeline.scoring.caveats import suffix


def score_text(result: dict[str, Any]) -> str:
    """The metrics of `evaluate_submission` as a few lines of plain text."""
    low, high = result["interval"]
    of = f"{result['photos']} photos" + (f" of {result['people']} people" if result["people"] else "")
    lines = [f"macro-F1 {result['macro_f1']:.4f}  (95 % interval {low:.3f} to {high:.3f}; {of})"]
    lines[0] += suffix(result.get("caveats", ()))
    if "macro_f1_18" in result:
        lines[0] += f"; {result['labels_present']} of {LABELS} labels occur, over all 18: {result['macro_f1_18']:.4f}"
    if "macro_f1_30_60" in result:
        lines.append(f"  with age thresholds 30 and 60 it would be {result['macro_f1_30_60']:.4f}")
    accuracies = ", ".join(f"{name} {result[f'accuracy_{name}']:.4f}" for name in ("mask", "gender", "band"))
    lines.append(f"accuracy {result['accuracy']:.4f}  ({accuracies})")
    if result.get("age_error") is not None:
        lines.append(f"age error {result['age_error']:.2f} years on average")
    lines += ["", "photos wrong by attribute"]
    lines += [
        f"  {name:<22}{count:>8}{count / result['photos']:>9.2%}"
        for name, count in result["errors"].items()
        if count or "," not in name
    ]
    for name, words in (("mask", MASKS), ("gender", GENDERS), ("band", BANDS)):
        lines += ["", f"{name}: rows are the truth, columns the prediction"]
        lines.append(" " * 14 + "".join(f"{word:>14}" for word in words))
        lines += [
            f"  {word:<12}" + "".join(f"{count:>14}" for count in row)
            for word, row in zip(words, result[f"confusion_{name}"], strict=True)
        ]
    return "\n".join(lines)
