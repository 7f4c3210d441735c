"""Plots drawn by matplotlib as SVG, in tokens for colours (`theme`); the same data give the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pipeline.report.blocks import plain
from pipeline.report.theme import GRID, INK, MUTED, ONE, PAPER, TWO, level, over

AROUND = 7.0
"""Years of a surface that are shown around what is of interest on it."""
WIDTH = 340
"""Pixels: a phone's, and a column's of the page."""
_IDS = re.compile(r'(\bid="|href="#|url\(#)')
LETTERS = 26
"""Of a label, at the most."""
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "face18",
    "font.size": 11,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 1.6,
}


@contextmanager
def drawing(height: float, width: float = WIDTH, rows: int = 1) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure of so many pixels, with axes beneath one another."""
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(width / 72, height / 72), layout="constrained", facecolor="none")
        axes = canvas.subplots(rows, 1, sharex=rows > 1, squeeze=False)[:, 0]
        for one in axes:
            one.locator_params(steps=[1, 2, 5, 10])
        yield canvas, list(axes)


def svg_of(canvas: Figure, name: str) -> str:
    """The drawing as an SVG element whose ids begin with a name, so that several can stand in one page."""
    file = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts draw the letters
        canvas.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'width="([0-9.]+)pt" height="([0-9.]+)pt"', r'width="\1" height="\2"', svg, count=1)
    # in tags alone: a text may hold what looks like an id
    return re.sub("<[^>]*>", lambda tag: _IDS.sub(rf"\g<1>{name}-", tag[0]), svg)


def cut(word: str, letters: int = LETTERS) -> str:
    """A label that leaves room for what it labels; the table behind a plot has it whole."""
    word = plain(word)
    return word if len(word) <= letters else f"{word[: letters - 1]}…"


def intervals(
    name: str,
    rows: Sequence[tuple[str, float, float | None, float | None]],
    axis: str,
    strong: Sequence[int] = (),
    span: tuple[float, float] | None = None,
    zero: bool = False,
) -> str:
    """Dots with intervals, a row each (name, value, low, high), the strong ones in the second colour."""
    with drawing(44 + 24 * len(rows)) as (canvas, (axes,)):
        for at, (_, value, low, high) in enumerate(rows):
            colour = TWO if at in strong else ONE
            if low is not None and high is not None:
                axes.plot([low, high], [at, at], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([value], [at], "o", color=colour, markersize=7)
        if zero:
            axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(rows)), [cut(row[0]) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(cut(axis, 2 * LETTERS))
        if span:
            axes.set_xlim(*span)
        return svg_of(canvas, name)


def heat_map(name: str, counts: NDArray[np.int64], groups: Sequence[str], inside: Sequence[str]) -> str:
    """Counts (K, K), each cell as strong as its share of its row; labels in groups of len(inside)."""
    size, step = len(counts), len(inside)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with drawing(600, 680) as (canvas, (axes,)):
        axes.grid(visible=False)
        for row, column in np.ndindex(counts.shape):
            colour = level(share[row, column])
            axes.fill([column, column + 1, column + 1, column], [row, row, row + 1, row + 1], color=colour, linewidth=0)
            if counts[row, column]:
                axes.text(
                    column + 0.5, row + 0.53, f"{counts[row, column]}", ha="center", va="center", fontsize=10.5,
                    color=over(share[row, column]),
                )  # fmt: skip
        for place in range(0, size + 1):
            strong = place % step == 0
            for line in (axes.axhline, axes.axvline):
                line(place, color=MUTED if strong else GRID, linewidth=1 if strong else 0.5)
        words = [inside[i % step] for i in range(size)]
        axes.set_xticks(np.arange(size) + 0.5, words, rotation=90)
        axes.set_yticks(np.arange(size) + 0.5, words)
        axes.tick_params(length=0)
        for number, group in enumerate(groups):
            middle = (number + 0.5) * step
            axes.text(middle, -0.4, group, ha="center", va="bottom", fontsize=11)
            axes.text(-2.5, middle, group, ha="center", va="center", fontsize=11, rotation=90)
        axes.set(xlim=(0, size), ylim=(size, 0), xlabel="predicted")
        axes.spines[:].set_visible(False)
        return svg_of(canvas, name)


def bars(name: str, rows: Sequence[tuple[str, float]], axis: str, told: Callable[[float], str] = str) -> str:
    """Horizontal bars with their values at their ends."""
    with drawing(40 + 24 * len(rows)) as (canvas, (axes,)):
        axes.barh(range(len(rows)), [value for _, value in rows], height=0.62, color=ONE)
        most = max([value for _, value in rows] or [1]) or 1
        for at, (_, value) in enumerate(rows):
            axes.text(value + most * 0.015, at, plain(told(value)), va="center", color=INK)
        axes.set_yticks(range(len(rows)), [cut(row[0]) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, most * 1.14), xlabel=plain(axis))
        axes.grid(axis="y", visible=False)
        return svg_of(canvas, name)


def scatter(
    name: str,
    across: ArrayLike,
    up: ArrayLike,
    lines: Sequence[tuple[float, float, float]],
    labels: tuple[str, str],
    starts: Sequence[float],
) -> str:
    """Points beside the line of equality; lines: thresholds across with their intervals; starts: of the true bands."""
    across, up = np.asarray(across, float), np.asarray(up, float)
    values = [*starts, *(value for line in lines for value in line)]
    low, high = min(across.min(), up.min(), *values) - 2, max(across.max(), up.max(), *values) + 2
    with drawing(330) as (canvas, (axes,)):
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1)
        for start in starts:
            axes.axvline(start, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        for value, below, above in lines:
            axes.axhspan(below, above, color=TWO, alpha=0.18, linewidth=0)
            axes.axhline(value, color=TWO, linewidth=1.4)
            axes.text(high, value + 0.6, f"{value:.1f}", ha="right", va="bottom", color=TWO)
        axes.plot(across, up, "o", color=ONE, markersize=4, alpha=0.5, markeredgewidth=0)
        axes.set(xlim=(low, high), ylim=(low, high), xlabel=labels[0], ylabel=labels[1])
        return svg_of(canvas, name)


def contours(
    name: str,
    grid: NDArray[np.float64],
    values: NDArray[np.float64],
    points: Sequence[tuple[str, float, float]],
    box: Sequence[Sequence[float]],
    labels: tuple[str, str],
) -> str:
    """A surface over two thresholds (row: the lower, across), points on it by name, and a box of intervals."""
    (low, high), (least, most) = box
    across = [*(x for _, x, _ in points), low, high]
    up = [*(y for _, _, y in points), least, most]
    near = (grid >= min(across) - AROUND) & (grid <= max(across) + AROUND)
    far = (grid >= min(up) - AROUND) & (grid <= max(up) + AROUND)
    seen = np.where(np.isfinite(values), values, np.nan)[np.ix_(near, far)]
    lowest, highest = float(np.nanmin(seen)), float(np.nanmax(seen))
    edges = np.linspace(lowest, max(highest, lowest + 1e-3), 13)
    with drawing(330) as (canvas, (axes,)):
        axes.contourf(grid[near], grid[far], seen.T, levels=edges, colors=[level(0.05 * i) for i in range(12)])
        if highest - lowest > 1e-3:
            lines = axes.contour(grid[near], grid[far], seen.T, levels=edges[2:12:3], colors=MUTED, linewidths=0.6)
            axes.clabel(lines, fmt="%.2f", fontsize=10, colors=INK)
        axes.plot([low, high, high, low, low], [least, least, most, most, least], color=TWO, linewidth=1.4)
        for number, (word, x, y) in enumerate(points):
            colour, left = TWO if number == 0 else INK, x < np.mean(across[: len(points)])
            axes.plot([x], [y], "os^"[number % 3], color=colour, markeredgecolor=PAPER, markersize=7)
            axes.annotate(
                word, (x, y), (-7 if left else 7, (6, -13, -3)[number % 3]), textcoords="offset points", color=INK,
                ha="right" if left else "left",
            )  # fmt: skip
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.grid(visible=False)
        return svg_of(canvas, name)


def grouped_dots(
    name: str,
    groups: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], Sequence[tuple[float, float]] | None]],
    axis: str,
) -> str:
    """For each group a row of dots, one of each series, with intervals where a series has them."""
    looks = [("o", MUTED), ("D", ONE), ("s", TWO), ("^", INK), ("v", ONE)]
    with drawing(60 + len(groups) * (16 * len(series) + 10)) as (canvas, (axes,)):
        offsets = np.linspace(-0.3, 0.3, len(series)) if len(series) > 1 else [0.0]
        for (word, values, spans), (marker, colour), offset in zip(series, looks, offsets, strict=False):
            at = np.arange(len(groups)) + offset
            for place, span in zip(at, spans or [], strict=False):
                axes.plot(span, [place, place], color=colour, linewidth=1.6)
            axes.plot(values, at, marker, color=colour, markersize=6.5, linestyle="none", label=cut(word))
        axes.set_yticks(range(len(groups)), groups)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(groups) - 0.45, -0.55), xlabel=axis)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="y", visible=False)
        canvas.legend(loc="outside upper left", ncols=2, handletextpad=0.2, columnspacing=1.0)
        return svg_of(canvas, name)


