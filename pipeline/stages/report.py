"""python -m pipeline report: what a run came to, as one page to look at."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage
from pipeline.runtime import store

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.report.blocks import Section

PAGE, DRAWINGS = "report.html", "report"
NEEDED = ("matplotlib", "jinja2")
"""What the optional extra report brings."""


@dataclass(frozen=True, kw_only=True)
class Report(EvalStage):
    """What the stage report is told."""

    no_photos: bool = setting("Leave out photos of people.", False, flag=True)


def report(settings: Report) -> dict[str, Any]:
    """Write report.html, one page that shows what the run came to, and its drawings as SVG files."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"a report needs {listed(missing)}; run make setup, or pip install {' '.join(missing)}.")
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    with records.alone(place, "report"):
        from pipeline.report.run_report import run_report

        title, sections = run_report(run, system, place, settings, photos=not settings.no_photos)
        _write(place, title, sections)
    print(f"report: {place / PAGE}, {(place / PAGE).stat().st_size / 1e6:.1f} MB; its drawings in {place / DRAWINGS}/")
    return {"page": str(place / PAGE)}


def _write(place: Path, title: str, sections: list[Section]) -> None:
    """Writes the page, and each of its plots as a file."""
    from pipeline.report.blocks import Plot
    from pipeline.report.page import page
    from pipeline.report.theme import alone

    made = "Made by face18 from the files of this run. A score is about these photos and people, and no others."
    for section in sections:
        for plot in section.blocks:
            if isinstance(plot, Plot):
                store.write_text(place / DRAWINGS / f"{plot.name}.svg", alone(plot.svg))
    store.write_text(place / PAGE, page(title, sections, made))
