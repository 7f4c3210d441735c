"""Systems compared at equal cost: the tables of what came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import decode
from pipeline.comparison.outcomes import Outcome, held_out, person_of
from pipeline.comparison.systems import BASELINE, leaking
from pipeline.scoring.bootstrap import resample_together
from pipeline.scoring.metrics import ERRORS, errors, macro_f1

WRONG = {name: name if name == "correct" else f"wrong {name}" for name in ERRORS}
"""The columns of the errors by attribute, in photos."""
LEVEL = (0.025, 0.975)


def comparison_table(
    outcomes: Sequence[Outcome], truth: pd.DataFrame | None, photos_per_person: float, draws: int = 2000
) -> pd.DataFrame:
    """A row for each system and seed, and one for each system over its seeds (seed "mean").

    truth: label and, where known, person and age of the eval photos, in the order of the outcomes' labels; None
    where it is not known: then the columns that need it are blank. Every interval is of 95 % and resamples the
    same people for all rows: the mean over seeds is taken within a draw, and so is the difference to the
    specialists of the same seed.
    """
    rows = [_row(one, truth) for one in outcomes]
    if truth is not None:
        person = person_of(truth)
        labels = np.stack([one.labels for one in outcomes])
        drawn = resample_together(truth["label"], labels, person, photos_per_person, draws)
    names = list(dict.fromkeys(one.system for one in outcomes))
    seeds = sorted({one.seed for one in outcomes})
    at = {(one.system, one.seed): i for i, one in enumerate(outcomes)}
    made = []
    for name in names:
        for group in [[seed] for seed in seeds] + [seeds]:
            mine = [at[name, seed] for seed in group]
            row = _mean([rows[i] for i in mine]) if group is seeds else dict(rows[mine[0]])
            if truth is not None:
                row |= _span("", drawn[:, mine].mean(1))
                if name != BASELINE and all((BASELINE, seed) in at for seed in group):
                    base = [at[BASELINE, seed] for seed in group]
                    row["difference"] = row["macro_f1"] - np.mean([rows[i]["macro_f1"] for i in base])
                    row |= _span("difference_", (drawn[:, mine] - drawn[:, base]).mean(1))
            made.append(row | {"seed": "mean" if group is seeds else str(group[0]), "seeds": len(group)})
    return pd.DataFrame(made).reindex(columns=COLUMNS)


COLUMNS = ("system", "seed", "seeds", "macro_f1", "low", "high", "difference", "difference_low", "difference_high",
           "accuracy", "accuracy_mask", "accuracy_gender", "accuracy_band", "age_error", *WRONG.values(),
           "validation_macro_f1", "gap", "lr_factors", "flops", "seconds")  # fmt: skip


def _row(one: Outcome, truth: pd.DataFrame | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "system": one.system,
        "validation_macro_f1": one.validation,
        "lr_factors": json.dumps(one.factors) if one.factors else "",
        "flops": one.flops,
        "seconds": one.seconds,
    }
    if truth is None:
        return row
    true = truth["label"].to_numpy(np.int64)
    row["macro_f1"] = macro_f1(true, one.labels)
    row["gap"] = one.validation - row["macro_f1"]
    row["accuracy"] = float((true == one.labels).mean())
    for attribute, a, b in zip(("mask", "gender", "band"), decode(true), decode(one.labels), strict=True):
        row[f"accuracy_{attribute}"] = float((a == b).mean())
    if one.years is not None:
        error = np.abs(one.years - truth["age"].to_numpy(np.float64, na_value=np.nan))
        row["age_error"] = float(np.nanmean(error)) if np.isfinite(error).any() else np.nan
    return row | {WRONG[name]: count for name, count in errors(true, one.labels).items()}


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
    """What validation told and what eval was, by split (photo or person) and seed.

    scored: the `comparison_table` of the networks in `leaking`; files: their validation predictions by system and seed.
    """
    made = []
    for split, system in leaking().items():
        seeds = [seed for name, seed in files if name == system.name]
        told = [held_out(files[system.name, seed]) for seed in seeds]
        truth, _, person = told[0]
        drawn = resample_together(truth, np.stack([labels for _, labels, _ in told]), person, draws=draws)
        of = scored[scored["system"] == system.name].set_index("seed")
        for word, columns in [(str(seed), [i]) for i, seed in enumerate(seeds)] + [("mean", list(range(len(seeds))))]:
            row = {"split": split, "seed": word, "validation_photos": len(truth)}
            row |= {"validation_macro_f1": of.loc[word, "validation_macro_f1"]}
            row |= _span("validation_", drawn[:, columns].mean(1))
            made.append(row | of.loc[word, ["macro_f1", "low", "high", "gap"]].to_dict())
    return pd.DataFrame(made)


def comparison_text(found: pd.DataFrame, about: str) -> str:
    """The rows over all seeds of a `comparison_table`, to be read; about: a line that says of what."""
    rows = found[found["seed"] == "mean"]
    scored = rows["macro_f1"].notna().any()
    lines = [about, ""]
    lines.append(f"{'':<20}{'macro-F1 on eval':>24}{'to the specialists':>28}{'validation':>12}{'gap':>8}")
    for _, r in rows.iterrows():
        score = f"{r['macro_f1']:.3f} ({r['low']:.3f} to {r['high']:.3f})" if scored else ""
        other = (
            f"{r['difference']:+.3f} ({r['difference_low']:+.3f} to {r['difference_high']:+.3f})"
            if pd.notna(r["difference"])
            else ""
        )
        gap = f"{r['gap']:+.3f}" if scored else ""
        lines.append(f"{r['system']:<20}{score:>24}{other:>28}{r['validation_macro_f1']:>12.3f}{gap:>8}")
    if scored:
        lines += ["", f"{'':<20}{'mask':>8}{'gender':>8}{'band':>8}{'years':>8}  photos right, then wrong by attribute"]
        for _, r in rows.iterrows():
            years = f"{r['age_error']:.1f}" if pd.notna(r["age_error"]) else ""
            accuracies = "".join(f"{r[f'accuracy_{attribute}']:>8.3f}" for attribute in ("mask", "gender", "band"))
            wrong = ", ".join(f"{r[column]:.0f} {name}" for name, column in WRONG.items())
            lines.append(f"{r['system']:<20}{accuracies}{years:>8}  {wrong}")
    lines += ["", f"{'':<20}{'1e12 FLOPs':>12}{'seconds':>10}  learning rate"]
    for _, r in rows.iterrows():
        lines.append(f"{r['system']:<20}{r['flops'] / 1e12:>12.2f}{r['seconds']:>10.0f}  {r['lr_factors']}")
    return "\n".join(lines)


def leak_text(found: pd.DataFrame) -> str:
    """The rows over all seeds of a `leak_table`, to be read."""
    lines = [f"{'joint network, split':<24}{'validation macro-F1':>26}{'on eval':>26}{'gap':>8}"]
    for _, r in found[found["seed"] == "mean"].iterrows():
        seen = f"{r['validation_macro_f1']:.3f} ({r['validation_low']:.3f} to {r['validation_high']:.3f})"
        scored = pd.notna(r["macro_f1"])
        score = f"{r['macro_f1']:.3f} ({r['low']:.3f} to {r['high']:.3f})" if scored else ""
        gap = f"{r['gap']:+.3f}" if scored else ""
        name = f"by {r['split']}" + (" (leaky)" if r["split"] == "photo" else "")
        lines.append(f"{name:<24}{seen:>26}{score:>26}{gap:>8}")
    return "\n".join(lines)
