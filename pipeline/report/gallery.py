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
from pipeline.images.photos import decode_photo
from pipeline.images.run_photos import framed
from pipeline.prediction.ensemble import trained_network
from pipeline.prediction.grad_cam import looked_at
from pipeline.prediction.run_predictions import folds_in, framing_of
from pipeline.report.blocks import Card, Gallery, Section
from pipeline.report.network_section import marginals
from pipeline.report.run_files import RunFiles
from pipeline.report.telling import certainty, confident_mistakes, least_certain
from pipeline.runtime.progress import Progress
from pipeline.scoring.metrics import errors

PICTURE, MAP = (256, 192), (132, 99)
"""Pixels, height and width: twice and one and a half times what is shown."""
STRENGTH = 0.55
"""Of a map over its photo."""


@dataclass(frozen=True)
class Shown:
    """A gallery before its photos are read: places in `rows`, which have photo, person, label, predicted and fold."""

    title: str
    note: str
    rows: pd.DataFrame
    places: Sequence[int]
    which: str


def gallery_section(files: RunFiles, data: DataSet, maps: bool = True) -> Section:
    """Galleries of the people held out and, where their truth was opened, of eval photos.

    data: the run's data set; maps: whether Grad-CAM shows where the networks looked.
    """
    shown = _held_out(files)
    if files.scored is not None and files.predictions is not None:
        shown += _scored(files)
    shown = [one for one in shown if len(one.places)]
    cards = _cards(files, data, shown, maps)
    blocks = [Gallery(one.title, one.note, some) for one, some in zip(shown, cards, strict=True)]
    lead = (
        "What is true stands above what was said. The small pictures show where each network looked (Grad-CAM): bright "
        "places spoke for what it said."
    )
    return Section("photos", "Photos that tell", lead, blocks)


def _held_out(files: RunFiles) -> list[Shown]:
    rows = files.validation.merge(files.told_labels()[["photo", "label", "predicted"]], on="photo")
    return _both(files, rows, "held out", "people held out")


def _scored(files: RunFiles) -> list[Shown]:
    mean = files.predictions.groupby("photo", as_index=False).mean(numeric_only=True).drop(columns="fold")
    rows = files.scored[["photo", "person", "age", "label", "predicted"]].merge(mean, on="photo")
    return _both(files, rows.assign(fold=-1), "eval", "eval photos")


def _both(files: RunFiles, rows: pd.DataFrame, name: str, of: str) -> list[Shown]:
    mask, female = marginals(rows)
    rows = rows.assign(said_mask=mask.to_numpy(float).max(1), said_female=female.to_numpy(float))
    certain = certainty(rows, mask.to_numpy(float), female.to_numpy(float), files.report.get("thresholds"))
    wrong = len(rows) - int(errors(rows["label"], rows["predicted"])["correct"])
    sure, unsure = confident_mistakes(rows, certain), least_certain(rows, certain)
    first = "a few each of mask, gender and age, one photo a person, the surest first"
    return [
        Shown(f"The most confident mistakes, {of}", f"Of {wrong:,} that are wrong: {first}.", rows, sure, name),
        Shown(
            f"The least certain, {of}", "Right or wrong: nearest to another answer, each attribute.", rows, unsure, name
        ),
    ]


def _cards(files: RunFiles, data: DataSet, shown: Sequence[Shown], maps: bool) -> list[list[Card]]:
    """The cards of each gallery; a photo that cannot be decoded any more has none."""
    networks = _Networks(files, data) if maps else None
    made = []
    with Progress("report", sum(len(one.places) for one in shown), "photos") as progress:
        for one in shown:
            rows = one.rows.iloc[list(one.places)]
            looks = networks.looked(rows, one.which) if networks else {}
            cards = []
            for row in rows.to_dict("records"):
                progress.advance()
                try:
                    picture = fit(decode(data.path(row["photo"])).pixels, View(*PICTURE))
                except BadPhotoError:
                    continue
                told = [(name, _jpeg(look)) for name, look in looks.get(row["photo"], {}).items()]
                cards.append(_card(row, _jpeg(picture), told))
            made.append(cards)
    return made


