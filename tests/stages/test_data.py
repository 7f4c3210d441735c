"""Drawing people: asked twice at once, killed at any moment, and into folders that cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import UserError
from pipeline.runtime import store
from pipeline.stages.data import Data, data

ROOT = Path(__file__).parents[2]
FEW = {"people": 10, "eval_people": 10}
COMMAND = """
import os, signal, sys
from pathlib import Path
{before}
from pipeline.__main__ import main
sys.exit(main(["data", "--folder", {folder!r}, "--people", "10", "--eval-people", "10"]))
"""
KILL = """
from pipeline.synthetic import data_set
move = Path.rename
def rename(path, target):
    if {moved}:
        move(path, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename
"""


def begin(folder: Path, before: str = "") -> subprocess.Popen:
    code = COMMAND.format(folder=str(folder), before=before)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1, stderr=-1, text=True)


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()}


def test_two_at_once_draw_once(tmp_path):
    two = [begin(tmp_path / "deep" / "set") for _ in range(2)]
    told = [process.communicate() for process in two]
    assert [process.returncode for process in two] == [0, 0], told
    assert sorted("is already drawn" in out for out, _ in told) == [False, True]
    assert sorted("data: drew 10 train and 10 eval people" in out for out, _ in told) == [False, True]
    assert beside(tmp_path / "deep" / "set") == {"set", "set.json", ".set.lock"}


@pytest.mark.parametrize("moved", [False, True])
def test_killed_around_the_last_step_the_same_call_goes_on(tmp_path, capsys, moved):
    folder = tmp_path / "set"
    killed = begin(folder, KILL.format(moved=moved))
    _, errors = killed.communicate()
    assert killed.returncode == -9, errors
    assert folder.is_dir() == moved
    metrics = data(Data.of(folder=folder, **FEW))
    assert ("is already drawn" in capsys.readouterr().out) == moved
    assert metrics == {"people": 10, "photos": 70, "eval_people": 10, "eval_photos": 70}
    assert beside(folder) == {"set", "set.json", ".set.lock"}


def test_what_killed_drawings_left_goes_and_nothing_else(tmp_path):
    left = tmp_path / ".set.12345.unfinished/train/images"
    others = [tmp_path / name for name in (".set.b.12345.unfinished", ".other.12345.unfinished", ".set.unfinished")]
    for folder in (left, *others):
        folder.mkdir(parents=True)
    data(Data.of(folder=tmp_path / "set", **FEW))
    assert beside(tmp_path / "set") == {"set", "set.json", ".set.lock", *(folder.name for folder in others)}


def test_what_stands_is_looked_at_without_writing(tmp_path):
    metrics = data(Data.of(folder=tmp_path / "set", **FEW))
    (tmp_path / ".set.lock").unlink()
    assert data(Data.of(folder=tmp_path / "set")) == metrics
    assert beside(tmp_path / "set") == {"set", "set.json"}


def test_other_settings_are_refused_and_leave_the_record(tmp_path):
    data(Data.of(folder=tmp_path / "set", **FEW))
    record = (tmp_path / "set.json").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        data(Data.of(folder=tmp_path / "set", seed=1))
    assert (tmp_path / "set.json").read_bytes() == record


@pytest.mark.parametrize("folder", [".", "..", "/", "deep/.."])
def test_a_folder_without_a_name_of_its_own_is_refused(folder):
    with pytest.raises(UserError, match=r"it needs a name of its own, like data/drawn\.$"):
        data(Data.of(folder=Path(folder)))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="cannot be written"):
        data(Data.of(folder=tmp_path / "mine.txt/set"))


def test_people_drawn_by_another_version_are_told(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    store.write_json(tmp_path / "people.json", {"settings": FEW, "drawn": {"people": 10}})
    with pytest.raises(
        UserError, match=r"people\.json was written by another version of face18; remove it and .*people"
    ):
        data(Data.of(folder=folder))
    assert (tmp_path / "people.json").is_file()
