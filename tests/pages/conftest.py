"""What a browser needs, which make test-pages installs nothing of."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("AXE", ROOT / "node_modules/axe-core/axe.min.js"))
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
"""A camera that shows a moving picture, and may be used."""
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")


def missing():
    """What is not there, each with the way to it."""
    found = []
    if importlib.util.find_spec("playwright") is None:
        found.append("playwright (pip install playwright)")
    if CHROMIUM is None:
        found.append("a Chromium (apt-get install chromium, or name one as CHROMIUM=)")
    if not AXE.is_file():
        found.append("axe-core (npm install --no-save axe-core, or name its axe.min.js as AXE=)")
    return found


def pytest_collection_finish(session):
    mine = [item for item in session.items if Path(__file__).parent in item.path.parents]
    if mine and missing():
        pytest.exit(f"the pages are tested in a browser, and what is missing is {'; '.join(missing())}.", returncode=2)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