def _card(row: Mapping[str, Any], picture: str, maps: list[tuple[str, str]]) -> Card:
    """A photo with its truth and what was said of it, each attribute with how certain that is."""
    true, said = ([int(one) for one in attributes_of(row[name])] for name in ("label", "predicted"))
    age = f"{row['age']:.0f} years" if pd.notna(row["age"]) else BANDS[true[2]]
    sure = row["said_female"] if said[1] == GENDERS.index("female") else 1 - row["said_female"]
    years = f"{row['age_years']:.1f} years: " if "age_years" in row else ""
    words = (
        f"{MASK_WORDS[said[0]]} {row['said_mask']:.2f}",
        f"{GENDERS[said[1]]} {sure:.2f}",
        f"{years}{BANDS[said[2]]}",
    )
    wrong = [(word, a != b) for word, a, b in zip(words, true, said, strict=True)]
    name = str(row["photo"])
    return Card(picture, f"photo {name}", f"{MASK_WORDS[true[0]]}, {GENDERS[true[1]]}, {age}", wrong, name, maps)


class _Networks:
    """The networks of a run, to be asked where they looked."""

    def __init__(self, files: RunFiles, data: DataSet):
        self.files, self.data = files, data
        self.framing = framing_of(files.networks)
        self.loaded = {(fold.task, fold.number): (fold, *trained_network(fold)) for fold in folds_in(files.networks)}

    def looked(self, rows: pd.DataFrame, name: str) -> dict[str, dict[str, NDArray[np.uint8]]]:
        """By photo and attribute, the photo as its network saw it beneath the map of where it looked.

        Of a photo held out it is the network that held it out, of an eval photo the mean over the folds.
        """
        table = self.data.train if name == "held out" else self.data.eval
        table = table.set_index("photo").loc[rows["photo"]].reset_index()
        photos = framed(self.files.run, self.data, table, self.framing)
        views = list(dict.fromkeys(View.of(fold.settings) for fold, _, _ in self.loaded.values()))
        fitted = [decode_photo(photos, index, views) for index in range(len(table))]
        good = [place for place, one in enumerate(fitted) if not isinstance(one, str)]
        found: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
        seen: dict[str, dict[str, NDArray[np.uint8]]] = {}
        folds = rows["fold"].to_numpy()
        for (_, number), (fold, task, network) in self.loaded.items():
            here = [place for place in good if folds[place] in (-1, number)]
            if not here:
                continue
            pixels = np.stack([fitted[place].pixels[View.of(fold.settings)] for place in here])
            for attribute, maps in looked_at(task, network, pixels).items():
                for place, shown, one in zip(here, pixels, maps, strict=True):
                    photo = rows["photo"].iloc[place]
                    found.setdefault(photo, {}).setdefault(attribute, []).append(one)
                    seen.setdefault(photo, {})[attribute] = shown
        return {
            photo: {name: overlaid(seen[photo][name], np.mean(maps, 0)) for name, maps in by_name.items()}
            for photo, by_name in found.items()
        }


def overlaid(photo: NDArray[np.uint8], map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A photo (H, W, 3) in grey beneath a map (H, W) from 0 to 1, dark to bright in a scale that all can tell apart."""
    height, width = MAP
    grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)
    strength = cv2.resize(map, (width, height))
    coloured = cv2.applyColorMap(np.round(255 * strength).astype(np.uint8), cv2.COLORMAP_CIVIDIS)[:, :, ::-1]
    mixed = (1 - STRENGTH) * grey[:, :, None] + STRENGTH * coloured
    return np.round(mixed).astype(np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    """Pixels (H, W, 3) as a data URI."""
    done, coded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise AssertionError("a picture of 8 bits can be coded")
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode()}"
