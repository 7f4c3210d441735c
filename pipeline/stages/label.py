"""python -m pipeline label: label the photos that are named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.run.folder import Run, open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime.problems import cut_short_line, show, tell_bad_photos

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.serving.exported_labeller import ExportedLabeller
    from pipeline.serving.labeller import Labeller


TURN = 256
"""Photos whose lines are printed when they are labelled, for a program that reads them meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Label(SystemStage):
    """What the stage label is told."""

    photos: tuple[str, ...] = setting(
        "Photos, folders of photos, or - for a list of such names on standard input, a line each.", (), positional=True
    )
    json: bool = setting("A line of JSON for each photo, in place of a table.", False, flag=True)
    draw: Path | None = setting(
        "A folder for pictures of the photos with their faces and labels.",
        None,
        usual="none",
    )
    model: Path | None = setting("A folder that export wrote, in place of a run.", None, usual="none")
    threads: int | None = setting("Processor threads.", None, least=1, usual="all cores")


def label(settings: Label) -> dict[str, Any]:
    """Label single photos with a trained run: mask and gender, with how certain each is, age band and years."""
    beside = [f"--{name.replace('_', '-')}" for name in (*settings.shared, *_said(settings, "run", "system"))]
    if settings.model is not None and beside:
        raise UserError(f"--model {settings.model} says what labels them; leave out {listed(beside)}.")
    run = None if settings.model is not None else open_run(settings, make=False)
    photos = list(dict.fromkeys(named(settings.photos, run is not None and run.follow_links)))
    if not photos:
        raise UserError("label needs photos: name some, or a folder, or - for a list on standard input.")
    if settings.draw is not None:
        from pipeline.serving.pictures import check_pictures_folder, draw_pictures

        check_pictures_folder(settings.draw, photos, settings.model if run is None else run.data)
    import joblib

    from pipeline.serving.labelled import joined

    labeller = _labeller(settings, run, settings.threads or joblib.cpu_count())
    pieces = []
    for some in _in_turns(photos, TURN if settings.json else len(photos)):
        pieces.append(labeller.label(some, quiet=settings.json or not sys.stdout.isatty()))
        lines = map(json.dumps, pieces[-1].replies()) if settings.json else table(pieces[-1].photos, pieces[-1].faces)
        for line in lines:
            print(line)
        sys.stdout.flush()
    said = joined(pieces)
    if "age_years" in said.photos and not settings.json:  # else a band beside other years looks like a mistake
        print(f"label: years are as predicted; bands go by {labeller.told()}", file=sys.stderr)
    if labeller.boxed:
        print(
            "label: the networks learned from photos cropped to face boxes, and these have none; expect more errors",
            file=sys.stderr,
        )
    if said.cut_short:
        print(f"label: {cut_short_line(said.cut_short)}", file=sys.stderr)
    if settings.draw is not None:
        draw_pictures(settings.draw, photos, said.faces, said.photos)
        print(f"label: {len(said.photos)} pictures in {settings.draw}", file=sys.stderr)
    if run is not None and not labeller.kept:
        _keep_converted(run, run.system(settings))
    if said.bad:
        raise UserError(
            f"of {len(photos)} photos {len(said.bad)} cannot be decoded and have no label:\n{tell_bad_photos(said.bad)}"
        )
    return {"photos": len(said.photos)}


def _in_turns(photos: list[str], most: int) -> Iterator[list[str]]:
    for start in range(0, len(photos), most):
        yield photos[start : start + most]


def _said(settings: Label, *names: str) -> list[str]:
    """Which of some settings were given."""
    return [name for name in names if getattr(settings, name) is not None]


def _labeller(settings: Label, run: Run | None, threads: int) -> Labeller | ExportedLabeller:
    """What labels photos: a run, or the folder of one that was exported."""
    if run is None:
        from pipeline.serving.exported_labeller import ExportedLabeller

        return ExportedLabeller.of_folder(settings.model, threads)
    from pipeline.serving.labeller import Labeller

    return Labeller.of_run(run, run.system(settings), threads)


def _keep_converted(run: Run, system: str) -> None:
    """Keeps the networks as OpenVINO runs them, so that the next call need not load torch; says what came of it."""
    from pipeline.runtime.gpu import has_gpu
    from pipeline.serving.labeller import keep_networks

    if has_gpu():
        return
    try:
        if not keep_networks(run, system):
            return
        told = f"the networks are kept converted in {run.folder}; the next call answers sooner"
    except Exception as problem:  # torch and OpenVINO raise whatever they raise, and the photos have their labels
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        told = f"the networks could not be kept converted ({first}); labels are no worse"
    print(f"label: {told}", file=sys.stderr)


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


def table(found: pd.DataFrame, faces: pd.DataFrame | None = None) -> list[str]:
    """The rows as columns below each other; how certain an attribute is stands behind it, in percent.

    faces: of which those that do not count as their photo's stand below it.
    """
    if found.empty:
        return []
    others: dict[str, list[tuple[str, ...]]] = {}
    for row in [] if faces is None else faces[faces["face"] > 0].to_dict("records"):
        where = f"  another face, at {row['box_x']:.0f}, {row['box_y']:.0f}"
        others.setdefault(row["photo"], []).append((where, *_cells(row)))
    lines = [("photo", "label", "mask", "gender", "age band", "years")]
    for row in found.to_dict("records"):
        lines += [(_name(row["photo"]), *_cells(row)), *others.get(row["photo"], [])]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, wide, strict=True)).rstrip() for line in lines]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """What is said of a photo or a face: label, mask, gender, age band and years."""
    mask, gender = row["mask"], row["gender"]
    if f"mask_{mask}" in row:
        mask += f" {row[f'mask_{mask}']:.0%}"
    if "gender_female" in row:
        women = row["gender_female"]
        gender += f" {women if gender == 'female' else 1 - women:.0%}"
    years = f"{row['age_years']:.0f}" if "age_years" in row else ""
    return str(row["label"]), mask, gender, row["band"], years


def _name(photo: str) -> str:
    """As it is, or where it holds what no terminal should get, in quotes."""
    return photo if show(photo)[1:-1] == photo else show(photo)
