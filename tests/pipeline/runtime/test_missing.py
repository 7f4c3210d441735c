"""A file that is not there: one that a user can bring back, or a fault of ours that must not be laid on users."""

import ast
import errno
import os
from pathlib import Path

import pytest

from pipeline import __main__ as command_line
from pipeline.__main__ import main
from pipeline.prediction.chunks import Chunks
from pipeline.runtime import store
from pipeline.runtime.missing import OURS, missing_path
from pipeline.synthetic import data_set

ROOT = Path(__file__).parents[3]
PASSING = [".weights.safetensors.k2x.part", "resume-000012-0123456789abcdef.pt", "chunks-0123456789abcdef/000001.csv",
           ".people.4711.unfinished/train/train.csv"]  # fmt: skip


def opened(path) -> FileNotFoundError:
    with pytest.raises(FileNotFoundError) as told:
        os.stat(path)
    return told.value


@pytest.fixture
def fold(tmp_path):
    folder = tmp_path / "runs/one/age/fold0"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["weights.safetensors", "settings.json", "chunks-of-mine/a.csv", "resume-me.pt"])
def test_what_a_finished_run_holds_can_be_brought_back(fold, name):
    assert missing_path(opened(fold / name)) == fold / name.split("/")[0]


@pytest.mark.parametrize("name", PASSING)
def test_what_stands_only_while_we_work_is_ours(fold, name):
    assert missing_path(opened(fold / name)) is None
    assert missing_path(opened(os.fsencode(fold / name))) is None


@pytest.mark.parametrize("name", PASSING)
def test_a_folder_that_went_with_what_we_wrote_there_is_the_users(fold, name):
    fold.rmdir()
    assert missing_path(opened(fold / name)) == fold


def test_a_file_that_is_there_after_all_is_ours(fold):
    problem = opened(fold / "log.csv")
    (fold / "log.csv").touch()
    assert missing_path(problem) is None


def test_a_link_to_nothing_is_the_users(fold):
    (fold / "data").symlink_to(fold / "nowhere")
    assert missing_path(opened(fold / "data/photos.csv")) == fold / "data"


@pytest.mark.parametrize("named", [(), (None,), (7,)])
def test_an_error_that_names_no_file_is_ours(named):
    assert missing_path(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), *named)) is None


def test_the_command_line_raises_faults_of_ours(fold, monkeypatch, capsys):
    monkeypatch.chdir(fold)

    def ending(name):
        monkeypatch.setattr(command_line, "parse", lambda *_: (lambda _: os.stat(name), None))
        return main(["prepare"])

    assert ending("weights.safetensors") == 2
    assert ending("gone/.log.csv.x.part") == 2
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()] == [" weights.safetensors", " gone"]
    with pytest.raises(FileNotFoundError):
        ending(".log.csv.x.part")
    assert capsys.readouterr().err == ""


def test_names_of_ours_are_those_that_are_given(tmp_path, monkeypatch):
    names = [Chunks(tmp_path, store.fingerprint("any")).folder.name]
    with store.replacing(tmp_path / "resume-000007.pt", with_fingerprint=True) as temporary:
        names.append(temporary.name)
    names += os.listdir(tmp_path)

    def note(*given):
        names.extend(os.listdir(tmp_path / "drawn"))
        raise KeyboardInterrupt

    monkeypatch.setattr(data_set, "_write_tables", note)
    with pytest.raises(KeyboardInterrupt):
        data_set.draw(tmp_path / "drawn/people", people=20, eval_people=10, processes=1)
    assert len(names) == 4
    assert [name for name in names if not OURS.fullmatch(name)] == []


def test_who_removes_a_file_does_not_mind_that_it_is_gone():
    """Else of two processes that remove it the slower one fails."""
    removals = [
        (file, call)
        for file in (ROOT / "pipeline").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("unlink", "remove", "rmdir")
    ]
    assert len(removals) > 4
    for file, call in removals:
        assert [word.arg for word in call.keywords] == ["missing_ok"], f"{file}:{call.lineno}"
