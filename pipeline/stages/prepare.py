"""python -m pipeline prepare: decode, crop and resize the train photos once."""

from __future__ import annotations

from typing import Any

from pipeline.dataset.run_data import data_of
from pipeline.images.run_photos import check_eval_boxes, prepared
from pipeline.run import setting_rules
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage


def prepare(settings: RunStage) -> dict[str, Any]:
    """Check the data set and decode its train photos once, for all networks and epochs."""
    run = open_run(settings)
    data = data_of(run)
    for note in data.notes:
        print(f"prepare: {note}")
    check_eval_boxes(run, data)
    tables = [setting_rules.defaults(run, task) for task in setting_rules.tasks_of(run)]
    sizes = sorted({(table.height, table.width) for table in tables})
    bad: set[str] = set()
    for size in sizes:
        bad |= set(prepared(run, data, size).bad)
    people = int(data.train["person"].nunique())
    print(
        f"prepare: {len(data.train) - len(bad)} photos of {people} train people are ready, "
        f"{len(data.eval)} eval photos stand by"
    )
    return {"photos": len(data.train), "people": people, "eval_photos": len(data.eval), "bad": len(bad)}
