"""python -m pipeline label: label the photos that are named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.run.folder import open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime.problems import cut_short_line, show, tell_bad_photos

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
    """Label single photos with a trained run: mask and gender, with how certain each is, age band and years."""
    run = open_run(settings, make=False)
    photos = list(dict.fromkeys(named(settings.photos, run.follow_links)))
    if not photos:
        raise UserError("label needs photos: name some, or a folder, or - for a list on standard input.")
    import joblib

    from pipeline.serving.labeller import Labeller

    labeller = Labeller.of_run(run, run.system(settings), settings.threads or joblib.cpu_count())
    found, bad, cut_short = labeller.label(photos, quiet=settings.json or not sys.stdout.isatty())
    for line in json_lines(found) if settings.json else table(found):
        print(line)
    sys.stdout.flush()
    if "age_years" in found and not settings.json:  # else a band beside other years looks like a mistake
        print(f"label: years are as predicted; bands go by {labeller.combiner.told()}", file=sys.stderr)
    if labeller.boxed:
        print(
            "label: the networks learned from photos cropped to face boxes, and these have none; expect more errors",
            file=sys.stderr,
        )
    if cut_short:
        print(f"label: {cut_short_line(cut_short)}", file=sys.stderr)
    if bad:
        raise UserError(
            f"of {len(photos)} photos {len(bad)} cannot be decoded and have no label:\n{tell_bad_photos(bad)}"
        )
    return {"photos": len(found)}


def named(words: Sequence[str], follow_links: bool = False) -> Iterator[str]:
    """The photos that words name, in their order. Raises UserError for a name that there is not."""
    from pipeline.dataset.photos import read_folder

    for word in words:
        if word == "-":
            lines = os.fsdecode(sys.stdin.buffer.read()).split("\n")  # a name may hold any other sign
            yield from named([line.removesuffix("\r") for line in lines if line.strip()], follow_links)
        elif word and os.path.isdir(word):
            yield from (os.path.join(word, photo) for photo in read_folder(Path(word), follow_links).eval["photo"])
        elif word and os.path.exists(word):
            yield word
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


def table(found: pd.DataFrame) -> list[str]:
    """The rows as columns below each other; how certain an attribute is stands behind it, in percent."""
    if found.empty:
        return []
    lines = [("photo", "label", "mask", "gender", "age band", "years")]
    for row in found.to_dict("records"):
        mask, gender = row["mask"], row["gender"]
        if f"mask_{mask}" in row:
            mask += f" {row[f'mask_{mask}']:.0%}"
        if "gender_female" in row:
            women = row["gender_female"]
            gender += f" {women if gender == 'female' else 1 - women:.0%}"
        years = f"{row['age_years']:.0f}" if "age_years" in row else ""
        lines.append((_name(row["photo"]), str(row["label"]), mask, gender, row["band"], years))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, wide, strict=True)).rstrip() for line in lines]


def _name(photo: str) -> str:
    """As it is, or where it holds what no terminal should get, in quotes."""
    return photo if show(photo)[1:-1] == photo else show(photo)
