"""Systems compared at equal cost: which ones there are, and the tables of what came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import band, decode, encode
from models.presets import PRESETS, TASKS
from pipeline import scoring, store
from pipeline.answers import TRUTH
from pipeline.inputs import read_answers
from pipeline.label_answers import averaged, chances_of

BASELINE = "specialists"
"""Whom the others are compared with."""
LEAK = "leak"
"""In the list of systems: the second table, of a network validated by photo and by person."""
BORROWED = ("backbone", "backbone_options", "height", "width", "batch", "lr", "optimizer", "weight_decay",
            "layer_decay", "drop_path")  # fmt: skip
"""What a joint network takes over from the specialist whose backbone it has."""
WRONG = {name: name if name == "correct" else f"wrong {name}" for name in scoring.ERRORS}
"""The columns of the errors by attribute, in photos."""
LEVEL = (0.025, 0.975)


@dataclass(frozen=True)
class System:
    """A system: the settings that its tasks have beside the preset's, and those its run has beside this one's.

    kind: specialists, joint or multihead; same_as: it is trained already, as another system whose ages it bands
    at 30 and 60; likeliest: judged by its likeliest labels, with nothing corrected, as the notes' networks were.
    """

    name: str
    kind: str
    settings: dict[str, dict[str, Any]]
    run: dict[str, str] = field(default_factory=dict)
    same_as: str | None = None
    likeliest: bool = False

    def resolved(self, preset: str) -> dict[str, dict[str, Any]]:
        """The settings of each task in full."""
        return {task: PRESETS[preset][task] | settings for task, settings in self.settings.items()}

    def place(self, folder: Path) -> Path:
        """Where, in a run's folder, its predictions, combiner and submission are."""
        return folder if self.kind == BASELINE else folder / self.kind


def systems(preset: str) -> dict[str, System]:
    """All that can be compared, by name, in the order of the table."""
    plain: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    joint = {}
    for word, task in {"efficientnet": "mask", "swin": "gender", "convnext": "age"}.items():
        joint[f"joint-{word}"] = {"joint": {name: PRESETS[preset][task][name] for name in BORROWED}}
    found = [
        System(BASELINE, "specialists", plain),
        *(System(name, "joint", settings) for name, settings in joint.items()),
        *(System(f"multihead-{head}", "multihead", {"multihead": {"age_head": head}}) for head in ("bands", "years")),
        System("specialists-30-60", "specialists", plain, same_as=BASELINE),
    ]
    return {system.name: system for system in found}


def leaking() -> dict[str, System]:
    """The joint network as the preset has it, validated by photo and by person; by split."""
    return {
        split: System(f"joint-by-{split}", "joint", {"joint": {}}, run={"split": split}, likeliest=True)
        for split in ("photo", "person")
    }


@dataclass(frozen=True)
class Outcome:
    """What a system of one seed came to.

    labels (n,): of the eval photos; years (n,): their ages, NaN where a photo could not be decoded, None where the
    system answers none; validation: macro-F1 of people held out; factors: of the learning rate, by task; flops,
    seconds: of its training.
    """

    system: str
    seed: int
    validation: float
    labels: NDArray[np.int64] | None = None
    years: NDArray[np.float64] | None = None
    factors: dict[str, float] = field(default_factory=dict)
    flops: float = float("nan")
    seconds: float = float("nan")


