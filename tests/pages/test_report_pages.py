"""Reports in a real browser: on a phone and a screen, in the light and the dark, for a screen reader and in print."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import AXE, ROOT

sys.path.insert(0, str(ROOT / "tests/stages"))

from tiny_runs import finish, inside, train_all

from pipeline.stages.data import Data, data
from pipeline.stages.report import Report, report

pytestmark = pytest.mark.pages
FACES = ROOT.parent / "shared/faces"
SECTIONS = {"score", "labels", "photos", "ages", "groups", "reliability", "learning", "notes", "networks", "settings"}
DATA_SETS = ["drawn", pytest.param("faces", marks=pytest.mark.skipif(not FACES.is_dir(), reason="no shared/faces"))]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of finished runs by data set, made where they are asked for: of one run, without photos, of two."""
    made = {}

    def of(name):
        if name not in made:
            home = tmp_path_factory.mktemp(name)
            people = FACES
            if name == "drawn":
                people = home / "people"
                data(Data.of(folder=people, people=60, eval_people=10, seed=3))
            with inside(home):
                train_all(Path("one"), people)
                finish(Path("one"))
                shutil.copytree("one", "two")
                one = home / report(Report.of(run=Path("one")))["page"]
                both = home / report(Report.of(side_by_side="one two"))["page"]
                report(Report.of(run=Path("two"), no_photos=True))
            made[name] = SimpleNamespace(one=one, plain=home / "two/report.html", both=both)
        return made[name]

    return of


@pytest.fixture
def opened(browser):
    """Opens a page; what the browser complains of and asks for is kept."""
    contexts = []

    def of(path, width=1280, scheme="light", bypass_csp=False):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=bypass_csp
        )
        contexts.append(context)
        page = context.new_page()
        told = SimpleNamespace(page=page, errors=[], requests=[])
        page.on("console", lambda one: told.errors.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda one: told.errors.append(str(one)))
        page.on("request", lambda one: told.requests.append(one.url))
        page.goto(path.as_uri())
        return told

    yield of
    for context in contexts:
        context.close()


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_section_is_there_and_nothing_is_asked_for(pages, opened, name):
    told = opened(pages(name).one)
    open_all(told.page)
    assert told.errors == []
    assert [url for url in told.requests if not url.startswith("data:")] == [pages(name).one.as_uri()]
    assert set(told.page.evaluate("[...document.querySelectorAll('.section')].map(one => one.id)")) >= SECTIONS
    for link in told.page.query_selector_all("nav a"):
        assert told.page.query_selector(link.get_attribute("href")) is not None
    broken = "[...document.images].filter(one => !(one.complete && one.naturalWidth)).length"
    told.page.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
    told.page.wait_for_function(f"{broken} === 0", timeout=5000)
    empty = (
        "[...document.querySelectorAll('.drawing svg')].filter(one => one.getBoundingClientRect().height < 60).length"
    )
    assert told.page.evaluate(empty) == 0


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("which", ["one", "plain", "both"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_scrolls_sideways(pages, opened, name, which, scheme, width):
    told = opened(getattr(pages(name), which), width, scheme)
    for _ in range(2):
        assert told.page.evaluate("document.scrollingElement.scrollWidth") <= width
        open_all(told.page)
    assert told.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_theme_is_the_readers(pages, opened, scheme):
    told = opened(pages("drawn").one, scheme=scheme)
    paper = told.page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = told.page.evaluate("getComputedStyle(document.querySelector('#drawing-score svg text')).fill")
    bright = [sum(map(int, one.removeprefix("rgb(").rstrip(")").split(","))) for one in (paper, ink)]
    assert (bright[0] > 600 > bright[1] + 100) if scheme == "light" else (bright[0] < 150 < bright[1] - 100)


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("which", ["one", "both"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_no_serious_fault(pages, opened, name, which, scheme):
    told = opened(getattr(pages(name), which), scheme=scheme, bypass_csp=True)
    open_all(told.page)
    told.page.add_script_tag(content=AXE.read_text())
    found = told.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in serious] == []


def test_a_print_has_everything_that_matters(pages, opened):
    told = opened(pages("drawn").one, 800, "dark")
    told.page.emulate_media(media="print")
    assert told.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(told.page.pdf()) > 20_000


@pytest.mark.parametrize("name", DATA_SETS)
def test_pages_are_small(pages, name):
    assert pages(name).one.stat().st_size < 5e6
    assert pages(name).plain.stat().st_size < 1.5e6


def test_a_fault_would_be_found(browser):
    page = browser.new_page()
    page.set_content("<main><img src='data:,'><p style='color: #bbb; background: #fff'>faint</p></main>")
    page.add_script_tag(content=AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert {"image-alt", "color-contrast"} <= {one["id"] for one in found if one["impact"] in ("serious", "critical")}
    page.close()
