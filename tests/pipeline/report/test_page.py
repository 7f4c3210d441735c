"""The page: whatever texts hold is shown as text, numbers keep their values, colours are those of the theme."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.report import drawing
from pipeline.report.blocks import Card, Column, Gallery, Plot, Section, Table, Tile, Tiles, plain, shown
from pipeline.report.page import page_of
from pipeline.report.theme import DARK, LIGHT, TOKENS, alone, level, themed

ODD = [
    "<script>alert(1)</script>", "a\nb\r\nc", "\u202egpj.exe", "../../etc/passwd", '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% raw %}", "&lt;b&gt;", ".." * 9, "$\\frac{1}{2}$", "</title></style></svg>", "javascript:alert(1)",
    "\x00\x1b[31m",    "' onfocus='alert(1)", "日本語 é\u0301",
]  # fmt: skip


class Read(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.drawn, self.inside = [], [], [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = self.inside or tag == "svg"
        if self.inside:  # how many ticks there are depends on how wide texts are
            self.drawn |= {tag} | {f"{tag} {name}" for name, _ in attributes}
            return
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "svg"

    def handle_data(self, text):
        self.texts.append(text)


def page_with(text):
    """A page that has a text wherever one can be."""
    table = Table([Column(text), Column(text, "score")], [(text, 0.5), (text, (0.25, 0.75))], text)
    plotted = drawing.intervals("odd", [(text, 0.5, 0.4, 0.6)], text)
    bars = drawing.bars("bars", [(text, 3.0)], text, lambda value: text)
    plots = [Plot("odd", text, plotted, text, table, text), Plot("bars", text, bars, text, table, text, wide=True)]
    card = Card("data:image/jpeg;base64,", text, text, [(text, True), (text, False)], text, [(text, "data:,")])
    blocks = [Tiles([Tile(text, 0.5, "score", text)]), *plots, table, Gallery(text, text, [card])]
    return page_of(text, [Section("one", text, text, blocks), Section("two", text, text, [table], closed=True)], text)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_texts_are_shown_as_texts(text):
    usual, odd = Read(page_with("usual")), Read(page_with(text))
    assert odd.tags == usual.tags
    assert odd.drawn == usual.drawn
    assert [name for name, _ in odd.attributes] == [name for name, _ in usual.attributes]
    assert sum(plain(text) in one for one in odd.texts) >= 20
    whole = page_with(text)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", whole)


def test_numbers_keep_their_whole_values():
    rows = [("a", 1 / 3, (0.1, 2 / 3), None, float("nan"), 1141)]
    columns = [Column("one"), Column("b", "share"), Column("c", "score"), Column("d", "score"), Column("e", "years")]
    whole = page_of("t", [Section("s", "S", "", [Table([*columns, Column("f", "count")], rows, "T")])], "m")
    values = re.findall(r'<data value="([^"]*)">([^<]*)</data>', whole)
    assert [(float(value), told) for value, told in values] == [
        (1 / 3, "33.3 %"), (0.1, "0.100"), (2 / 3, "0.667"), (1141.0, "1,141"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (0.0, "signed", "+0.000"), (-0.0123, "signed", "−0.012"), (90.0, "seconds", "90 s"),
        (3600, "seconds", "60 min"),
        (12345.6, "count", "12,346"), (None, "score", ""), (4.5, "number", "4.5"), (34.25, "years", "34.2"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(value, kind, told):
    assert shown(value, kind) == told


def test_a_plot_is_the_same_in_both_themes_but_for_its_colours():
    svg = drawing.heat_map("heat", np.arange(9).reshape(3, 3), ["g"], ["a", "b", "c"])
    page, file = themed(svg), alone(svg)
    for made in (page, file):
        assert not any(token in made for token in TOKENS.values())
        assert "#fe01" not in made
    assert "color-mix(in srgb, var(--one) 0%, var(--paper))" in page
    assert LIGHT["ink"] in file
    assert "var(" not in file
    assert set(LIGHT) == set(DARK) == set(TOKENS)
    assert len(set(TOKENS.values()) | {level(i / 100) for i in range(101)}) == len(TOKENS) + 101


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_letters_stand_out_from_the_paper(theme):
    """By the contrast of WCAG 2.1: letters at least 4.5, lines at least 3."""
    for name in ("ink", "muted", "one", "two"):
        assert contrast(theme[name], theme["paper"]) >= 4.5, name


def contrast(one, other):
    bright = sorted(luminance(colour) for colour in (one, other))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def luminance(colour):
    channels = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)