def reliability(
    name: str,
    said: NDArray[np.float64],
    found: NDArray[np.float64],
    spans: NDArray[np.float64],
    labels: tuple[str, str],
) -> str:
    """What bins of predictions said (B,) and what was true of them (B,), with intervals (B, 2), by the diagonal."""
    low = min(said.min(), np.nanmin(spans), found.min())
    high = max(said.max(), np.nanmax(spans), found.max())
    pad = (high - low) * 0.05 or 0.05
    with drawing(300) as (canvas, (axes,)):
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1)
        for x, (below, above) in zip(said, spans, strict=True):
            axes.plot([x, x], [below, above], color=ONE, linewidth=1.6)
        axes.plot(said, found, "o-", color=ONE, markersize=6, linewidth=1)
        axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), xlabel=labels[0], ylabel=labels[1])
        return svg_of(canvas, name)


def curves(name: str, panels: Sequence[tuple[str, Sequence[tuple[str, str, Sequence[ArrayLike]]]]]) -> str:
    """Panels beneath one another over epochs: (axis, [(word, colour, [(epochs, values) a fold])])."""
    with drawing(150 * len(panels) + 20, rows=len(panels)) as (canvas, every):
        for axes, (axis, lines) in zip(every, panels, strict=True):
            for word, colour, folds in lines:
                style = "-" if colour == ONE else (0, (4, 2))
                for number, (epochs, values) in enumerate(folds):
                    axes.plot(
                        epochs, values, color=colour, linestyle=style, marker="o", markersize=3,
                        linewidth=1.4, label=word if number == 0 else None,
                    )  # fmt: skip
            axes.set_ylabel(axis)
            if axis == "macro-F1":
                axes.set_ylim(0, 1.03)
            axes.legend(loc="best")
        every[-1].set_xlabel("epochs")
        return svg_of(canvas, name)
