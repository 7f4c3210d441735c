"""python -m pipeline prepare: decode, crop and resize the train photos once."""

from __future__ import annotations

from typing import Any

from pipeline.dataset.run_data import data_of, extras_of
from pipeline.images.run_photos import check_run_boxes, prepared_all
from pipeline.run import setting_rules
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.runtime.problems import cut_short_line, show


def prepare(settings: RunStage) -> dict[str, Any]:
    """Check the data set, decode its train photos once, for all networks and epochs, and tell what was read."""
    from pipeline.images.extra_photos import extra_photos, prepare_extra, unused_lines
    from pipeline.images.framing import View
    from pipeline.images.run_faces import run_faces

    run = open_run(settings)
    print(f"prepare: the run {run.folder}, {f'recipe {run.recipe}' if run.recipe else f'preset {run.preset}'}")
    data, extras = data_of(run), extras_of(run)
    from pipeline.dataset.duplicates import check_duplicates, find_duplicates
    from pipeline.dataset.extra import check_apart, extra_lines, with_range_ends
    from pipeline.dataset.overview import overview_of
    from pipeline.dataset.record import record_overview
    from pipeline.dataset.report import overview_lines, warnings_of

    duplicates = find_duplicates(data)
    told = check_duplicates(duplicates, f"The data set {show(data.root)}", run.allow_duplicates)
    told += check_apart(data, extras, run.allow_duplicates)
    for note in (*data.notes, *told, *extra_lines(extras)):
        print(f"prepare: {note}")
    check_run_boxes(run, data, data.train, data.eval)
    for extra in extras:
        check_run_boxes(run, extra, extra.train)
    faces = run_faces(run, data)
    for line in faces.told:
        print(f"prepare: {line}")
    made = {task: setting_rules.defaults(run, task) for task in setting_rules.tasks_of(run)}
    bad: dict[str, str] = {}
    cut_short: set[str] = set()
    views = sorted({View.of(settings) for settings in made.values()})
    for photos in prepared_all(run, data, views, faces.framing).values():
        bad |= photos.bad
        cut_short |= set(photos.cut_short)
    prepare_extra(run, extras, made, faces.framing)
    learned = {task: extra_photos(run, extras, task, settings, faces.framing) for task, settings in made.items()}
    for line in unused_lines(extras, learned):
        print(f"prepare: {line}")
    if cut_short:
        print(f"prepare: {cut_short_line(sorted(cut_short))}")
    people = int(data.train["person"].nunique())
    print(
        f"prepare: {len(data.train) - len(bad)} photos of {people} train people are ready, "
        f"{len(data.eval)} eval photos stand by"
    )
    overview = overview_of(data, duplicates, bad, [with_range_ends(extra.train) for extra in extras])
    for line in (*overview_lines(overview, record_overview(run.folder, overview)), *warnings_of(overview)):
        print(f"prepare: {line}")
    return {"photos": len(data.train), "people": people, "eval_photos": len(data.eval), "bad": len(bad)}
