"""Systems compared at equal cost: the tables of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import decode
from pipeline.comparison.everyone import Everyone
from pipeline.comparison.outcomes import Outcome, likeliest, person_of
from pipeline.comparison.systems import BASELINE, leaking
from pipeline.scoring.bootstrap import resample, resample_together
from pipeline.scoring.metrics import ERRORS, errors, macro_f1

WRONG = {name: name if name == "correct" else f"wrong {name}" for name in ERRORS}
"""The columns of the errors by attribute, in photos."""
LEVEL = (0.025, 0.975)
MEAN, EVERYONE = "mean", "everyone"
"""In place of a replicate: all of them on the eval photos, and all people together."""


def comparison_table(
    outcomes: Sequence[Outcome],
    truth: pd.DataFrame | None,
    photos_per_person: float,
    draws: int = 2000,
    whole: Everyone | None = None,
) -> pd.DataFrame:
    """What systems of one budget came to: rows for each replicate, for their mean (`MEAN`), and for `EVERYONE`.

    Replicates and their mean are judged on the eval photos. truth: label and, where known, person and age of these, in
    the order of the outcomes' labels; None where it is not known: then the columns that need it are blank. Every
    interval is of 95 % and resamples the same people for all rows: the mean over replicates is taken within a draw,
    and so is the difference to the specialists of the same replicate. whole: all people together, for a row more.
    """
    rows = [_row(one, truth) for one in outcomes]
    if truth is not None:
        person = person_of(truth)
        labels = np.stack([one.labels for one in outcomes])
        drawn = resample_together(truth["label"], labels, person, photos_per_person, draws)
    names = list(dict.fromkeys(one.system for one in outcomes))
    replicates = sorted({one.replicate for one in outcomes})
    at = {(one.system, one.replicate): i for i, one in enumerate(outcomes)}
    made = []
    for name in names:
        for group in [[one] for one in replicates] + [replicates]:
            mine = [at[name, one] for one in group]
            row = _mean([rows[i] for i in mine]) if group is replicates else dict(rows[mine[0]])
            if truth is not None:
                row |= _span("", drawn[:, mine].mean(1))
                if name != BASELINE and all((BASELINE, one) in at for one in group):
                    base = [at[BASELINE, one] for one in group]
                    row["difference"] = row["macro_f1"] - np.mean([rows[i]["macro_f1"] for i in base])
                    row |= _span("difference_", (drawn[:, mine] - drawn[:, base]).mean(1))
            made.append(row | {"replicate": MEAN if group is replicates else str(group[0]), "replicates": len(group)})
    made += [] if whole is None else _everyone_rows(whole, draws, len(replicates))
    return pd.DataFrame(made).reindex(columns=COLUMNS)


def _everyone_rows(whole: Everyone, draws: int, replicates: int) -> list[dict[str, Any]]:
    made, drawn = [], whole.resampled(draws)
    for system, labels in whole.labels.items():
        row = {"system": system, "replicate": EVERYONE, "replicates": replicates, "people": whole.people}
        row |= _of_labels(whole.label, labels, whole.weight) | _span("", drawn[system])
        if system != BASELINE and BASELINE in whole.labels:
            row["difference"] = row["macro_f1"] - whole.macro_f1(BASELINE)
            row |= _span("difference_", drawn[system] - drawn[BASELINE])
        made.append(row)
    return made


COLUMNS = ("system", "replicate", "replicates", "people", "macro_f1", "low", "high", "difference", "difference_low",
           "difference_high", "accuracy", "accuracy_mask", "accuracy_gender", "accuracy_band", "age_error",
           *WRONG.values(), "validation_macro_f1", "gap", "chosen", "flops", "seconds")  # fmt: skip


def _row(one: Outcome, truth: pd.DataFrame | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "system": one.system,
        "validation_macro_f1": one.validation,
        "chosen": ", ".join(f"{task} {what}" for task, what in one.choices.items()),
        "flops": one.flops,
        "seconds": one.seconds,
    }
    if truth is None:
        return row
    true = truth["label"].to_numpy(np.int64)
    row |= _of_labels(true, one.labels)
    row["gap"] = one.validation - row["macro_f1"]
    if one.years is not None:
        error = np.abs(one.years - truth["age"].to_numpy(np.float64, na_value=np.nan))
        row["age_error"] = float(np.nanmean(error)) if np.isfinite(error).any() else np.nan
    return row


def _of_labels(true: NDArray, labels: NDArray, weight: NDArray | None = None) -> dict[str, float]:
    """The metrics of labels (n,) that count so much (n,)."""
    row = {"macro_f1": macro_f1(true, labels, weight), "accuracy": float(np.average(true == labels, weights=weight))}
    for attribute, a, b in zip(("mask", "gender", "band"), decode(true), decode(labels), strict=True):
        row[f"accuracy_{attribute}"] = float(np.average(a == b, weights=weight))
    return row | {WRONG[name]: count for name, count in errors(true, labels, weight).items()}


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers are averaged; words stay."""
    return {
        name: value if isinstance(value, str) else float(np.mean([row[name] for row in rows]))
        for name, value in rows[0].items()
    }


