"""The report of one run: its sections, in three depths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.dataset.run_data import data_of
from pipeline.report.age_section import age_section
from pipeline.report.blocks import Section
from pipeline.report.network_section import learning_section, reliability_section
from pipeline.report.record_section import record_sections
from pipeline.report.run_files import read_run_files
from pipeline.report.score_sections import group_section, headline, label_section
from pipeline.run.folder import Run
from pipeline.runtime.problems import show


def run_report(run: Run, system: str, place: Path, photos: bool = True) -> tuple[str, list[Section]]:
    """The title and the sections. photos: whether people are shown. Raises UserError as `read_run_files` does."""
    files = read_run_files(run, system, place)
    data = data_of(run) if run.data.is_dir() else None  # a run may have been trained elsewhere
    if data is None:
        told = f"{show(run.data)} is not there, so there are no photos to show and no groups by further columns"
        files = replace(files, notes=(*files.notes, told))
    else:
        files = replace(files, further=data.further)
    sections = [headline(files), label_section(files), age_section(files), group_section(files)]
    sections += [reliability_section(files), learning_section(files)]
    if photos and data is not None:
        from pipeline.report.gallery import gallery_section

        sections.insert(2, gallery_section(files, data))
    return files.name, [*sections, *record_sections(files)]
