"""python -m pipeline prepare: decode, crop and resize the train photos once."""

from __future__ import annotations

from typing import Any

from pipeline.dataset.run_data import data_of
from pipeline.images.run_photos import prepared
from pipeline.run import setting_rules
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.runtime.problems import cut_short_line


def prepare(settings: RunStage) -> dict[str, Any]:
    """Check the data set and decode its train photos once, for all networks and epochs."""
    run = open_run(settings)
    data = data_of(run)
    for note in data.notes:
        print(f"prepare: {note}")
    tables = [setting_rules.defaults(run, task) for task in setting_rules.tasks_of(run)]
    sizes = sorted({(table.height, table.width) for table in tables})
    bad: set[str] = set()
    cut_short: set[str] = set()
    for size in sizes:
        photos = prepared(run, data, size)
        bad |= set(photos.bad)
        cut_short |= set(photos.cut_short)
    if cut_short:
        print(f"prepare: {cut_short_line(sorted(cut_short))}")
    people = int(data.train["person"].nunique())
    print(
        f"prepare: {len(data.train) - len(bad)} photos of {people} train people are ready, "
        f"{len(data.eval)} eval photos stand by"
    )
    return {"photos": len(data.train), "people": people, "eval_photos": len(data.eval), "bad": len(bad)}
