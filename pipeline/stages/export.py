"""python -m pipeline export: a trained run as a folder to take along."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime.problems import some

ABOUT, CARD = "model.json", "MODEL_CARD.md"
NEEDED = ("onnx", "onnxruntime")
"""What the optional extra export brings."""


@dataclass(frozen=True, kw_only=True)
class Export(SystemStage):
    """What the stage export is told."""

    folder: Path | None = setting("Where to write it.", None, usual="export in the run's folder")


def export(settings: Export) -> dict[str, Any]:
    """Write a folder to take along: ONNX networks, model.json, MODEL_CARD.md, and label.py, which labels photos."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"an export needs {listed(missing)}; run make setup, or pip install {' '.join(missing)}.")
    run = open_run(settings, make=False)
    system = run.system(settings)
    home = run.home(system)
    folder = settings.folder or home / "export"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--folder {folder} is not a folder; name one for the export.")
    for users in (run.data, *run.extra_folders):
        if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(users)):
            raise UserError(f"--folder {folder} lies in the data set, where nothing is written; name another folder.")
    _check_free(folder)
    with records.alone(home):
        from pipeline.serving.export import export_run

        about = export_run(run, system, folder)
        if about["boxed"]:
            print("export: the networks learned from photos cropped to face boxes, and label.py knows none of others")
    size = sum((folder / name).stat().st_size for name in about["files"]) / 1e6
    print(f"export: {folder}, {len(about['networks'])} networks, {size:.0f} MB; python {folder / 'label.py'} photo.jpg")
    return {"folder": str(folder), "networks": len(about["networks"])}


def _check_free(folder: Path) -> None:
    """Raises UserError for a folder that holds what is not of an earlier export."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    about = (folder / ABOUT).read_text(errors="replace") if ABOUT in there else ""
    ours = (
        '"made_by": "face18"' in about or not there or ((folder / CARD).is_file() and any(folder.glob("*-fold*.onnx")))
    )
    if not ours:
        raise UserError(f"--folder {folder} holds other things ({some(sorted(there))}); name an empty folder.")
