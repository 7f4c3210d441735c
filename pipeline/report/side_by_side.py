"""Runs side by side: their scores on the same photos, and the differences by the same resampled people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import decode
from pipeline.report import drawing
from pipeline.report.blocks import Block, Column, Plot, Section, Table, shown
from pipeline.report.record_section import settings_of_run
from pipeline.report.run_files import RunFiles
from pipeline.report.score_sections import WHOLE, error_words
from pipeline.scoring.bootstrap import LEVEL, resample_together
from pipeline.scoring.metrics import errors, macro_f1

DRAWS = 2000
QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def side_by_side(runs: Sequence[RunFiles]) -> list[Section]:
    """The sections of a page about several runs, the first of which the others are compared with."""
    names = names_of(runs)
    sections = []
    whole = [f"{name}{files.caveats}" for name, files in zip(names, runs, strict=True)]
    for key, title, tables, named in (
        ("eval", "On the eval photos", [files.scored_labels() for files in runs], names),
        ("held-out", "On people held out", [files.told_labels() for files in runs], whole),
    ):
        sections.append(_judged(key, title, named, tables, runs[0].report["photos_per_person"]))
    return [*sections, _expected(whole, runs), _cost(names, runs), _differing(names, runs)]


def names_of(runs: Sequence[RunFiles]) -> list[str]:
    """A name for each run, the whole folder where two would have the same."""
    short = [files.name for files in runs]
    return short if len(set(short)) == len(short) else [str(files.place) for files in runs]


def _judged(
    key: str, title: str, names: Sequence[str], tables: Sequence[pd.DataFrame | None], photos_per_person: float
) -> Section:
    """Scores of those that have a table, on the photos that all of these have with the same true label."""
    known = [(name, table) for name, table in zip(names, tables, strict=True) if table is not None]
    left = [name for name in names if name not in dict(known)]
    told = f"Not known of {', '.join(left)}. " if left else ""
    if not known:
        return Section(key, title, "The truth was not opened of any of these runs.")
    common = _common([table for _, table in known])
    if common is None:
        return Section(key, title, f"{told}They share no photo with the same true label, so nothing can be compared.")
    most = max(len(table) for _, table in known)
    people = common["person"].nunique() if common["person"].notna().all() else None
    told += f"{len(common):,} photos{f' of {people:,} people' if people else ''}"
    told += " that all have" if len(common) < most else ""
    names = [name for name, _ in known]
    told += (
        f". Differences are to {names[0]}, by the same resampled people, with 95 % intervals."
        if len(known) > 1
        else "."
    )
    labels = np.stack([common[f"predicted_{at}"].to_numpy(np.int64) for at in range(len(known))])
    return Section(key, title, told, _compared(key, names, common, labels, photos_per_person))


def _common(tables: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    """photo, person, label, and predicted_0 and so on, of the photos that all tables have with the same label."""
    whole = tables[0][["photo", "person", "label"]]
    for at, table in enumerate(tables):
        mine = table[["photo", "label", "predicted"]].rename(columns={"predicted": f"predicted_{at}"})
        whole = whole.merge(mine, on=["photo", "label"])
    return whole if len(whole) else None


def _compared(
    key: str, names: Sequence[str], common: pd.DataFrame, labels: NDArray[np.int64], photos_per_person: float
) -> list[Block]:
    true = common["label"].to_numpy(np.int64)
    person = common["person"].astype(str).to_numpy() if common["person"].notna().all() else None
    drawn = resample_together(true, labels, person, photos_per_person, DRAWS)
    scores, rows, differences = [], [], []
    for at, name in enumerate(names):
        value = macro_f1(true, labels[at])
        low, high = np.quantile(drawn[:, at], QUANTILES)
        scores.append((name, value, float(low), float(high)))
        rights = [float((a == b).mean()) for a, b in zip(decode(true), decode(labels[at]), strict=True)]
        row: list[Any] = [name, value, (float(low), float(high)), None, None]
        if at:
            span = tuple(float(one) for one in np.quantile(drawn[:, at] - drawn[:, 0], QUANTILES))
            differences.append((name, value - scores[0][1], *span))
            row[3:] = [value - scores[0][1], span]
        rows.append([*row, float((true == labels[at]).mean()), *rights])
    columns = [Column("run"), Column("macro-F1", "score"), Column("95 %", "score"), Column("difference", "signed")]
    columns += [
        Column("95 %", "signed"),
        *(Column(f"{one} right", "share") for one in ("all", "mask", "gender", "band")),
    ]
    table = Table(columns, rows, "Scores and differences")
    alt = "; ".join(f"{name} {shown(value, 'score')} ({low:.3f} to {high:.3f})" for name, value, low, high in scores)
    blocks: list[Block] = [
        Plot(
            f"{key}-scores",
            "Macro-F1",
            drawing.intervals(f"{key}-scores", scores, "macro-F1", [0], WHOLE),
            f"{alt}.",
            table,
        )
    ]
    if differences:
        alt = "; ".join(
            f"{name} {shown(value, 'signed')} ({low:+.3f} to {high:+.3f})" for name, value, low, high in differences
        )
        plotted = drawing.intervals(f"{key}-differences", differences, f"macro-F1, minus that of {names[0]}", zero=True)
        cells = [(name, value, (low, high)) for name, value, low, high in differences]
        table = Table([Column("run"), Column("difference", "signed"), Column("95 %", "signed")], cells, "Differences")
        blocks.append(Plot(f"{key}-differences", f"Beside {names[0]}", plotted, f"{alt}.", table))
    return [*blocks, _wrong(names, true, labels)]


def _wrong(names: Sequence[str], true: NDArray[np.int64], labels: NDArray[np.int64]) -> Table:
    made = [errors(true, mine) for mine in labels]
    rows = [(error_words(word), *(int(one[word]) for one in made)) for word in made[0]]
    return Table([Column("wrong"), *(Column(name, "count") for name in names)], rows, "Photos wrong by attribute")


def _expected(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    rows = []
    for name, files in zip(names, runs, strict=True):
        expected, made = files.report["expected"] or {}, files.report
        span = tuple(expected["interval"]) if expected.get("interval") else None
        thresholds = made.get("thresholds") or (None, None)
        rows.append((name, expected.get("macro_f1"), span, *thresholds, *made["age_mix"]["used"], made["people"]))
    columns = [Column("run"), Column("macro-F1 expected", "score"), Column("interval", "score")]
    columns += [Column("lower threshold", "years"), Column("upper threshold", "years")]
    columns += [Column(name, "share") for name in ("under 30, used", "30 to 59, used", "60 and over, used")]
    table = Table([*columns, Column("people held out", "count")], rows, "What each expected, and calibrated for")
    return Section("expected", "What each expected", "", [table])


def _cost(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    rows = []
    for name, files in zip(names, runs, strict=True):
        for task, folds in files.networks.items():
            told = folds[0].settings
            seconds = sum(fold.metrics["seconds"] for fold in folds)
            score = float(np.mean([fold.metrics["macro_f1"] for fold in folds]))
            rows.append(
                (name, task, len(folds), told.backbone, f"{told.height}x{told.width}", told.epochs, seconds, score)
            )
    columns = [Column("run"), Column("network"), Column("folds", "count"), Column("backbone"), Column("pixels")]
    columns += [Column("epochs", "number"), Column("training", "seconds"), Column("macro-F1, own classes", "score")]
    return Section("cost", "The networks, and what they cost", "", [Table(columns, rows, "By network", head=2)])


def _differing(names: Sequence[str], runs: Sequence[RunFiles]) -> Section:
    """The settings in which the runs differ."""
    made = [settings_of_run(files) for files in runs]
    every = list(dict.fromkeys(key for one in made for key in one))
    rows = [(*key, *(one.get(key, "") for one in made)) for key in every]
    rows = [row for row in rows if any(a != b for a, b in pairwise(row[2:]))]
    columns = [Column("of"), Column("setting"), *(Column(name) for name in names)]
    lead = "" if rows else "They have the same settings."
    return Section(
        "settings", "Where their settings differ", lead, [Table(columns, rows, "Settings", head=2)] if rows else []
    )
