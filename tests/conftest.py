"""Workers side by side keep to a core each, and begin with what takes longest."""

import os
from pathlib import Path

LONGEST = ("faults", "stages")


def pytest_configure():
    """Without the second every worker would start a thread for each core, and they would wait for one another."""
    os.environ["FACE18_CACHE"] = os.devnull  # what a developer tuned is none of the tests' business
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items):
    """Whole runs first, so that no worker is left alone with one at the end; make test keeps to this order."""
    rooms = [Path(__file__).parent / room for room in LONGEST]
    items.sort(key=lambda item: [room not in item.path.parents for room in rooms])
