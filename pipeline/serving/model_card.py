"""MODEL_CARD.md: what an exported model was trained on, how good it is for whom, and what it is not for.

After Mitchell et al. (Model Cards for Model Reporting, 2019).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.combiner.report import expected_line
from pipeline.combiner.schema import HELD_OUT_ALONE_FILE, HELD_OUT_FILE
from pipeline.prediction.run_predictions import Networks, gather
from pipeline.run import records
from pipeline.run.folder import Run
from pipeline.runtime import store
from pipeline.scoring.caveats import suffix
from pipeline.scoring.groups import group_table

HOW = """\
## How to use it
```
pip install numpy onnxruntime opencv-python-headless
python label.py photo.jpg folder/ --json
```
`label = mask * 6 + gender * 3 + band`: mask 0 worn right, 1 worn wrong, 2 not worn; gender 0 male, 1 female; band 0
under 30, 1 from 30 to 59, 2 of 60 and over. `model.json` says what each network takes and gives, and the SHA-256 of
every file.
"""
LIMITS = """\
## Limits
- Gender and age are what an annotator read off a photo, in two classes and years; both are guesses about a person.
- Errors differ between groups of people, as the table shows; check them on your own photos before you rely on a label.
- The age thresholds suit the age mix they were fitted to, and no other.
- For research and counting with the consent of the people shown; never to decide about a person.
- Photos are decoded by OpenCV: those it cannot read, as HEIC, have no label, and very large ones are decoded in full,
  where face18 reduces them first, which may change an age by half a year.

The program is under the MIT licence, and so is the face detector (YuNet). The networks may be bound by the licences of
the weights where they started and of the photos they learned from.
"""


def model_card(run: Run, networks: Networks, home: Path, report: dict[str, Any]) -> str:
    """The card as Markdown: networks, people, the score to expect, and how right each group held out is."""
    lines = [f"# {_plain(run.folder.name)}", "", "Three specialists and their age thresholds, exported by face18.", ""]
    lines += [*HOW.splitlines(), "", "## Trained on", ""]
    lines += ["| network | backbone | pixels | began at | folds |", "|---|---|---|---|---|"]
    for task, folds in networks.items():
        told = folds[0].settings
        start = _plain(Path(folds[0].weights).name)
        lines.append(f"| {task} | {told.backbone} | {told.height}x{told.width} | {start} | {len(folds)} |")
    names = ", ".join(_plain(folder.name) for folder in run.extra_folders)
    extra = f", with the extra sets {names}" if names else ""
    lines += ["", f"The data set {_plain(run.data.name)}{extra}; photos are framed by {_framed(networks)}.", ""]
    lines += ["## How good it is", ""]
    if report["expected"]:
        lines += [f"Before any truth was opened: {expected_line(report)}.", ""]
    caveats = suffix(report["caveats"])
    lines += [f"Of {report['photos']} photos of {report['people']} people whom the networks never saw{caveats}:", ""]
    calibrated = records.last(home, "calibrate")
    file = HELD_OUT_ALONE_FILE if HELD_OUT_ALONE_FILE in calibrated.wrote else HELD_OUT_FILE
    calibrated.check(file)
    held_out = store.read_csv(home / file).rename(columns={"cross_fitted": "predicted"})
    validation = gather(networks)[["photo", "person", "age", "age_years"]]
    table = group_table(held_out.drop(columns="plain").merge(validation, on="photo"))
    return "\n".join([*lines, *_markdown(table), "", *LIMITS.splitlines(), ""])


def _framed(networks: Networks) -> str:
    faces = next(iter(networks.values()))[0].faces
    return "the faces found in them" if faces else "their middle, or by face boxes that came with them"


def _markdown(table: pd.DataFrame) -> list[str]:
    """The groups with their intervals, as rows of Markdown."""
    lines = [
        "| by | group | photos | people | all three right (95 %) | age error, years (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        right = f"{row['right']:.1%} ({row['right_low']:.1%} to {row['right_high']:.1%})"
        error = ""
        if np.isfinite(row["age_error"]):
            error = f"{row['age_error']:.1f}"
            if np.isfinite(row["age_error_low"]):
                error += f" ({row['age_error_low']:.1f} to {row['age_error_high']:.1f})"
        cells = [row["by"], row["group"], row["photos"], f"{row['people']:.0f}", right, error]
        lines.append(f"| {' | '.join(_plain(cell) for cell in cells)} |")
    return lines


def _plain(text: object) -> str:
    """A text that means nothing in Markdown or HTML."""
    told = "".join(letter if letter.isprintable() else " " for letter in str(text)).replace("&", "&amp;")
    for sign in "\\`*_[]<>|#":
        told = told.replace(sign, f"\\{sign}")
    return told
