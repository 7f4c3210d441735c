"""The score, and where the errors are: of the eval photos where their truth was opened, else of people held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from models.labels import GENDERS, LABELS, MASKS, NAMES
from pipeline.report import drawing
from pipeline.report.blocks import Column, Plot, Section, Table, Tile, Tiles, shown
from pipeline.report.run_files import RunFiles
from pipeline.scoring.bootstrap import LEVEL
from pipeline.scoring.caveats import of_every_score, suffix
from pipeline.scoring.groups import LEAST, MOST, further_columns, group_table
from pipeline.scoring.metrics import confusion, errors, f1_of

SPAN = (Column("from", "score"), Column("to", "score"))
WHOLE = (0.0, 1.0)
"""Scores and shares have one scale."""
USUAL = f" ({LEVEL:.0%})".replace("%", " %")
"""The level of intervals, as it stands behind them."""
JUDGED = {"eval": "the eval photos", "held out": "the people held out"}


def headline(files: RunFiles) -> Section:
    """The score to expect with its interval, and the truth beside it where it is known."""
    rows = _scores(files)
    best = rows[0]
    tiles = [Tile(f"macro-F1, {best.name}", best.value, "score", best.span())]
    expected = next((row for row in rows[1:] if row.name.startswith("expected")), None)
    if expected is not None:
        tiles.append(Tile(f"macro-F1, {expected.name}", expected.value, "score", expected.span()))
    if files.score is not None:
        tiles.append(Tile("eval photos right in all three", files.score["accuracy"], "share"))
    else:
        right = float((files.held_out["label"] == files.held_out["cross_fitted"]).mean())
        tiles.append(Tile(f"photos held out right in all three{files.caveats}", right, "share"))
    columns = [Column("macro-F1 of"), Column("value", "score"), *SPAN, Column("interval and photos")]
    cells = [(row.name, row.value, row.low, row.high, row.of) for row in rows]
    table = Table(columns, cells, "Macro-F1 over the labels that occur")
    drawn = [(f"{row.name}{'' if row.level == USUAL else row.level}", row.value, row.low, row.high) for row in rows]
    plotted = drawing.intervals("score", drawn, "macro-F1", strong=[0], span=WHOLE)
    alt = "; ".join(f"{row.name} {shown(row.value, 'score')} ({row.span()})" for row in rows)
    note = f"Lines are 95 % intervals, but where another level stands behind a name.{_held_out_note(files)}"
    plot = Plot("score", "The score and its intervals", plotted, f"Macro-F1: {alt}.", table, note)
    return Section("score", "The score", _lead(files), [Tiles(tiles), plot])


class _Score(NamedTuple):
    """A score, its interval at a level, and what it is of."""

    name: str
    value: float
    low: float | None
    high: float | None
    level: str
    of: str

    def span(self) -> str:
        """The interval in words, with its level."""
        if self.low is None or self.high is None:
            return "no interval"
        return f"{shown(self.low, 'score')} to {shown(self.high, 'score')}{self.level}"


def _scores(files: RunFiles) -> list[_Score]:
    """The scores of the headline: the truth first where it is known, else the one expected, else of people held out."""
    report, score, rows = files.report, files.score, []
    if score is not None:
        people = f" of {score['people']:,} people" if score["people"] else ""
        rows.append(
            _Score("truth", score["macro_f1"], *score["interval"], USUAL, f"{score['photos']:,} eval photos{people}")
        )
    expected = (score or {}).get("expected") or report["expected"]
    if expected:
        level = f" ({expected['level']:.0%})".replace("%", " %")
        of = f"{expected['photos']:,} eval photos, told before the truth was opened{files.caveats}"
        rows.append(_Score("expected", expected["macro_f1"], *(expected["interval"] or (None, None)), level, of))
        if second := expected.get("second"):
            of = "the same, by how often each label was predicted"
            rows.append(_Score("a second opinion", second["macro_f1"], *second["interval"], level, of))
    of = f"{report['photos']:,} photos of {report['people']:,} people held out{files.caveats}"
    kinds = [("held out", "train", "cross_fitted"), ("held out, uncalibrated", "train", "plain")]
    if _weighted(report):
        kinds.insert(1, ("held out, weighted", "eval", "cross_fitted"))
    for name, weighting, key in kinds:
        made = report["scores"][weighting][key]
        rows.append(_Score(name, made["macro_f1"], *(made.get("interval") or (None, None)), USUAL, of))
    return rows


def _held_out_note(files: RunFiles) -> str:
    if not _weighted(files.report):
        return ""
    return (
        " Weighted, people held out stand for the mixes of ages and mask states that are used; else they count as they "
        "are."
    )


def _weighted(report: dict[str, Any]) -> bool:
    """Whether labels were chosen for other shares than the train people's."""
    states = report.get("mask_states") or {}
    return report["age_mix"]["kind"] != "train" or states.get("kind") == "estimate"


