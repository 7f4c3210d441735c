"""What compare came to, as sections of a page: its tables, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.report import EVERYONE, MEAN, WRONG
from pipeline.comparison.systems import BASELINE
from pipeline.report import drawing
from pipeline.report.blocks import Block, Column, Kind, Plot, Section, Table, shown
from pipeline.report.score_sections import WHOLE

TITLES = {MEAN: "On the eval photos, mean of the replicates", EVERYONE: "All people, by networks that never saw them"}
KINDS: dict[str, tuple[str, Kind]] = {
    "system": ("system", "text"),
    "replicate": ("replicate", "text"),
    "people": ("people", "count"),
    "macro_f1": ("macro-F1", "score"),
    "difference": ("difference", "signed"),
    "accuracy": ("all right", "share"),
    "accuracy_mask": ("mask right", "share"),
    "accuracy_gender": ("gender right", "share"),
    "accuracy_band": ("band right", "share"),
    "age_error": ("age error", "years"),
    "validation_macro_f1": ("validation", "score"),
    "gap": ("validation - eval", "signed"),
    "chosen": ("chosen by trials", "text"),
    "seconds": ("training", "seconds"),
}
"""The columns of compare's table that stand in a page, with titles and kinds."""


def comparison_sections(tables: Mapping[str, pd.DataFrame]) -> list[Section]:
    """A section a budget, the dearest first; tables: as compare wrote them, by name."""
    sections = []
    table = tables.get("compare")
    if table is not None:
        for cost in sorted(table["cost"].unique(), reverse=True):
            rows = table[table["cost"] == cost]
            lead = (
                f"Every system had {cost:g}e12 FLOPs a replicate. Differences are to the specialists, by the same "
                f"resampled people, with 95 % intervals."
            )
            key = f"cost-{cost:g}".replace(".", "-")
            sections.append(Section(key, f"At {cost:g}e12 FLOPs each", lead, _blocks(key, rows)))
    if "leak" in tables:
        sections.append(Section("leak", "What a split by photo would have told", "", [_whole("leak", tables["leak"])]))
    return sections


def _blocks(key: str, rows: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = []
    for of, title in TITLES.items():
        some = rows[(rows["replicate"] == of) & rows["macro_f1"].notna()].replace({np.nan: None}).to_dict("records")
        if some:
            blocks += _drawn(f"{key}-{of}", title, some)
    return [*blocks, _errors(rows), _whole("By replicate", rows)]


def _drawn(key: str, title: str, rows: Sequence[dict[str, Any]]) -> list[Plot]:
    scores = [(row["system"], row["macro_f1"], row["low"], row["high"]) for row in rows]
    strong = [at for at, row in enumerate(rows) if row["system"] == BASELINE]
    columns = [Column("system"), Column("macro-F1", "score"), Column("95 %", "score")]
    cells = [(name, value, None if low is None else (low, high)) for name, value, low, high in scores]
    alt = "; ".join(f"{name} {shown(value, 'score')}" for name, value, *_ in scores)
    made = [
        Plot(
            key,
            title,
            drawing.intervals(key, scores, "macro-F1", strong, WHOLE),
            f"{alt}.",
            Table(columns, cells, "Scores"),
        )
    ]
    apart = [
        (row["system"], row["difference"], row["difference_low"], row["difference_high"])
        for row in rows
        if row["difference"] is not None
    ]
    if apart:
        columns = [Column("system"), Column("difference", "signed"), Column("95 %", "signed")]
        cells = [(name, value, (low, high)) for name, value, low, high in apart]
        alt = "; ".join(f"{name} {shown(value, 'signed')}" for name, value, *_ in apart)
        plotted = drawing.intervals(f"{key}-apart", apart, "macro-F1, minus the specialists'", zero=True)
        made.append(
            Plot(f"{key}-apart", "Beside the specialists", plotted, f"{alt}.", Table(columns, cells, "Differences"))
        )
    return made


def _errors(rows: pd.DataFrame) -> Table:
    some = rows[rows["replicate"].isin([MEAN, EVERYONE]) & rows["macro_f1"].notna()]
    cells = [
        (row["system"], row["replicate"], *(row[name] for name in WRONG.values())) for row in some.to_dict("records")
    ]
    columns = [Column("system"), Column("of"), *(Column(name.replace("_", " "), "number") for name in WRONG.values())]
    return Table(columns, cells, "Photos by what is wrong", head=2)


def _whole(caption: str, rows: pd.DataFrame) -> Table:
    known = [name for name in rows if name in KINDS] if "chosen" in rows else list(rows)
    columns = [Column(*KINDS.get(name, (name.replace("_", " "), _kind(rows[name])))) for name in known]
    cells = rows[known].astype(object).where(rows[known].notna(), None).to_numpy().tolist()
    return Table(columns, cells, caption)


def _kind(column: pd.Series) -> Kind:
    return "number" if pd.api.types.is_numeric_dtype(column) else "text"