def _span(prefix: str, drawn: NDArray) -> dict[str, float]:
    low, high = np.quantile(drawn, LEVEL)
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}


def leak_table(scored: pd.DataFrame, files: dict[tuple[str, int], Path], draws: int = 2000) -> pd.DataFrame:
    """What validation told and what eval was, by split (photo or person) and replicate.

    scored: the `comparison_table` of the networks in `leaking`; files: their validation predictions by system and
    replicate.
    """
    made = []
    for split, system in leaking().items():
        numbers = [number for name, number in files if name == system.name]
        told = [likeliest(files[system.name, number]) for number in numbers]
        of = scored[scored["system"] == system.name].set_index("replicate")
        same = all(np.array_equal(person, told[0][2]) for _, _, person in told)  # then paired
        drawn = np.stack([resample(*one, draws=draws, seed=0 if same else i) for i, one in enumerate(told)], axis=1)
        for word, columns in [*((str(n), [i]) for i, n in enumerate(numbers)), (MEAN, list(range(len(numbers))))]:
            row = {"split": split, "replicate": word}
            row["validation_photos"] = sum(len(told[i][0]) for i in columns) / len(columns)
            row |= {"validation_macro_f1": of.loc[word, "validation_macro_f1"]}
            row |= _span("validation_", drawn[:, columns].mean(1))
            made.append(row | of.loc[word, ["macro_f1", "low", "high", "gap"]].to_dict())
    return pd.DataFrame(made)


def comparison_text(found: pd.DataFrame, about: str) -> str:
    """A `comparison_table`, to be read, without its single replicates; about: a line that says of what."""
    rows = found[found["replicate"] == MEAN]
    scored = rows["macro_f1"].notna().any()
    lines = [about]
    for word in (EVERYONE, MEAN):
        some = found[(found["replicate"] == word) & found["macro_f1"].notna()]
        if len(some) and word == EVERYONE:
            lines += ["", *_block(some, f"macro-F1, {some['people'].iloc[0]:.0f} people")]
            lines.append("(train people, among them, chose sizes and learning rates; eval photos did not)")
        elif len(some):
            lines += ["", *_block(some, "macro-F1 on eval")]
    lines += ["", f"{'':<20}{'validation':>12}{'gap':>8}{'years':>8}{'1e12 FLOPs':>12}{'seconds':>10}  chosen"]
    for _, r in rows.iterrows():
        gap = f"{r['gap']:+.3f}" if scored else ""
        years = f"{r['age_error']:.1f}" if pd.notna(r["age_error"]) else ""
        lines.append(
            f"{r['system']:<20}{r['validation_macro_f1']:>12.3f}{gap:>8}{years:>8}{r['flops'] / 1e12:>12.2f}"
            f"{r['seconds']:>10.0f}  {r['chosen']}"
        )
    return "\n".join(lines)


def _block(rows: pd.DataFrame, title: str) -> list[str]:
    """Scores of systems on the same photos, and what was wrong with which of these."""
    lines = [f"{'':<20}{title:>24}{'to the specialists':>28}{'mask':>8}{'gender':>8}{'band':>8}"]
    for _, r in rows.iterrows():
        score = f"{r['macro_f1']:.3f} ({r['low']:.3f} to {r['high']:.3f})"
        other = (
            f"{r['difference']:+.3f} ({r['difference_low']:+.3f} to {r['difference_high']:+.3f})"
            if pd.notna(r["difference"])
            else ""
        )
        accuracies = "".join(f"{r[f'accuracy_{attribute}']:>8.3f}" for attribute in ("mask", "gender", "band"))
        lines.append(f"{r['system']:<20}{score:>24}{other:>28}{accuracies}")
    for _, r in rows.iterrows():
        wrong = ", ".join(f"{r[column]:.0f} {name}" for name, column in WRONG.items())
        lines.append(f"{r['system']:<20}  photos: {wrong}")
    return lines


def leak_text(found: pd.DataFrame) -> str:
    """The rows over all seeds of a `leak_table`, to be read."""
    lines = [f"{'joint network, split':<24}{'validation macro-F1':>26}{'on eval':>26}{'gap':>8}"]
    for _, r in found[found["replicate"] == MEAN].iterrows():
        seen = f"{r['validation_macro_f1']:.3f} ({r['validation_low']:.3f} to {r['validation_high']:.3f})"
        scored = pd.notna(r["macro_f1"])
        score = f"{r['macro_f1']:.3f} ({r['low']:.3f} to {r['high']:.3f})" if scored else ""
        gap = f"{r['gap']:+.3f}" if scored else ""
        name = f"by {r['split']}" + (" (leaky)" if r["split"] == "photo" else "")
        lines.append(f"{name:<24}{seen:>26}{score:>26}{gap:>8}")
    return "\n".join(lines)