def _lead(files: RunFiles) -> str:
    """What the headline's number means, in a sentence or two."""
    report, score = files.report, files.score
    if score is not None:
        low, high = score["interval"]
        told = f"The truth of the eval photos was opened: macro-F1 is {score['macro_f1']:.3f} ({low:.3f} to {high:.3f})"
        expected = score.get("expected")
        if expected and expected["interval"]:
            inside = expected["interval"][0] <= score["macro_f1"] <= expected["interval"][1]
            told += f", {'inside' if inside else 'outside'} the interval that was expected"
        return f"{told}{suffix(of_every_score(report['caveats']))}."
    if report["expected"]:
        return f"The truth of the eval photos is not known here; this is the score to expect of them{files.caveats}."
    return f"There are no eval photos; the score is that of people whom no network saw{files.caveats}."


def label_section(files: RunFiles) -> Section:
    """The confusion of the 18 labels, the errors by attribute, and F1 by label."""
    which, rows = judged(files)
    true, predicted = rows["label"].to_numpy(np.int64), rows["predicted"].to_numpy(np.int64)
    counts = confusion(true, predicted, LABELS)
    found = counts.nonzero()
    cells = [(NAMES[i], NAMES[j], int(counts[i, j])) for i, j in zip(*found, strict=True)]
    worst = max(((int(counts[i, j]), i, j) for i, j in zip(*found, strict=True) if i != j), default=None)
    alt = f"{int(np.trace(counts)):,} of {len(true):,} photos lie on the diagonal, which is right."
    if worst:
        alt += f" The most common error is {NAMES[worst[1]]} taken for {NAMES[worst[2]]}, {worst[0]:,} photos."
    groups = [f"{mask}, {gender}" for mask in MASKS for gender in GENDERS]
    confused = Plot(
        "confusion",
        "The 18 labels, confused",
        drawing.heat_map("confusion", counts, groups, ["under 30", "30–59", "60 and over"]),
        alt,
        Table([Column("true"), Column("predicted"), Column("photos", "count")], cells, "Photos by label", head=2),
        "Rows are the truth; a cell is as strong as its share of its row.",
        wide=True,
    )
    return Section(
        "labels", "Where the errors are", f"Of {_of(files, which)}.", [confused, *_errors(true, predicted), _f1(counts)]
    )


def _errors(true: np.ndarray, predicted: np.ndarray) -> list[Plot]:
    made = errors(true, predicted)
    rows = [(error_words(name), int(count), count / len(true)) for name, count in made.items()]
    columns = [Column("wrong"), Column("photos", "count"), Column("of all", "share")]
    drawn = [(name, count) for name, count, _ in rows[1:]]
    alt = ", ".join(f"{name} {count:,}" for name, count in drawn)
    plotted = drawing.bars("errors", drawn, "photos", lambda value: f"{value:,.0f}")
    return [
        Plot("errors", "Photos wrong by attribute", plotted, f"Photos wrong in {alt}.", Table(columns, rows, "Photos"))
    ]


def error_words(name: str) -> str:
    """A row of the table of errors as it is read."""
    return "all three" if name.count(",") == 2 else name.replace("_", " ").replace(",", " and ")


