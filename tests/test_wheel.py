"""The wheel in a clean environment, outside any checkout."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})


@pytest.fixture(scope="module")
def face18(tmp_path_factory) -> Path:
    """The command, installed from a wheel; what it needs comes from this environment, face18 itself does not."""
    home = tmp_path_factory.mktemp("clean")
    source = shutil.copytree(
        ROOT, home / "source", ignore=lambda _, names: {n for n in names if n.startswith(".")} | {"data", "runs"}
    )
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    made = run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", home, source, cwd=home)
    assert made.returncode == 0, made.stderr
    (wheel,) = home.glob("face18-*.whl")
    shutil.rmtree(source)
    made = run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    assert made.returncode == 0, made.stderr
    site = next((home / "venv/lib").glob("python*/site-packages"))
    (site / "what_it_needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = home / "venv/bin/python"
    installed = run(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=home)
    assert installed.returncode == 0, installed.stderr
    return home / "venv/bin/face18"


@pytest.mark.slow
def test_its_help_and_a_stage_run_outside_any_checkout(face18, tmp_path):
    told = run(face18, "--help", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage: face18 STAGE [settings]")
    drawn = run(face18, "data", "--folder", "people", "--people", 60, "--eval-people", 10, cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "people/key.csv").is_file()
    missing = run(face18, "submit", cwd=tmp_path)
    assert missing.returncode == 2
    assert "face18 train" in missing.stderr
    assert "make" not in missing.stderr


@pytest.mark.slow
def test_it_holds_every_room_and_the_code_is_its_own(face18, tmp_path):
    python = face18.parent / "python"
    code = "import models.tasks, pipeline.stages.train as t, pipeline.comparison.comparison; print(t.__file__)"
    told = run(python, "-c", code, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert Path(told.stdout.strip()).is_relative_to(face18.parents[1])


@pytest.mark.slow
def test_it_holds_what_pages_and_exports_are_made_of(face18, tmp_path):
    python = face18.parent / "python"
    code = (
        "from importlib.resources import files; from pipeline.serving.bundle import portable; "
        "compile(portable(0.25), 'label.py', 'exec'); "
        "print([(files('pipeline.report') / name).is_file() for name in ('page.html', 'page.css')])"
    )
    told = run(python, "-c", code, cwd=tmp_path)
    assert told.stdout.strip() == "[True, True]", told.stderr


@pytest.mark.slow
def test_an_exported_folder_labels_photos_outside_any_checkout(face18, tmp_path):
    drawn = run(face18, "data", "--folder", "people", "--people", 60, "--eval-people", 10, cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    size = ["--epochs", 0.5, "--height", 64, "--width", 64, "--weights", "none"]
    for task in ("mask", "gender", "age"):
        told = run(face18, "train", task, "--data", "people", "--run", "r", "--faces", "given", *size, cwd=tmp_path)
        assert told.returncode == 0, told.stderr
    for stage in ("predict", "calibrate", "submit", "report", "export"):
        told = run(face18, stage, "--run", "r", cwd=tmp_path)
        assert told.returncode == 0, told.stderr
    assert (tmp_path / "r/report.html").stat().st_size > 100_000
    photos = sorted((tmp_path / "people/eval/images").iterdir())[:10]
    told = run(face18, "label", *photos, "--model", "r/export", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    by_run = run(face18, "label", *photos, "--run", "r", "--json", cwd=tmp_path)
    labels = [[json.loads(line)["label"] for line in one.stdout.splitlines()] for one in (told, by_run)]
    assert len(labels[0]) == 10
    assert labels[0] == labels[1]
