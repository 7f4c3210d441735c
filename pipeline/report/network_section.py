"""Each network: whether its predictions mean what they say, and how it learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.labels import GENDERS, LABELS, MASKS, band, decode, encode
from pipeline.prediction.label_tables import holds_probabilities, probabilities_of
from pipeline.prediction.tables import MASK_COLUMNS
from pipeline.report import drawing
from pipeline.report.blocks import Column, Plot, Section, Table, shown
from pipeline.report.run_files import RunFiles
from pipeline.report.theme import ONE, TWO
from pipeline.run.settings import SYSTEMS
from pipeline.scoring.reliability import calibration_error, reliability_table


def reliability_section(files: RunFiles) -> Section:
    """Reliability curves of what the system predicts, on people held out."""
    blocks = [
        _reliability(name, title, words, kind, *pieces)
        for name, title, words, kind, pieces in _claims(files.validation)
    ]
    lead = (
        f"Of photos said to be right with probability 0.8, eight of ten should be. Points are tenths of the photos "
        f"held out{files.caveats}, by what was said; lines are 95 % intervals by person."
    )
    return Section("reliability", "Do predictions mean what they say?", lead, blocks, short="Reliability")


Claim = tuple[str, str, tuple[str, str], str, tuple[pd.Series, np.ndarray, pd.DataFrame]]
"""Name, title, axes, kind, and what was said, what was found, and the rows of it."""


def _claims(validation: pd.DataFrame) -> list[Claim]:
    found: list[Claim] = []
    mask, female = marginals(validation)
    rows = validation[validation["mask"].notna() & mask.notna().all(axis=1)]
    if len(rows):
        said = mask.loc[rows.index].to_numpy(np.float64)
        right = said.argmax(1) == rows["mask"].to_numpy(np.int64)
        words = ("probability of the mask state said", "share right")
        found.append(("mask", "Mask", words, "score", (said.max(1), right, rows)))
    rows = validation[validation["gender"].notna() & female.notna()]
    if len(rows):
        true = rows["gender"].to_numpy(np.int64) == GENDERS.index("female")
        words = ("probability of female", "share female")
        found.append(("gender", "Gender", words, "score", (female[rows.index].to_numpy(float), true, rows)))
    if "age_years" in validation:
        rows = validation.dropna(subset=["age", "age_years"])
        words = ("predicted age", "true age, mean")
        found.append(("age", "Age", words, "years", (rows["age_years"].to_numpy(), rows["age"].to_numpy(float), rows)))
    elif holds_probabilities(validation):
        rows = validation[validation[["mask", "gender", "age"]].notna().all(axis=1)]
        said = probabilities_of(rows)
        label = encode(rows["mask"].astype(int), rows["gender"].astype(int), band(rows["age"]))
        words = ("probability of the label said", "share right")
        found.append(("label", "All 18 labels", words, "score", (said.max(1), said.argmax(1) == label, rows)))
    return found


def marginals(validation: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The probabilities of mask states (n, 3) and of female (n,), summed where a network predicts labels."""
    if set(MASK_COLUMNS) <= set(validation):
        return validation[list(MASK_COLUMNS)], validation["gender_female"]
    each = probabilities_of(validation)
    mask, gender, _ = decode(np.arange(LABELS))
    masks = pd.DataFrame({name: each[:, mask == code].sum(1) for code, name in enumerate(MASKS)}, validation.index)
    return masks, pd.Series(each[:, gender == GENDERS.index("female")].sum(1), validation.index)


def _reliability(
    name: str,
    title: str,
    words: tuple[str, str],
    kind: str,
    said: np.ndarray,
    found: np.ndarray,
    rows: pd.DataFrame,
) -> Plot:
    table = reliability_table(said, found, rows["person"].astype(str))
    spans = table[["found_low", "found_high"]].to_numpy()
    plotted = drawing.reliability(
        f"reliability-{name}", table["said"].to_numpy(), table["found"].to_numpy(), spans, words
    )
    cells = [
        (number, row.said, row.found, (row.found_low, row.found_high), row.photos)
        for number, row in enumerate(table.itertuples(), 1)
    ]
    columns = [Column("bin"), Column("said, mean", kind), Column("found, mean", kind), Column("95 %", kind)]
    off = calibration_error(table)
    unit = " years" if kind == "years" else ""
    alt = f"On average what is said is off by {shown(off, kind)}{unit}, over {len(table)} bins."
    return Plot(
        f"reliability-{name}", title, plotted, alt, Table([*columns, Column("photos", "count")], cells, "By bin"),
        f"Off by {shown(off, kind)}{unit} on average.",
    )  # fmt: skip


def learning_section(files: RunFiles) -> Section:
    """How each network learned: loss and macro-F1 by epoch, on people held out and on people it learned from."""
    blocks = []
    for task in SYSTEMS[files.system]:
        logs = {fold: log for (name, fold), log in files.logs.items() if name == task}
        blocks.append(_curves(task, logs))
    lead = (
        f"Judged after each epoch under the averaged weights{files.caveats}, but for the loss while learning, "
        f"which is of augmented photos under changing weights. The generalization gap is how much higher "
        f"macro-F1, over a network's own classes, is on people it learned from, without augmentation."
    )
    return Section("learning", "How the networks learned", lead, blocks, short="Learning")


def _curves(task: str, logs: dict[int, pd.DataFrame]) -> Plot:
    def of(column: str) -> Sequence[tuple[pd.Series, pd.Series]]:
        return [(log["epoch"], log[column]) for log in logs.values()]

    panels = [
        ("loss", [("learning", TWO, of("train_loss")), ("held out", ONE, of("validation_loss"))]),
        ("macro-F1", [("learned from", TWO, of("train_macro_f1")), ("held out", ONE, of("macro_f1"))]),
    ]
    years = all("mean_absolute_error" in log for log in logs.values())
    if years:
        panels.append(("error, years", [("held out", ONE, of("mean_absolute_error"))]))
    rows = [
        (fold, row["epoch"], row["train_loss"], row["validation_loss"], row["train_macro_f1"], row["macro_f1"],
         row["gap"], row["accuracy"], *([row["mean_absolute_error"]] if years else []), row["seconds"])
        for fold, log in logs.items()
        for row in log.to_dict("records")
    ]  # fmt: skip
    columns = [Column("fold", "count"), Column("epoch", "number"), Column("loss, learning", "score")]
    columns += [Column("loss, held out", "score"), Column("macro-F1, learned from", "score")]
    columns += [Column("macro-F1, held out", "score"), Column("gap", "signed"), Column("accuracy", "score")]
    columns += [Column("error, years", "years")] if years else []
    table = Table([*columns, Column("time", "seconds")], rows, "By fold and epoch", head=2)
    last = [log.iloc[-1] for log in logs.values()]
    gap = float(np.mean([row["gap"] for row in last]))
    alt = (
        f"At the end macro-F1 is {np.mean([row['macro_f1'] for row in last]):.3f} on people held out, and higher by "
        f"{gap:.3f} on people it learned from; {len(logs)} fold{'s' if len(logs) > 1 else ''}."
    )
    return Plot(f"learning-{task}", task.capitalize(), drawing.curves(f"learning-{task}", panels), alt, table)
