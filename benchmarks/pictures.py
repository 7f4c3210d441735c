"""Pictures of a run's report and of its served page for README and docs, taken in Chromium: make pictures RUN=runs/x.

    python benchmarks/pictures.py --run runs/drawn-small --folder docs

Writes report.png (the headline and the first drawings, as on a screen), report-ages.png, report-phone.png (in the dark)
and asked.png (the page of make serve, asked about three photos of the run's eval set). Needs playwright and a Chromium,
which it does not install. Of drawn people the pictures may be shown to anybody; of people, only where they agreed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from models.errors import UserError
from pipeline.dataset.photos import read_data_set
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.stages.report import PAGE

COLOURS = 128
"""A drawing has few; so a picture takes a third of the bytes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/drawn-small"))
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    given = parser.parse_args()
    page = (given.run / PAGE).resolve()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not page.is_file():
        raise UserError(f"{given.run} has no {PAGE} yet; run make report RUN={given.run} first.")
    if chromium is None:
        raise UserError("pictures need a Chromium: apt-get install chromium, or name one as CHROMIUM=.")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise UserError("pictures need playwright: pip install playwright.") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        screen = browser.new_page(viewport={"width": 1180, "height": 1500}, device_scale_factor=1)
        screen.goto(page.as_uri())
        screen.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
        for name, sections in (("report", ["score", "labels"]), ("report-ages", ["ages", "groups"])):
            boxes = [screen.locator(f"#{one}").bounding_box() for one in sections]
            top = 0 if name == "report" else boxes[0]["y"] + 20
            bottom = boxes[-1]["y"] + boxes[-1]["height"] + 12
            picture = given.folder / f"{name}.png"
            screen.screenshot(path=str(picture), full_page=True)
            Image.open(picture).crop((0, round(top), 1180, round(bottom))).save(picture)
            smaller(picture)
        phone = browser.new_page(viewport={"width": 360, "height": 780}, device_scale_factor=2, color_scheme="dark")
        phone.goto(page.as_uri())
        picture = given.folder / "report-phone.png"
        phone.screenshot(path=str(picture))
        smaller(picture)
        asked(browser, given.run, given.folder / "asked.png")
        browser.close()


def asked(browser: Any, run: Path, picture: Path) -> None:
    """The page that a run is served by, with what it says of three photos."""
    data = read_data_set(open_run(RunStage.of(run=run), make=False).data)
    words = [sys.executable, "-m", "pipeline", "serve", "--run", str(run), "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        told = re.search(r":(\d+) answers", server.stdout.readline())
        if told is None:
            raise UserError(f"{run} cannot be served.")
        page = browser.new_page(viewport={"width": 860, "height": 700}, device_scale_factor=1)
        page.goto(f"http://127.0.0.1:{told[1]}/")
        page.set_input_files("#files", [str(data.path(photo)) for photo in data.eval["photo"][:3]])
        page.get_by_text("3 photos answered", exact=True).wait_for()
        page.screenshot(path=str(picture), full_page=True)
    finally:
        server.terminate()
        server.wait()
    smaller(picture)


def smaller(picture: Path) -> None:
    """A picture in fewer colours."""
    Image.open(picture).convert("RGB").quantize(COLOURS).save(picture, optimize=True)
    print(f"{picture}, {picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except UserError as problem:
        sys.exit(f"face18: {problem}")