def at_30_60(labels: NDArray[np.int64], years: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the labels with the bands of the answered ages (n,); a photo without an age keeps its label."""
    mask, gender, bands = decode(labels)
    known = np.isfinite(years)
    return encode(mask, gender, np.where(known, band(np.where(known, years, 0.0)), bands))


def held_out(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Truth, likeliest label and person (n,) of the validation photos with all labels, of a rival's fold."""
    table = read_answers(file)
    rows = table[table[list(TRUTH)].notna().all(axis=1)]
    truth = encode(
        rows["mask"].to_numpy(np.int64), rows["gender"].to_numpy(np.int64), band(rows["age"].to_numpy(float))
    )
    return truth, chances_of(rows).argmax(1), rows["person"].to_numpy(str)


def validation_score(system: System, folder: Path) -> float:
    """Macro-F1 of a run's people held out. What was chosen for the score is judged on others than it was chosen on."""
    if system.likeliest:
        truth, labels, _ = held_out(folder / system.kind / "fold0" / "validation.csv")
        return scoring.macro_f1(truth, labels)
    scores = store.read_json(system.place(folder) / "combiner.json")["report"]["scores"]["train"]
    return scores["plain" if system.same_as else "cross_fitted"]["macro_f1"]


def eval_answers(system: System, folder: Path, photos: pd.Series) -> tuple[NDArray[np.int64], NDArray | None]:
    """Labels (n,) and ages (n,), None where there are none, of the eval photos in the order of the submission."""
    place = system.place(folder)
    labels = read_answers(place / "submission.csv")["ans"].to_numpy(np.int64)
    if len(labels) != len(photos):
        raise AssertionError("every eval photo has one label")
    answers = read_answers(place / "predictions.csv")
    if system.likeliest:
        found = averaged(answers)
        likeliest = pd.Series(chances_of(found).argmax(1), index=found["photo"]).reindex(photos.astype("string"))
        return np.where(likeliest.isna(), labels, likeliest.fillna(0)).astype(np.int64), None
    if "age_years" not in answers:
        return labels, None
    years = answers.groupby("photo")["age_years"].mean().reindex(photos.astype("string")).to_numpy(np.float64)
    return (at_30_60(labels, years) if system.same_as else labels), years


def table(
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
        drawn = scoring.resample_together(truth["label"], labels, person, photos_per_person, draws)
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
    row["macro_f1"] = scoring.macro_f1(true, one.labels)
    row["gap"] = one.validation - row["macro_f1"]
    row["accuracy"] = float((true == one.labels).mean())
    for part, a, b in zip(("mask", "gender", "band"), decode(true), decode(one.labels), strict=True):
        row[f"accuracy_{part}"] = float((a == b).mean())
    if one.years is not None:
        error = np.abs(one.years - truth["age"].to_numpy(np.float64, na_value=np.nan))
        row["age_error"] = float(np.nanmean(error)) if np.isfinite(error).any() else np.nan
    return row | {WRONG[name]: count for name, count in scoring.errors(true, one.labels).items()}


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers are averaged; words stay."""
    return {
        name: value if isinstance(value, str) else float(np.mean([row[name] for row in rows]))
        for name, value in rows[0].items()
    }


def person_of(truth: pd.DataFrame) -> NDArray[np.str_] | None:
    """(n,) the persons of the eval photos; None where not all are known."""
    named = "person" in truth and truth["person"].notna().all()
    return truth["person"].to_numpy(str) if named else None


def _span(prefix: str, drawn: NDArray) -> dict[str, float]:
    low, high = np.quantile(drawn, LEVEL)
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}


def leak_table(scored: pd.DataFrame, files: dict[tuple[str, int], Path], draws: int = 2000) -> pd.DataFrame:
    """What validation told and what eval was, by split (photo or person) and seed.

    scored: the `table` of the networks in `leaking`; files: their validation answers by system and seed.
    """
    made = []
    for split, system in leaking().items():
        seeds = [seed for name, seed in files if name == system.name]
        told = [held_out(files[system.name, seed]) for seed in seeds]
        truth, _, person = told[0]
        drawn = scoring.resample_together(truth, np.stack([labels for _, labels, _ in told]), person, draws=draws)
        of = scored[scored["system"] == system.name].set_index("seed")
        for word, columns in [(str(seed), [i]) for i, seed in enumerate(seeds)] + [("mean", list(range(len(seeds))))]:
            row = {"split": split, "seed": word, "validation_photos": len(truth)}
            row |= {"validation_macro_f1": of.loc[word, "validation_macro_f1"]}
            row |= _span("validation_", drawn[:, columns].mean(1))
            made.append(row | of.loc[word, ["macro_f1", "low", "high", "gap"]].to_dict())
    return pd.DataFrame(made)


def text(found: pd.DataFrame, about: str) -> str:
    """The rows over all seeds of a `table`, to be read; about: a line that says of what."""
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
            parts = "".join(f"{r[f'accuracy_{part}']:>8.3f}" for part in ("mask", "gender", "band"))
            wrong = ", ".join(f"{r[column]:.0f} {name}" for name, column in WRONG.items())
            lines.append(f"{r['system']:<20}{parts}{years:>8}  {wrong}")
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
