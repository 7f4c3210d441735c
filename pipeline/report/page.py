"""Sections as one HTML page that needs nothing else: no script, no request, no font."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.report.blocks import Column, Gallery, Plot, Section, Table, Tiles, plain, shown
from pipeline.report.theme import themed, variables

KINDS = {Plot: "plot", Table: "table", Tiles: "tiles", Gallery: "gallery"}


def page_of(title: str, sections: Sequence[Section], made: str) -> str:
    """The whole page. title: as text; made: what made it, for its foot."""
    room = files("pipeline.report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"plain": plain, "cell": cell, "number": number}
    environment.tests["numeric"] = lambda column: column.kind != "text"
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    style = Markup(variables() + (room / "page.css").read_text(encoding="utf-8"))
    kinds = {id(block): KINDS[type(block)] for section in sections for block in section.blocks}
    return template.render(
        title=title, sections=sections, style=style, made=made, kind=lambda block: kinds[id(block)],
        svg=lambda plot: Markup(themed(plot.svg)),
    )  # fmt: skip


def cell(value: Any, column: Column) -> Markup:
    """A cell: a number with its whole value beside the one shown, an interval as two, a text isolated from its line."""
    if column.kind == "text":
        return Markup("<bdi>{}</bdi>").format(plain("" if value is None else value))
    if isinstance(value, tuple | list):
        low, high = value
        return Markup("{} to {}").format(number(low, column.kind), number(high, column.kind))
    return number(value, column.kind)


def number(value: Any, kind: str) -> Markup:
    """A number as HTML's data element; nothing where there is none."""
    told = shown(value, kind)
    return Markup('<data value="{}">{}</data>').format(repr(float(value)), told) if told else Markup("")
