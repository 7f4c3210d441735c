"""What every combiner file begins with."""

from __future__ import annotations

from typing import Any

from models.errors import UserError

TASK = "face18: mask x gender x age band"
HELD_OUT_FILE = "held_out.csv"
"""The labels of people held out, which calibrate writes beside it (`held_out_table`)."""
HELD_OUT_ALONE_FILE = "held_out_alone.csv"
"""The same of photos labelled each for itself, beside a combiner that pools those of a person."""
LABELS_FILE = "labels.csv"
"""What submit says of each photo, in words and with the predictions that it rests on."""
POOLED = ("gender_female", "age_years")
"""The predictions that are pooled over a person; held_out.csv has them then too."""
VERSION = 4
"""Of the method and of combiner.json: with another one calibrate runs again."""


def check_version(content: dict[str, Any]) -> None:
    """Raises UserError for a combiner file of another version or task."""
    if content.get("task") != TASK:
        raise UserError("the combiner file is for another task: run calibrate again")
    if content.get("version") != VERSION:
        raise UserError(
            f"the combiner file is of version {content.get('version')}, this code reads {VERSION}: run calibrate again"
        )
