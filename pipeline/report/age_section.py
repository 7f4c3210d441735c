"""Ages and the two thresholds: predicted and true ones, the score over both thresholds, age mixes and mask states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.labels import BAND_STARTS, BANDS, MASKS, class_of_label, decode
from pipeline.combiner.class_prior import NIL, factors, people_of, with_bands
from pipeline.combiner.threshold_choice import drawn_in
from pipeline.prediction.labelled import labelled_predictions
from pipeline.report import drawing
from pipeline.report.blocks import Column, Plot, Section, Table, shown
from pipeline.report.run_files import RunFiles
from pipeline.scoring.surface import COARSE, BinnedAges, default_grid

MOST = 5000
"""People that are drawn as points; of more, so many that are spread evenly."""
DECADE = 10
"""Years of true age that the table takes together."""


def age_section(files: RunFiles) -> Section:
    """Whatever the system has of it: a rival that predicts no years has the mixes alone."""
    blocks = []
    if "thresholds" in files.report:
        blocks += [_ages(files), _surface(files)]
    blocks.append(_age_prior(files))
    if (states := files.report.get("mask_states")) is not None:
        blocks.append(_mask_prior(files, states))
    return Section("ages", "Ages and thresholds", _lead(files.report), blocks)


def _lead(report: dict[str, Any]) -> str:
    if "thresholds" in report:
        (low, high), spans = report["thresholds"], report["threshold_intervals"]
        told = [f"{value:.1f} ({a:.1f} to {b:.1f})" for value, (a, b) in zip((low, high), spans, strict=True)]
        return f"An age band begins at a predicted age of {told[0]} and of {told[1]} years (95 % intervals)."
    young, old = report["offsets"]
    return f"The label's logarithm of probability is moved by {young:+.2f} for the young and {old:+.2f} for the old."


def _ages(files: RunFiles) -> Plot:
    report = files.report
    known = files.validation.dropna(subset=["age", "age_years"])
    people = known.groupby(["person", "age"], as_index=False)["age_years"].mean()
    shown_people = people if len(people) <= MOST else people.iloc[np.linspace(0, len(people) - 1, MOST).astype(int)]
    lines = [(t, *span) for t, span in zip(report["thresholds"], report["threshold_intervals"], strict=True)]
    plotted = drawing.scatter(
        "ages", shown_people["age"], shown_people["age_years"], lines, ("true age", "predicted age"), BAND_STARTS
    )
    error = known["age_years"] - known["age"]
    decade = (known["age"] // DECADE * DECADE).astype(int)
    rows = [
        (f"{start} to {start + DECADE - 1}", int(here.sum()), int(known.loc[here, "person"].nunique()),
         float(known.loc[here, "age_years"].mean()), float(error[here].mean()), float(error[here].abs().mean()))
        for start in sorted(set(decade))
        for here in [decade == start]
    ]  # fmt: skip
    whole = (
        "all", len(known), int(known["person"].nunique()), float(known["age_years"].mean()), float(error.mean()),
        float(error.abs().mean()),
    )  # fmt: skip
    columns = [Column("true age"), Column("photos", "count"), Column("people", "count")]
    columns += [Column(name, "years") for name in ("predicted, mean", "error, mean", "error, absolute")]
    count = known["person"].nunique()
    alt = f"Predicted ages are {shown(whole[-1], 'years')} years off on average, over {count:,} people held out."
    note = (
        "A point is a person held out at an age, by the mean of their photos of it; bands of colour are the "
        "thresholds' intervals, dotted lines where the true bands begin."
    )
    if len(shown_people) < len(people):
        note += f" {MOST:,} of {len(people):,} points are drawn."
    return Plot("ages", "Predicted and true ages", plotted, alt, Table(columns, [whole, *rows], "By true age"), note)


def _surface(files: RunFiles) -> Plot:
    report = files.report
    rows = labelled_predictions(files.validation)
    inside = rows.weights
    if "weight" in files.held_out:
        inside = files.held_out.set_index("photo")["weight"].reindex(rows.photo).to_numpy(np.float64)
        rows = replace(rows, weight=np.maximum(inside, NIL))  # who has no photo that counts is drawn in too
    rows = drawn_in(rows, report["kept_by_averaging"])
    train = people_of(rows)
    shares = with_bands(np.array(report["age_mix"]["used"]), train)
    weights = factors(shares, train)[class_of_label(rows.label)] * inside
    spans = report["threshold_intervals"]
    seen = np.concatenate([rows.predicted_age, report["thresholds"], BAND_STARTS, *spans])
    binned = BinnedAges(rows.predicted_age, rows.label, rows.cell, default_grid(seen, COARSE), report["bandwidth"])
    surface = binned.surface(weights)

    def at(pair: tuple[float, float]) -> float:
        place = np.abs(surface.grid[:, None] - np.array(pair)).argmin(0)
        return float(surface.values[place[0], place[1]])

    chosen, usual, best = tuple(report["thresholds"]), BAND_STARTS, surface.best()
    points = [("chosen", *chosen), ("30 and 60", *usual), ("highest", *best)]
    rows_told = [
        (word, *pair, at(pair)) for word, pair in (("chosen", chosen), ("30 and 60", usual), ("highest", best))
    ]
    plotted = drawing.contours(
        "surface", surface.grid, surface.values, points, spans, ("lower threshold", "upper threshold")
    )
    columns = [Column("thresholds"), Column("lower", "years"), Column("upper", "years"), Column("macro-F1", "score")]
    alt = "; ".join(f"{word} {low:.1f} and {high:.1f}: {shown(value, 'score')}" for word, low, high, value in rows_told)
    note = (
        f"Of the people held out, in the age mix used and with predictions spread by {report['bandwidth']:g} years, "
        f"which smooths{_weighed(files)}. The box is of the thresholds' intervals. What is chosen may lie beside the "
        "highest point: it is drawn toward a fallback where people are few, and is the best over all age mixes that "
        "are possible."
    )
    return Plot(
        "surface", "The score over both thresholds", plotted, f"{alt}.", Table(columns, rows_told, "Score"), note
    )


def _weighed(files: RunFiles) -> str:
    """That photos held out stand for other mask states or ages, in words, where they do."""
    if "weight" not in files.held_out:
        return ""
    return "; photos count as the eval photos are likely to be, by mask state and age"


def _age_prior(files: RunFiles) -> Plot:
    prior = files.report["age_mix"]
    title = {"train": "that of the train people", "given": "as it was given", "estimate": "the estimate, or toward it"}
    note = f"The one used is {title[prior['kind']]}."
    if "ages" in prior and prior["kind"] == "estimate":
        note += " Inside the bands ages are spread otherwise than among the people held out, who are weighted so."
    return _prior(files, "age_mix", prior, "age mix", "Shares of the age bands", BANDS, "people", note)


def _mask_prior(files: RunFiles, prior: dict[str, Any]) -> Plot:
    alike = prior["kind"] == "train"
    note = "The one used is " + ("that of the train photos." if alike else "the estimate.")
    if "bands" in prior:
        told = [
            f"{word} " + ", ".join(shown(share, "share") for share in shares)
            for word, shares in zip(MASKS, prior["bands"], strict=True)
        ]
        note += f" Age mixes ({', '.join(BANDS)}) differ by state: {'; '.join(told)}."
    return _prior(files, "mask_states", prior, "mask states", "Shares of the mask states", MASKS, "photos", note)


def _prior(
    files: RunFiles,
    name: str,
    prior: dict[str, Any],
    what: str,
    title: str,
    values_of: tuple[str, ...],
    unit: str,
    note: str,
) -> Plot:
    """Shares of what the train people, the estimate, the labels and the truth have; prior: as the combiner tells it."""
    series: list[tuple[str, Any, Any]] = [(f"train {unit}", prior["train"], None)]
    if "estimate" in prior:
        series.append(("estimated, 95 %", prior["estimate"], prior["interval"]))
    series.append(("used", prior["used"], None))
    place = 2 if values_of is BANDS else 0
    if files.labels is not None:
        series.append(("labels given", _shares(files.labels, place), None))
    if files.scored is not None:
        series.append(("truth", _shares(files.scored["label"].to_numpy(np.int64), place), None))
    of = "share of people, or of photos labelled" if unit == "people" else "share of photos"
    plotted = drawing.grouped_dots(name, values_of, series, of)
    rows = [
        (
            word,
            *(cell for at in range(len(values)) for cell in (values[at], None if spans is None else tuple(spans[at]))),
        )
        for word, values, spans in series
    ]
    columns = [Column(what), *(c for word in values_of for c in (Column(word, "share"), Column("95 %", "share")))]
    alt = "; ".join(
        f"{word} " + ", ".join(shown(float(value), "share") for value in values) for word, values, _ in series
    )
    return Plot(
        name,
        title,
        plotted,
        f"{', '.join(values_of)}: {alt}.",
        Table(columns, rows, "Shares"),
        note,
    )


def _shares(labels: np.ndarray, place: int) -> list[float]:
    """The shares among labels of the mask states, place 0, or of the bands, 2."""
    return (np.bincount(decode(labels)[place], minlength=3) / len(labels)).tolist()
