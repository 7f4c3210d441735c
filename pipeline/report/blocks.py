"""What a report is made of: sections of plots, tables and galleries, before they are HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]")
Kind = Literal["text", "count", "share", "score", "signed", "years", "number", "seconds"]


class Column(NamedTuple):
    """A column of a table: its title, and how its values are shown. A value may be a pair (low, high), an interval."""

    title: str
    kind: Kind = "text"


def shown(value: Any, kind: Kind) -> str:
    """A number as people read it; blank where there is none. Digits are chosen so that a column can be compared."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    match kind:
        case "count":
            return f"{value:,.0f}"
        case "share":
            return f"{value:.1%}".replace("%", " %")
        case "score":
            return f"{value:.3f}"
        case "signed":
            return f"{value:+.3f}".replace("-", "−")
        case "years":
            return f"{value:.1f}"
        case "number":
            return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
        case "seconds":
            return f"{value:,.0f} s" if value < 600 else f"{value / 60:,.0f} min"
    return str(value)


def plain(text: object) -> str:
    """A text in which what cannot be seen, or would turn the line around, is spelled out."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))


@dataclass(frozen=True)
class Table:
    """Rows of raw values beneath columns; `head` columns at the left are headings of their rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str
    head: int = 1


@dataclass(frozen=True)
class Plot:
    """A drawing with the table of what it shows.

    name: of its file; svg: with colours as tokens (`theme`); alt: what it shows, in words; wide: it keeps its width,
    and scrolls where the page is narrower.
    """

    name: str
    title: str
    svg: str
    alt: str
    table: Table
    note: str = ""
    wide: bool = False


class Tile(NamedTuple):
    """A number that is read first."""

    title: str
    value: float
    kind: Kind
    beside: str = ""


@dataclass(frozen=True)
class Tiles:
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Card:
    """A photo of a gallery. picture, maps: JPEGs as data URIs, maps by what they tell.

    true: what it shows; said: what was said of it, each with whether that is wrong; name: of the photo.
    """

    picture: str
    alt: str
    true: str
    said: Sequence[tuple[str, bool]]
    name: str
    maps: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Gallery:
    title: str
    note: str
    cards: Sequence[Card]


Block = Plot | Table | Tiles | Gallery


@dataclass(frozen=True)
class Section:
    """A section of the page; closed: of the last depth, for who wants everything; short: its title in the list."""

    key: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = field(default_factory=tuple)
    closed: bool = False
    short: str = ""