def _f1(counts: np.ndarray) -> Plot:
    true, predicted, hit = counts.sum(1), counts.sum(0), np.diag(counts)
    f1 = f1_of(hit, predicted, true)
    rows = [
        (NAMES[i], float(f1[i]), _ratio(hit[i], predicted[i]), _ratio(hit[i], true[i]), int(true[i]))
        for i in range(LABELS)
        if true[i]
    ]
    columns = [Column("label"), Column("F1", "score"), Column("precision", "score"), Column("recall", "score")]
    table = Table([*columns, Column("photos", "count")], rows, "By label that occurs")
    lowest = min(rows, key=lambda row: row[1])
    alt = f"F1 of {len(rows)} labels, the lowest {shown(lowest[1], 'score')} of {lowest[0]}."
    plotted = drawing.intervals("f1", [(row[0], row[1], None, None) for row in rows], "F1", span=WHOLE)
    return Plot("f1", "F1 of each label", plotted, alt, table)


def _ratio(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom else None


def judged(files: RunFiles) -> tuple[str, pd.DataFrame]:
    """Whose labels are judged: eval photos where the truth was opened, else the people held out."""
    scored = files.scored_labels()
    return ("held out", files.told_labels()) if scored is None else ("eval", scored)


def group_section(files: RunFiles) -> Section:
    """How right the photos of each group are labelled."""
    blocks: list[Any] = []
    told = {"held out": files.told_labels()}
    scored = files.scored_labels()
    if scored is not None:
        told = {"eval": scored, **told}
    for which, rows in told.items():
        table = group_table(rows, files.further, files.report["photos_per_person"])
        blocks.append(_group_plot(which, table, _of(files, which), _left_out(rows["photo"], files.further)))
    lead = (
        "Differences between groups are what to know before relying on a label. Shares of photos right can be compared "
        "between groups; macro-F1 is over other labels in each."
    )
    return Section("groups", "By group", lead, blocks)


def _of(files: RunFiles, which: str) -> str:
    """Whose labels are judged, in words; with the caveats of people held out."""
    return f"{JUDGED[which]}{files.caveats if which == 'held out' else ''}"


def _left_out(photos: pd.Series, further: Mapping[str, Mapping[str, str]]) -> str:
    """Which further columns make no groups, and why."""
    every = {column: None for photo in photos for column in further.get(photo, {})}
    left = [column for column in every if column not in further_columns(photos, further)]
    return f"No groups by {', '.join(left)}: fewer than {LEAST} or more than {MOST} values." if left else ""


def _group_plot(which: str, table: pd.DataFrame, of: str, note: str) -> Plot:
    key = f"groups-{which.replace(' ', '-')}"
    rows = table.replace({np.nan: None}).to_dict("records")
    lines = [(_label(row["by"], row["group"]), row["right"], row["right_low"], row["right_high"]) for row in rows]
    columns = [Column("by"), Column("group"), Column("photos", "count"), Column("people", "count")]
    columns += [
        column
        for name in ("all three right", "mask right", "gender right", "band right")
        for column in (Column(name, "share"), Column("95 %", "share"))
    ]
    years = table["age_error"].notna().any()
    columns += [Column("age error", "years"), Column("95 %", "years")] if years else []
    columns += [Column("macro-F1", "score"), Column("labels", "count")]
    cells = []
    for row in rows:
        one = [row["by"], row["group"], row["photos"], row["people"]]
        for name in ("right", "right_mask", "right_gender", "right_band", *(("age_error",) if years else ())):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            one += [row[name], None if low is None else (low, high)]
        cells.append([*one, row["macro_f1"], row["labels"]])
    apart = [row for row in rows[1:] if row["right"] is not None]
    low, high = min(apart, key=lambda row: row["right"]), max(apart, key=lambda row: row["right"])
    alt = (
        f"From {shown(low['right'], 'share')} of {low['by']} {low['group']} to {shown(high['right'], 'share')} of "
        f"{high['by']} {high['group']} are right in all three."
    )
    plotted = drawing.intervals(key, lines, "share of photos right", strong=[0], span=WHOLE)
    return Plot(key, f"Right in all three, {of}", plotted, alt, Table(columns, cells, "By group", head=2), note)


def _label(by: str, group: str) -> str:
    """A group's name where it is drawn: each half is cut by itself, so that groups of one column stay apart."""
    if by in ("all", "age band", "gender"):
        return group
    return f"{drawing.cut(by, 11)}: {drawing.cut(group, 13)}"
