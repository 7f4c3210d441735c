"""python -m pipeline report: what a run came to, as one page to look at; or several runs side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.prediction.run_predictions import folds_in, networks_of
from pipeline.run import records
from pipeline.run.folder import RECORD, Run, is_run, open_run, recorded_run
from pipeline.run.settings import SYSTEMS, EvalStage
from pipeline.runtime import store

if TYPE_CHECKING:
    from pipeline.report.blocks import Section
    from pipeline.report.run_files import RunFiles

PAGE, DRAWINGS = "report.html", "report"
NEEDED = ("matplotlib", "jinja2")
"""What the optional extra report brings."""
READ = ("combiner.json", "held_out.csv", "predictions.csv", "submission.csv", "score.json", "scored.csv",
        "bad_photos.csv", "validation.csv", "done/score.json", "done/calibrate.json")  # fmt: skip
OF_FOLD = ("log.csv", "validation.csv", "settings.json", "done/train.json")
"""The files that a page shows, of its place and of the folds."""
PAGE_VERSION = 1
"""With another one a page is made again."""
OF_ONE = "Made by face18 from the files of this run. A score is about these photos and people, and no others."
OF_SEVERAL = "Made by face18 from the files of these runs. A score is about these photos and people, and no others."


@dataclass(frozen=True, kw_only=True)
class Report(EvalStage):
    """What the stage report is told."""

    side_by_side: str | None = setting(
        "Runs to set side by side in place of one: folders with commas or blanks between them, the others beside the "
        "first; a rival's is its folder in the run, as runs/x/joint.",
        None,
        usual="none",
    )
    no_photos: bool = setting("Leave out photos of people.", False, flag=True)


def report(settings: Report) -> dict[str, Any]:
    """Write report.html, one page that shows what a run came to, and its drawings as SVG files."""
    missing = missing_packages()
    if missing:
        raise UserError(f"a report needs {listed(missing)}; run make setup, or pip install {' '.join(missing)}.")
    if settings.side_by_side is not None:
        beside = [f"--{name}" for name in ("run", "system", "eval") if getattr(settings, name) is not None]
        beside += [f"--{name.replace('_', '-')}" for name in settings.shared]
        if beside:
            raise UserError(
                f"--side-by-side {settings.side_by_side} says which runs are meant; leave out {listed(beside)}."
            )
        return _several(settings.side_by_side)
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    with records.alone(place):
        inputs = _inputs(run, system, place, settings.no_photos)
        done = records.finished(place, "report", inputs)
        if done:
            print(f"report: {place / PAGE} stands")
            return done
        from pipeline.report.run_report import run_report

        title, sections = run_report(run, system, place, photos=not settings.no_photos)
        made = write_page(place / PAGE, place / DRAWINGS, title, sections, OF_ONE)
        return records.record(place, "report", inputs, [PAGE], made)


def _inputs(run: Run, system: str, place: Path, no_photos: bool) -> dict[str, Any]:
    """What a page depends on, as fingerprints; photos are known by those of the tables that name them."""
    tables = ["photos.csv", "train/train.csv", "key.csv"]
    files = {str(path): store.file_fingerprint(path) for path in (run.data / name for name in tables)}
    folds = folds_in(networks_of(run, system))
    return {
        "version": PAGE_VERSION,
        "photos": not no_photos and run.data.is_dir(),
        "data": files,
        "place": {name: store.file_fingerprint(place / name) for name in READ},
        "run": store.file_fingerprint(run.folder / RECORD),
        "folds": {str(fold.folder): [store.file_fingerprint(fold.folder / name) for name in OF_FOLD] for fold in folds},
    }


def _several(named: str) -> dict[str, Any]:
    """A page about several runs, in the place of the first."""
    from pipeline.report.side_by_side import names_of, side_by_side

    folders = [Path(word.strip()) for word in (named.split(",") if "," in named else named.split()) if word.strip()]
    if len(folders) < 2:
        raise UserError(f"--side-by-side {named}: name two runs or more; one alone is --run.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"--side-by-side {named}: a run stands there twice; name each once.")
    runs = [_files_of(folder) for folder in folders]
    names = names_of(runs)
    stem = re.sub(r"[^\w.-]+", "-", f"report-with-{'-'.join(names[1:])}")[:100]
    place = runs[0].place
    with records.alone(place):
        title = " and ".join(names) if len(names) == 2 else listed(names)
        return write_page(place / f"{stem}.html", place / DRAWINGS / stem, title, side_by_side(runs), OF_SEVERAL)


def _files_of(folder: Path) -> RunFiles:
    """The files of a run's folder, or of a rival's folder in one. Raises UserError for any other."""
    from pipeline.report.run_files import read_run_files

    if is_run(folder):
        run = recorded_run(folder)
        return read_run_files(run, run.usual_system, run.home(run.usual_system))
    if folder.name in SYSTEMS and is_run(folder.parent):
        run = recorded_run(folder.parent)
        return read_run_files(run, folder.name, run.home(folder.name))
    what = "is no run's folder" if folder.is_dir() else "is not there"
    raise UserError(f"--side-by-side: {folder} {what}; name folders of runs, or of rivals in them, as runs/x/joint.")


def missing_packages() -> list[str]:
    """The packages that a report needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def write_page(page: Path, drawings: Path, title: str, sections: list[Section], made: str) -> dict[str, Any]:
    """Writes a page, and each of its plots as a file in a folder; says where they are."""
    from pipeline.report.blocks import Plot
    from pipeline.report.page import page_of
    from pipeline.report.theme import alone

    plots = {f"{one.name}.svg": one for section in sections for one in section.blocks if isinstance(one, Plot)}
    for name, plot in plots.items():
        store.write_text(drawings / name, alone(plot.svg))
    for old in drawings.glob("*.svg"):  # of what is no longer known
        if old.name not in plots:
            old.unlink(missing_ok=True)
    store.write_text(page, page_of(title, sections, made))
    print(f"report: {page}, {page.stat().st_size / 1e6:.1f} MB; its drawings in {drawings}")
    return {"page": str(page)}
