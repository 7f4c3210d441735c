"""Where the networks of a run looked in some photos, as small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import joblib
import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.photos import DataSet
from pipeline.images.framing import View
from pipeline.images.photos import decode_all
from pipeline.images.run_photos import framed
from pipeline.prediction.grad_cam import looked_at
from pipeline.prediction.run_predictions import Networks, folds_in, framing_of
from pipeline.prediction.trained import trained_network
from pipeline.run.folder import Run
from pipeline.runtime.machine import keep_memory

MAP = (132, 99)
"""Pixels, height and width: one and a half times what is shown."""
STRENGTH = 0.55
"""Of a map over its photo."""


class Look(NamedTuple):
    """A photo to be looked into: of eval or not, and the fold whose networks held it out, -1 for all of them."""

    photo: str
    is_eval: bool
    fold: int


def where_looked(
    run: Run, networks: Networks, data: DataSet, looks: Sequence[Look]
) -> dict[Look, dict[str, NDArray[np.uint8]]]:
    """By photo and attribute, what a network saw beneath the map of where it looked; the mean of the maps over folds.

    A photo that cannot be decoded has none. One network at a time is in memory.
    """
    views = list(dict.fromkeys(View.of(fold.settings) for fold in folds_in(networks)))
    seen = _decoded(run, networks, data, looks, views)
    keep_memory()
    maps: dict[Look, dict[str, list[NDArray[np.float32]]]] = {}
    shown: dict[tuple[Look, str], NDArray[np.uint8]] = {}
    for fold in folds_in(networks):
        mine = [look for look in seen if look.fold in (-1, fold.number)]
        if not mine:
            continue
        pixels = np.stack([seen[look][View.of(fold.settings)] for look in mine])
        for attribute, found in looked_at(*trained_network(fold), pixels).items():
            for look, photo, one in zip(mine, pixels, found, strict=True):
                maps.setdefault(look, {}).setdefault(attribute, []).append(one)
                shown[look, attribute] = photo
    return {
        look: {name: overlaid(shown[look, name], np.mean(some, 0)) for name, some in by_name.items()}
        for look, by_name in maps.items()
    }


def _decoded(
    run: Run, networks: Networks, data: DataSet, looks: Sequence[Look], views: Sequence[View]
) -> dict[Look, dict[View, NDArray[np.uint8]]]:
    """Each photo that can be decoded and still is of the data set, in each view, framed as the networks had it."""
    found, framing = {}, framing_of(networks)
    for is_eval, table in ((False, data.train), (True, data.eval)):
        mine = {look.photo: look for look in looks if look.is_eval == is_eval}
        rows = table[table["photo"].isin(list(mine))]
        photos = framed(run, data, rows, framing)
        for photo, fitted in zip(rows["photo"], decode_all(photos, views, joblib.cpu_count()), strict=True):
            if not isinstance(fitted, str):
                found[mine[photo]] = fitted.pixels
    return found


def overlaid(photo: NDArray[np.uint8], strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A photo (H, W, 3) in grey beneath a map (H, W) from 0 to 1, dark to bright in a scale that all can tell apart."""
    height, width = MAP
    grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)
    levels = np.round(255 * cv2.resize(strength, (width, height))).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)[:, :, ::-1]
    mixed = (1 - STRENGTH) * grey[:, :, None] + STRENGTH * coloured
    return np.round(mixed).astype(np.uint8)
