"""The page of make serve in a real browser: a photo asked about, a broken one, the camera, a phone and a screen."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import AXE, ROOT
from PIL import Image

sys.path.insert(0, str(ROOT / "tests/stages"))

from tiny_runs import finish, inside, train_all

from models.labels import MASK_WORDS, MASKS, NAMES
from pipeline.stages.data import Data, data

pytestmark = pytest.mark.pages
FACES = ROOT.parent / "shared/faces"
REAL = pytest.mark.skipif(not FACES.is_dir(), reason="no shared/faces")


def some_faces(folder):
    """A data set of sixty of the train people of shared/faces, and thirty of its eval photos."""
    people = pd.read_csv(FACES / "train/train.csv", dtype=str)[::6].head(60)
    eval = pd.read_csv(FACES / "eval/info.csv", dtype=str).head(30)
    key = pd.read_csv(FACES / "key.csv", dtype=str)
    (folder / "eval/images").mkdir(parents=True)
    for name in people["path"]:
        shutil.copytree(FACES / "train/images" / name, folder / "train/images" / name)
    for name in eval["ImageID"]:
        shutil.copy(FACES / "eval/images" / name, folder / "eval/images")
    people.to_csv(folder / "train/train.csv", index=False)
    eval.to_csv(folder / "eval/info.csv", index=False)
    key[key["ImageID"].isin(eval["ImageID"])].to_csv(folder / "key.csv", index=False)


@pytest.fixture(scope="module", params=["drawn", pytest.param("faces", marks=REAL)])
def site(request, tmp_path_factory):
    """A served run, of drawn people or of real ones, whose faces are found: its address, photos and labels."""
    home = tmp_path_factory.mktemp("served")
    people = home / "people"
    if request.param == "faces":
        some_faces(people)
    else:
        data(Data.of(folder=people, people=60, eval_people=10, seed=3))
    with inside(home):
        train_all(Path("run"), people, faces="auto" if request.param == "faces" else "given")
        finish(Path("run"))
    names = pd.read_csv(people / "eval/info.csv")["ImageID"]
    labels = pd.read_csv(home / "run/submission.csv")["ans"]
    photos = [(people / "eval/images" / name, label) for name, label in zip(names, labels, strict=True)]
    server = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", "--run", "run", "--port", "0"],
        cwd=home,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    port = re.search(r":(\d+) answers", server.stdout.readline())[1]
    yield SimpleNamespace(address=f"http://127.0.0.1:{port}", photos=photos, home=home, faces=request.param == "faces")
    server.terminate()
    server.wait()


@pytest.fixture
def opened(browser, site):
    """Opens the page; what the browser complains of and asks for is kept."""
    contexts = []

    def of(width=1280, scheme="light", **more):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        told = SimpleNamespace(page=page, errors=[], requests=[], context=context)
        page.on("console", lambda one: told.errors.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda one: told.errors.append(str(one)))
        page.on("request", lambda one: told.requests.append(one.url))
        page.goto(site.address)
        return told

    yield of
    for context in contexts:
        context.close()


def ask(page, *files):
    page.set_input_files("#files", list(files))
    page.get_by_text(f"{len(files)} photo{'s' if len(files) > 1 else ''} answered", exact=True).wait_for()


def test_a_photo_is_asked_about_and_its_answer_read(site, opened):
    told = opened()
    photo, label = site.photos[0]
    ask(told.page, photo)
    mask, gender, band = NAMES[label].split(", ")
    words = MASK_WORDS[MASKS.index(mask)]
    assert told.page.locator(".face h2").first.inner_text().startswith(f"{words}, {gender}, {band} (")
    assert told.page.locator(".face .number").first.inner_text() == f"label {label}"
    shares = told.page.locator(".face").first.locator("dd.value").all_inner_texts()
    assert sum(int(share.removesuffix(" %")) for share in shares[:3]) in range(98, 103)
    if not site.faces:
        assert told.page.locator(".picture rect, .note").count() == 0
        return
    box, image = (told.page.locator(f".picture {one}").first.bounding_box() for one in ("rect", "img"))
    assert image["x"] <= box["x"] + box["width"] / 2 <= image["x"] + image["width"]
    assert image["y"] <= box["y"] + box["height"] / 2 <= image["y"] + image["height"]
    assert told.page.locator(".note").count() == 0


def test_it_asks_nobody_else_and_complains_of_nothing(site, opened):
    told = opened()
    ask(told.page, site.photos[0][0])
    assert told.errors == []
    assert {url for url in told.requests if not url.startswith(("blob:", "data:"))} == {
        f"{site.address}/{path}" for path in ("", "ask.css", "ask.js", "about", "label")
    }


def test_many_photos_each_get_the_label_of_the_submission(site, opened):
    told = opened()
    some = site.photos[:20]
    ask(told.page, *(photo for photo, _ in some))
    cards = told.page.locator(".card")
    found = {
        cards.nth(n).locator("bdi").inner_text(): cards.nth(n).locator(".number").first.inner_text()
        for n in range(cards.count())
    }
    assert found == {photo.name: f"label {label}" for photo, label in some}
    told.page.click("#clear")
    assert cards.count() == 0


def test_a_broken_file_gets_a_sentence_and_a_name_is_text(site, opened):
    told = opened()
    name = "<img src=x onerror=document.title='gone'>.jpg"
    (site.home / name).write_bytes(b"\xff\xd8\xff no photo")
    ask(told.page, site.home / name, site.photos[0][0])
    assert told.page.locator(".wrong").inner_text().startswith("No label: it begins like a JPEG")
    assert told.page.locator("bdi").all_inner_texts() == [site.photos[0][0].name, name]
    assert "gone" not in told.page.title()
    assert all("422" in error for error in told.errors)  # which a browser reports of any such status


def test_a_file_larger_than_the_server_takes(site, opened):
    (site.home / "large.jpg").write_bytes(bytes(20_000_001))
    told = opened()
    ask(told.page, site.home / "large.jpg")
    assert "it has more than the 20 megabytes that this server takes" in told.page.locator(".wrong").inner_text()
    assert not any(url.endswith("/label") for url in told.requests)


def test_each_face_of_a_photo_has_its_answer_and_its_number(site, opened):
    if not site.faces:
        pytest.skip("a run that finds no faces")
    faces = [photo for photo, _ in site.photos[:3]]
    several = Image.new("RGB", (1200, 700), "grey")
    for number, face in enumerate(faces):
        several.paste(Image.open(face).convert("RGB").resize((330, 440)), (30 + 390 * number, 130))
    several.save(site.home / "several.png")
    told = opened()
    ask(told.page, site.home / "several.png")
    assert [text[:2] for text in told.page.locator(".face h2").all_inner_texts()] == ["1.", "2.", "3."]
    assert sorted(told.page.locator(".picture text").all_text_contents()) == ["1", "2", "3"]
    assert told.page.locator(".note").inner_text() == "Face 1 counts as the photo's."


def test_the_camera(site, opened):
    told = opened()
    told.context.grant_permissions(["camera"], origin=site.address)
    told.page.click("#camera")
    told.page.locator("#video").wait_for(state="visible")
    told.page.wait_for_timeout(1000)
    told.page.click("#take")
    told.page.get_by_text("1 photo answered", exact=True).wait_for()
    assert told.page.locator(".face").count() == 1
    assert told.page.locator("bdi").inner_text() == "camera 1.jpg"
    told.page.click("#close")
    assert told.page.evaluate("document.getElementById('video').srcObject") is None
    assert not told.page.locator("#video").is_visible()
    assert told.errors == []


def test_what_was_cleared_is_not_counted(site, opened):
    """Replies to photos that were cleared come late, or never."""
    told = opened()
    held = []
    told.page.route("**/label", lambda route: held.append(route) if len(held) < 2 else route.continue_())
    told.page.set_input_files("#files", [site.photos[0][0], site.photos[1][0]])
    told.page.get_by_text("0 of 2 photos answered").wait_for()
    while len(held) < 2:
        told.page.wait_for_timeout(20)
    told.page.click("#clear")
    ask(told.page, site.photos[2][0], site.photos[3][0])
    assert told.page.locator(".number").count() >= 2
    assert told.page.locator("bdi").all_inner_texts() == [site.photos[n][0].name for n in (3, 2)]


def test_a_server_that_is_busy_is_asked_again(site, opened):
    told = opened()
    refusals = []

    def first_busy(route):
        if refusals:
            route.continue_()
        else:
            refusals.append(route)
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "too many photos wait."})

    told.page.route("**/label", first_busy)
    ask(told.page, site.photos[0][0])
    assert told.page.locator(".wrong").count() == 0
    assert len(refusals) == 1


def test_a_server_that_does_not_answer_at_first_is_waited_for(site, browser):
    page = browser.new_page()
    refused = []

    def first_refused(route):
        if len(refused) < 2:
            refused.append(route)
            route.fulfill(status=503, body="Service Unavailable")
        else:
            route.continue_()

    page.route("**/about", first_refused)
    page.goto(site.address)
    page.get_by_text("The server does not answer; is it still running?").wait_for()
    ask(page, site.photos[0][0])
    assert page.locator("#about").inner_text().startswith("Labels by run. Age bands go by the thresholds")
    page.close()


def test_a_server_that_is_gone_is_told(site, opened):
    told = opened()
    told.context.set_offline(True)
    ask(told.page, site.photos[0][0])
    assert "the server does not answer" in told.page.locator(".wrong").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_phone_and_screen_for_everyone(site, opened, width, scheme):
    """Nothing is wider than the window, and axe finds no serious fault, before and after."""
    told = opened(width, scheme, bypass_csp=True)
    long = site.home / f"{'long' * 40}.jpg"
    long.write_bytes(site.photos[1][0].read_bytes())
    (site.home / "broken.jpg").write_bytes(b"no photo")
    told.page.add_script_tag(content=AXE.read_text())
    for files in ((), (long, site.home / "broken.jpg", site.photos[2][0])):
        if files:
            ask(told.page, *files)
        assert told.page.evaluate("document.scrollingElement.scrollWidth") <= width
        found = told.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in serious] == []
    paper = told.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 600) == (scheme == "light")


def test_the_page_is_used_by_keyboard(site, opened):
    told = opened()
    reached = []
    for _ in range(3):
        told.page.keyboard.press("Tab")
        reached.append(told.page.evaluate("document.activeElement.textContent.trim()"))
    assert reached == ["Choose photos", "Use the camera", "For programs"]
