"""One visual language: colours by what they mean, in the light, in the dark and in print.

Plots are drawn with colours that stand for names (tokens). In the page these become CSS variables, so that a plot
follows the reader's theme; in an SVG file of its own they become the colours of the light one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

LIGHT = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "grid": "#d8dee4",
    "paper": "#ffffff",
    "one": "#1f5fa8",
    "two": "#b34d00",
    "between": "#1b1f24",
}
"""Blue and orange that the colour-blind tell apart (after Okabe and Ito 2008), dark enough on white."""
DARK = {
    "ink": "#e6e9ed",
    "muted": "#a3adb8",
    "grid": "#343c46",
    "paper": "#13171c",
    "one": "#79b8ff",
    "two": "#ffa260",
    "between": "#13171c",
}
BETWEEN = (0.6, 0.78)
"""Strengths between which letters are dark in either theme: each then is read best."""
TOKENS = {name: f"#0102{number:02x}" for number, name in enumerate(LIGHT, 1)}
"""The colours that plots are drawn with, by name."""
INK, MUTED, GRID, PAPER, ONE, TWO, _ = TOKENS.values()
_OF = {token: name for name, token in TOKENS.items()}
_LEVEL = re.compile(r"#fe01([0-9a-f]{2})")
_FONT = re.compile(r"font: (?:[a-z0-9]+ )?([0-9.]+)px [^;\"]*|font-size: ([0-9.]+)px; font-family: [^;\"]*")
_TAG = re.compile(r"<[^>]*>")


def level(share: float) -> str:
    """The token of a strength from 0 (paper) to 1 (the first colour)."""
    return f"#fe01{round(100 * min(max(share, 0.0), 1.0)):02x}"


def over(share: float) -> str:
    """The token of letters that are read on `level` of a share."""
    return INK if share <= BETWEEN[0] else PAPER if share > BETWEEN[1] else TOKENS["between"]


def themed(svg: str) -> str:
    """A plot for the page: tokens as variables, letters in the page's font."""
    mixed = "color-mix(in srgb, var(--one) {}%, var(--paper))"
    return _in_tags(svg, lambda share: mixed.format(share), {name: f"var(--{name})" for name in LIGHT}, "")


def alone(svg: str) -> str:
    """A plot as a file of its own, in the light theme."""
    return _in_tags(svg, lambda share: _mixed(share / 100), LIGHT, "; font-family: sans-serif")


def _in_tags(svg: str, of_level: Callable[[int], str], of_token: Mapping[str, str], family: str) -> str:
    """Colours and fonts put in the place of tokens, in tags alone: a text may hold what looks like one."""

    def of_tag(found: re.Match[str]) -> str:
        tag = _LEVEL.sub(lambda one: of_level(int(one[1], 16)), found[0])
        for token, name in _OF.items():
            tag = tag.replace(token, of_token[name])
        return _FONT.sub(lambda one: f"font-size: {one[1] or one[2]}px{family}", tag)

    return _TAG.sub(of_tag, svg)


def _mixed(share: float) -> str:
    one, paper = (bytes.fromhex(LIGHT[name][1:]) for name in ("one", "paper"))
    return "#" + bytes(round(share * a + (1 - share) * b) for a, b in zip(one, paper, strict=True)).hex()


def variables() -> str:
    """The themes as CSS: light, dark where the reader's system is, and always light in print."""

    def rules(colours: dict[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

    return (
        f":root {{ color-scheme: light dark; {rules(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {rules(DARK)} }} }}\n"
        f"@media print {{ :root {{ color-scheme: light; {rules(LIGHT)} }} }}\n"
    )
