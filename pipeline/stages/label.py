"""python -m pipeline label: label the photos that are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.run.folder import open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime.problems import show

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Label(SystemStage):
    """What the stage label is told."""

    photos: tuple[str, ...] = setting(
        "Photos, folders of photos, or - for a list of such names on standard input, a line each.", (), positional=True
    )
    json: bool = setting("A line of JSON for each photo, in place of a table.", False, flag=True)
    threads: int | None = setting("Processor threads.", None, least=1, usual="all cores")


def label(settings: Label) -> dict[str, Any]:
    """Label the photos that are named, with a trained run: mask, gender, years, and how certain each is."""
    run = open_run(settings, make=False)
    photos = list(named(settings.photos, run.follow_links))
    if not photos:
        raise UserError("label needs photos: name some, or a folder, or - for a list on standard input.")
    import joblib

    from pipeline.serving.labeller import Labeller

    labeller = Labeller.of_run(run, run.system(settings), settings.threads or joblib.cpu_count())
    found, bad = labeller.label(photos, quiet=settings.json)
    print("\n".join(json_lines(found)) if settings.json else table(found), flush=True)
    if "age_years" in found and not settings.json:  # else a band beside other years looks like a mistake
        print(f"label: years are as predicted; bands go by {labeller.combiner.told()}", file=sys.stderr)
    if bad:
        told = "\n".join(f"  {show(photo)}: {reason}" for photo, reason in bad.items())
        raise UserError(f"of {len(photos)} photos {len(bad)} cannot be decoded and have no label:\n{told}")
    return {"photos": len(found)}


def named(words: Sequence[str], follow_links: bool = False) -> Iterator[Path]:
    """The photos that words name, in their order. Raises UserError for a name that there is not."""
    from pipeline.dataset.photos import read_folder

    for word in words:
        if word == "-":
            yield from named([line for line in sys.stdin.read().splitlines() if line.strip()], follow_links)
        elif Path(word).is_dir():
            yield from (Path(word) / photo for photo in read_folder(Path(word), follow_links).eval["photo"])
        elif Path(word).exists():
            yield Path(word)
        else:
            raise UserError(f"there is no photo {show(word)}; name a file, a folder, or - for a list.")


def json_lines(found: pd.DataFrame) -> list[str]:
    """A line for each row."""
    import json

    return [json.dumps({name: _plain(value) for name, value in row.items()}) for row in found.to_dict("records")]


def _plain(value: Any) -> Any:
    """A value as JSON has it; a number that there is not is null."""
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    return value if isinstance(value, str) else int(value)


def table(found: pd.DataFrame) -> str:
    """The rows as columns below each other; how certain an attribute is stands behind it, in percent."""
    lines = [("photo", "label", "mask", "gender", "age band", "years")]
    for row in found.to_dict("records"):
        sure = {"mask": _most(row, "mask_worn", "mask_wrong", "mask_none"), "gender": ""}
        if "gender_female" in row:
            women = row["gender_female"]
            sure["gender"] = f" {max(women, 1 - women):.0%}"
        years = f"{row['age_years']:.0f}" if "age_years" in row else ""
        lines.append(
            (
                _name(row["photo"]),
                str(row["label"]),
                row["mask"] + sure["mask"],
                row["gender"] + sure["gender"],
                row["band"],
                years,
            )
        )
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, wide, strict=True)).rstrip() for line in lines)


def _name(photo: str) -> str:
    """As it is, or where it holds what no terminal should get, in quotes."""
    return photo if show(photo)[1:-1] == photo else show(photo)


def _most(row: dict[str, Any], *columns: str) -> str:
    """The largest of a row's probabilities in percent; nothing where the system has none."""
    return f" {max(row[column] for column in columns):.0%}" if set(columns) <= set(row) else ""
