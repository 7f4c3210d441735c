"""What was read, kept in a place of a run: dataset.json, and left_out.csv with the files that are not used."""

from __future__ import annotations

from pathlib import Path

from pipeline.dataset.overview import Overview
from pipeline.runtime import store

OVERVIEW = "dataset.json"
LEFT_OUT = "left_out.csv"


def record_overview(place: Path, overview: Overview) -> Path | None:
    """Writes both; returns where the list of what is left out lies, None where nothing is."""
    import pandas as pd

    store.write_json(place / OVERVIEW, overview.as_json())
    path = place / LEFT_OUT
    if not overview.left_out:
        path.unlink(missing_ok=True)
        return None
    files = sorted(overview.left_out)
    names, reasons = map(_as_text, files), (_as_text(overview.left_out[file]) for file in files)
    store.write_csv(path, pd.DataFrame({"photo": list(names), "reason": list(reasons)}))
    return path


def _as_text(name: str) -> str:
    """A name as a table can hold it: bytes that are no UTF-8, of which names on the disk may be, are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
