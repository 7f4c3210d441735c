"""Photos of people with what was true, what was said, and where the networks looked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.labels import BANDS, GENDERS, MASK_WORDS
from models.labels import decode as attributes_of
from pipeline.dataset.photos import DataSet
from pipeline.images.decode import BadPhotoError, decode
from pipeline.images.framing import View, fit
from pipeline.report.blocks import Card, Gallery, Section
from pipeline.report.network_section import marginals
from pipeline.report.run_files import RunFiles
from pipeline.report.telling import certainty, confident_mistakes, least_certain
from pipeline.report.where_looked import Look, where_looked
from pipeline.runtime.progress import Progress
from pipeline.scoring.metrics import errors

PICTURE = (256, 192)
"""Pixels, height and width: twice what is shown."""


@dataclass(frozen=True)
class Shown:
    """A gallery before its photos are read: the rows to show, with photo, person, label, predicted and fold."""

    title: str
    note: str
    rows: pd.DataFrame
    is_eval: bool

    @property
    def looks(self) -> list[Look]:
        return [
            Look(str(photo), self.is_eval, int(fold))
            for photo, fold in zip(self.rows["photo"], self.rows["fold"], strict=True)
        ]


def gallery_section(files: RunFiles, data: DataSet) -> Section:
    """Galleries of the people held out and, where their truth was opened, of eval photos; data: the run's data set."""
    shown = _held_out(files)
    if files.scored is not None and files.predictions is not None:
        shown += _scored(files)
    shown = [one for one in shown if len(one.rows)]
    looks = where_looked(
        files.run, files.networks, data, list(dict.fromkeys(look for one in shown for look in one.looks))
    )
    blocks = []
    with Progress("report", sum(len(one.rows) for one in shown), "photos") as progress:
        for one in shown:
            blocks.append(Gallery(one.title, one.note, _cards(one, data, looks, progress)))
    lead = (
        "What is true stands above what was said, with its probability. The small pictures show where each network "
        "looked (Grad-CAM): bright places spoke for what that network said."
    )
    return Section("photos", "Photos that tell", lead, blocks)


def _held_out(files: RunFiles) -> list[Shown]:
    rows = files.validation.merge(files.told_labels()[["photo", "label", "predicted"]], on="photo")
    note = " Their labels are those by thresholds that other people chose."
    return _both(files, rows, False, f"people held out{files.caveats}", note)


def _scored(files: RunFiles) -> list[Shown]:
    mean = files.predictions.groupby("photo", as_index=False).mean(numeric_only=True).drop(columns="fold")
    rows = files.scored[["photo", "person", "age", "label", "predicted"]].merge(mean, on="photo")
    return _both(files, rows.assign(fold=-1), True, "eval photos", "")


def _both(files: RunFiles, rows: pd.DataFrame, is_eval: bool, of: str, note: str) -> list[Shown]:
    mask, female = (one.to_numpy(np.float64) for one in marginals(rows))
    certain = certainty(rows, mask, female, files.report.get("thresholds"))
    rows = rows.assign(sure_mask=certain["mask"], sure_gender=certain["gender"])
    wrong = len(rows) - int(errors(rows["label"], rows["predicted"])["correct"])
    sure, unsure = confident_mistakes(rows, certain), least_certain(rows, certain)
    first = "a few each of mask, gender and age, of each the surest first, one photo a person"
    near = "Right or wrong: a few each of mask, gender and age, nearest to saying something else."
    return [
        Shown(f"The most confident mistakes, {of}", f"Of {wrong:,} wrong: {first}.{note}", rows.iloc[sure], is_eval),
        Shown(f"The least certain, {of}", f"{near}{note}", rows.iloc[unsure], is_eval),
    ]


def _cards(
    one: Shown, data: DataSet, looks: Mapping[Look, Mapping[str, NDArray[np.uint8]]], progress: Progress
) -> Sequence[Card]:
    """A card for each photo that can be decoded."""
    cards = []
    for row, look in zip(one.rows.to_dict("records"), one.looks, strict=True):
        progress.advance()
        try:
            picture = fit(decode(data.source(look.photo)).pixels, View(*PICTURE))
        except BadPhotoError:
            continue
        maps = [(name, _jpeg(seen)) for name, seen in looks.get(look, {}).items()]
        cards.append(_card(row, _jpeg(picture), maps))
    return cards


def _card(row: Mapping[str, Any], picture: str, maps: list[tuple[str, str]]) -> Card:
    """A photo with its truth and what was said of it, each attribute with how certain that is."""
    true, said = ([int(one) for one in attributes_of(row[name])] for name in ("label", "predicted"))
    age = f"{row['age']:.0f} years" if pd.notna(row["age"]) else BANDS[true[2]]
    years = f"{row['age_years']:.1f} years: " if "age_years" in row else ""
    words = (
        f"{MASK_WORDS[said[0]]} {row['sure_mask']:.2f}",
        f"{GENDERS[said[1]]} {row['sure_gender']:.2f}",
        f"{years}{BANDS[said[2]]}",
    )
    wrong = [(word, a != b) for word, a, b in zip(words, true, said, strict=True)]
    name = str(row["photo"])
    return Card(picture, f"photo {name}", f"{MASK_WORDS[true[0]]}, {GENDERS[true[1]]}, {age}", wrong, name, maps)


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    """Pixels (H, W, 3) as a data URI."""
    done, coded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise AssertionError("a picture of 8 bits can be coded")
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode()}"
