"""What README and docs say is what the program says and does."""

import re
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.arguments import STAGES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST = 150
"""Lines of the README."""


def test_the_readme_is_read_to_its_end():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST


def test_the_guides_table_of_settings_is_the_declarations(capsys):
    assert main(["settings"]) == 0
    told = capsys.readouterr().out.strip()
    written = (ROOT / "docs/guide.md").read_text().split("not know the setting, or have another default.\n\n")[1]
    assert written.strip() == told, "python -m pipeline settings prints the table that belongs into docs/guide.md"


def test_every_message_of_the_trouble_page_is_one_that_is_said():
    """The middle column of the table, numbers and names apart, is in the code."""
    lines = (ROOT / "docs/trouble.md").read_text().splitlines()
    quoted = [q for line in lines if line.startswith("| ") for q in line.split("|")[2].split("`")[1::2]]
    code = " ".join(file.read_text() for file in (ROOT / "pipeline").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", re.sub(r"\{[^{}\n]*\}", "N", code))  # pieces of one sentence joined
    assert len(quoted) >= 11
    for message in quoted:
        plain = re.sub(r"\d+|SIGTERM", "N", message.removeprefix("... "))
        assert plain in code, message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link, heading in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", page.read_text()):
        assert (page.parent / link).exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", (page.parent / link).read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^a-z0-9 _-]", "", one.lower()).replace(" ", "-") for one in headings}
            assert heading in anchors, f"{link}#{heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_and_options_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*)(?:[ a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= {"train-gender", "train-age"}
    for target in re.findall(r"make ([a-z][a-z-]*)", " ".join(re.findall(r"`[^`]*`|```.*?```", text, re.DOTALL))):
        assert target in targets, target
    known = "".join(line for line in (ROOT / "docs/guide.md").read_text().splitlines() if line.startswith("| `--"))
    known += (
        "`--help` `--smoke` `--data-binary` `--nnodes` `--nproc-per-node` `--local-addr`"  # the latter are torchrun's
    )
    for option in re.findall(r"`[^`]*?(--[a-z][a-z-]+)", text):
        assert f"`{option}`" in known, option


def test_the_house_that_the_readme_draws_stands():
    drawn = re.findall(r"^ *([a-z_]+)/ ", (ROOT / "README.md").read_text(), re.MULTILINE)
    rooms = {folder.parent.name for folder in (ROOT / "pipeline").rglob("__init__.py")} - {"pipeline"}
    assert {"models", "cpu", "pipeline", "tests", "benchmarks"} | rooms == set(drawn)
    for stage in STAGES:
        assert stage in (ROOT / "README.md").read_text()
