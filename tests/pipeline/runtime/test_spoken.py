"""The command face18 and python -m pipeline say the same, each in its own words."""

import ast
import re
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.runtime import spoken
from pipeline.runtime.spoken import in_its_words

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/bin/face18"])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("run make calibrate first.", "run face18 calibrate first."),
        (
            "no fold of age is trained; run make train-age first.",
            "no fold of age is trained; run face18 train age first.",
        ),
        ("(make train-mask train-age).", "(face18 train mask and face18 train age)."),
        ("(make train-joint RECIPE=note-swin).", "(face18 train joint --recipe note-swin)."),
        ("name another run with RUN=folder (--run).", "name another run with --run folder."),
        ("meant: PRESET=lite (--preset), or RUN=folder (--run).", "meant: --preset lite, or --run folder."),
        ("WEIGHTS=auto, hub, none or a folder.", "--weights auto, hub, none or a folder."),
        ("name another RUN=", "name another --run"),
        ("as by NPROC=2 (--processes), or", "as by --processes 2, or"),
        ("several processes (NPROC=)", "several processes (--processes)"),
        ("python -m pipeline recipes lists them", "face18 recipes lists them"),
        ("make setup installs it", "pip install . in the checkout installs it"),
        ("/data/RUN=3/a.jpg is no photo", "/data/RUN=3/a.jpg is no photo"),
        ("make room and give the same command again", "make room and give the same command again"),
    ],
)
def test_messages_are_in_the_words_of_the_program_that_was_called(command, monkeypatch, written, told):
    assert in_its_words(written) == told
    monkeypatch.setattr(sys, "argv", ["/checkout/pipeline/__main__.py"])
    assert in_its_words(written) == written


def texts(file: Path) -> list[str]:
    """All texts of a source file, with `age` for what is filled in; docstrings are none."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if hasattr(node, "body") and isinstance(node.body, list) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found, parts = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= set(map(id, node.values))
            found.append("".join(v.value if isinstance(v, ast.Constant) else "age" for v in node.values))
    plain = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return found + [n.value for n in plain if id(n) not in parts | docs]


def test_no_message_of_the_command_speaks_of_make(command):
    of_make = re.compile(rf"\bmake (setup|train|{spoken.STAGES})|\b({spoken.SETTINGS})=|python -m pipeline")
    files = [f for room in ("models", "pipeline") for f in (ROOT / room).rglob("*.py") if f.name != "spoken.py"]
    written = [text for file in files for text in texts(file) if of_make.search(text)]
    assert len(written) > 20
    left = [text for text in written if of_make.search(in_its_words(text))]
    assert not left


def test_what_users_meet_is_translated(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "--run", "runs/none"]) == 2
    told = capsys.readouterr().err
    assert "there is no run runs/none yet; train it first (face18 train mask and face18 train gender" in told
    assert main(["score", "--bogus"]) == 2
    assert "face18 score --help lists them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "usage: face18 score [settings]" in capsys.readouterr().out


def test_its_help_is_a_page(command, capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: face18 STAGE [settings]")
    assert "make" not in told
    assert max(map(len, told.splitlines())) <= 120
    assert len(told.splitlines()) <= 40


def test_every_line_of_its_example_can_be_read(command):
    from pipeline.__main__ import EXAMPLE
    from pipeline.arguments import parse

    lines = [line.split() for line in EXAMPLE.splitlines() if line.startswith("  face18 ")]
    assert len(lines) == 9
    for _, stage, *words in lines:
        parse(stage, words)


def test_windows_is_told_in_a_sentence(monkeypatch, capsys):
    from pipeline import command

    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match=r"^face18: locks are flock's, which Windows has not; under WSL"):
        command.main()
