"""How the places of photos given as EVAL are called, and which sources of one name are told apart."""

import shutil
from pathlib import Path

import pytest

from pipeline.run.eval_place import fixed_folder, is_pattern, names_of
from pipeline.run.folder import EVAL_FOLDER, open_run
from pipeline.run.settings import EvalStage, RunStage
from pipeline.runtime import store


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "odd[1]").mkdir()
    monkeypatch.chdir(tmp_path / "odd[1]")


@pytest.mark.parametrize(
    ("pattern", "folder", "name"),
    [
        ("shards/*.tar", "shards", "shards"),
        ("a/b-[12]/?.tar", "a", "a"),
        ("*.tar", ".", "odd[1]"),
        ("/data/x/**/*.tar", "/data/x", "x"),
        ("../in/**/y.tar", "../in", "in"),
        ("../odd[1]/*.tar", "../odd[1]", "odd[1]"),
        ("../odd[1]/[2]/*.tar", "../odd[1]", "odd[1]"),
        ("/*.tar", "/", "data"),
    ],
)
def test_a_pattern_is_called_by_the_folder_of_its_tars(pattern, folder, name):
    assert is_pattern(Path(pattern))
    assert fixed_folder(Path(pattern)) == Path(folder)
    assert names_of(Path(pattern)) == [name]


def test_a_file_or_a_folder_whose_name_has_signs_is_no_pattern():
    Path("[a].tar").touch()
    Path("b*").mkdir()
    assert not is_pattern(Path("[a].tar"))
    assert names_of(Path("[a].tar")) == ["[a]"]
    assert names_of(Path("b*")) == ["b*"]


def test_sources_of_one_name_keep_their_places_when_they_are_gone():
    run = open_run(RunStage.of(run=Path("run")))
    given = [Path("x"), Path("x.txt"), Path("in/x.tar"), Path("x/*.tar")]
    Path("x").mkdir()
    Path("in").mkdir()
    for one in given[1:3]:
        one.touch()

    def place(one: Path) -> Path:
        return run.place(EvalStage.of(run=Path("run"), eval=one))

    places = []
    for one in given:
        places.append(place(one))
        store.write_json(places[-1] / EVAL_FOLDER, {"folder": str(one.resolve())})
    assert len(set(places)) == 4
    assert places[0] == Path("run/eval-x")
    assert all(path.name.startswith("eval-x-") for path in places[1:])
    shutil.rmtree("x")
    for one in given[1:3]:
        one.unlink()
    assert [place(one) for one in given] == places
