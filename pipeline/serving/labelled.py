"""What is said of photos that are shown to a trained run, or to an exported one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd


class Labelled(NamedTuple):
    """What a run says of photos.

    photos: a row for each, in order: photo, label, mask, gender, band in words, years and probabilities; columns that
    the system does not predict are left out. faces: the same for each face that was found, with its number and box;
    None where none are looked for.
    bad: the photos that cannot be decoded, with the reason, which have no row; cut_short: those whose file is.
    """

    photos: pd.DataFrame
    faces: pd.DataFrame | None
    bad: dict[str, str]
    cut_short: list[str]

    def replies(self) -> list[dict[str, Any]]:
        """A photo's row each as plain values for JSON, with its faces where these were looked for."""
        faces: dict[str, list[dict[str, Any]]] = {}
        for row in [] if self.faces is None else self.faces.to_dict("records"):
            faces.setdefault(row.pop("photo"), []).append(_plain_row(row))
        found = []
        for row in self.photos.to_dict("records"):
            also = {} if self.faces is None else {"faces": faces.get(row["photo"], [])}
            found.append(_plain_row(row) | also)
        return found


def joined(pieces: Sequence[Labelled]) -> Labelled:
    """What was said of some photos, and of others, as one; of one piece at least."""

    def rows(tables: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)

    bad = {photo: why for piece in pieces for photo, why in piece.bad.items()}
    faces = None if pieces[0].faces is None else rows([piece.faces for piece in pieces])
    return Labelled(
        rows([piece.photos for piece in pieces]), faces, bad, [p for piece in pieces for p in piece.cut_short]
    )


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it; a number that there is not is null."""
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    return value if isinstance(value, str) else int(value)
