"""What was read of a data set, in words; overview.py counts it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.labels import LABELS
from pipeline.dataset.duplicates import MOST_COMPARED
from pipeline.dataset.overview import Overview
from pipeline.runtime.problems import some

MASK_WORDS = {"worn": "masks worn right", "wrong": "masks worn wrong", "none": "no mask", "unknown": "mask unknown"}
GENDER_WORDS = {"male": "men", "female": "women", "unknown": "gender unknown"}


def overview_lines(overview: Overview, left_out_list: Path | None) -> list[str]:
    """The short table of what was read. `left_out_list`: where the files that are left out stand by name."""
    train, evaluated = overview.train, overview.eval
    rows = [("", "train", "eval")] if train.photos else [("", "", "")]
    unknown = "unknown" if evaluated.photos else "0"
    rows.append(("people", f"{train.people:,}", unknown if evaluated.people is None else f"{evaluated.people:,}"))
    rows.append(("photos", f"{train.photos:,}", f"{evaluated.photos:,}"))
    rows.append(("photos with a face box", f"{train.boxed:,}", f"{evaluated.boxed:,}"))
    if not train.photos:
        rows = [(name, "", told) for name, _, told in rows[1:]]
    else:
        rows += _counted(train.genders, GENDER_WORDS)
        if train.ages:
            ages = "{least:g}, {median:g}, {most:g}".format(**train.ages)
            rows.append(("age: least, median, most", ages, ""))
        rows += _counted(train.bands, {"unknown": "age unknown"})
        rows += _counted(train.masks, MASK_WORDS)
    lines = _columns(rows)
    listed = len(overview.left_out)
    which = f"{listed:,} of them" if overview.unlisted else "they"
    where = f"; {which} are listed in {left_out_list}" if left_out_list else ""
    lines.append(
        f"files and photos left out: {listed + overview.unlisted:,}{where}; system files: {overview.system_files:,}"
    )
    if overview.duplicates is None:
        lines.append(f"photos that are there twice: not looked for among more than {MOST_COMPARED:,}")
    else:
        lines.append(f"photos that are there twice: {overview.duplicates:,}")
    if train.photos:
        absent = f": {some([f'({name})' for name in overview.absent])}" if overview.absent else ""
        lines.append(f"labels that no train photo carries: {len(overview.absent)} of {LABELS}{absent}")
    return lines


def warnings_of(overview: Overview) -> list[str]:
    """What cannot be predicted after training on these photos, a sentence each."""
    return [
        *(
            f"warning: no train photo carries {value}, so that labels with it cannot be predicted{_unless(value)}"
            for value in overview.missing
        ),
        *(
            f"warning: only extra photos carry {value}, so that nobody is held out with it: nothing tells how often "
            f"labels with it are right"
            for value in overview.only_extra
        ),
    ]


def _unless(value: str) -> str:
    drawn = value.startswith("mask ") and value != "mask none"
    return ", unless masks are drawn on bare faces (train mask --drawn-masks yes)" if drawn else ""


def _counted(counts: Mapping[str, int] | None, words: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(words.get(name, name), f"{count:,}", "") for name, count in (counts or {}).items()]


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    """Rows with their cells under one another, the first at the left and the numbers at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip()
        if widths[1]
        else f"{row[0]:<{widths[0]}}  {row[2]:>{widths[2]}}".rstrip()
        for row in rows
    ]
