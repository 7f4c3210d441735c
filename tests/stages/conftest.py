"""Whole runs with tiny networks on a few drawn people, made once for all tests."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_runs import finish, inside, name_people, train_all

from pipeline.dataset.run_data import data_of
from pipeline.images.run_faces import run_faces
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.runtime import store
from pipeline.stages.data import Data, data


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """Where workers side by side find what one of them has made: drawing and running again changes nothing."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def people(shared) -> Path:
    """A drawn data set that tests must not change."""
    folder = shared / "drawn/people"
    data(Data.of(folder=folder, people=60, eval_people=10, seed=3))
    return folder


@pytest.fixture(scope="session")
def found(people, shared) -> Path:
    """The faces in their train photos, looked for once: a data/prepared to copy, for copies of these people too."""
    home = shared / "found"
    home.mkdir(exist_ok=True)
    with store.locked(shared / "found.lock", "faces for all tests", wait=True), inside(home):
        run = open_run(RunStage.of(run=Path("run"), data=people, preset="small", faces="auto"))
        run_faces(run, data_of(run))
    return home / "data/prepared"


@pytest.fixture(scope="session")
def done(people, shared):
    """A finished run that tests must not change: folder, data and figures."""
    home = shared / "home"
    home.mkdir(exist_ok=True)
    with store.locked(shared / "home.lock", "a run for all tests", wait=True), inside(home):
        train_all(Path("runs/one"), people)
        metrics = finish(Path("runs/one"))
    return SimpleNamespace(home=home, run=home / "runs/one", data=people, metrics=metrics)


@pytest.fixture(scope="session")
def known_people(people, shared):
    """A finished run whose eval photos name their persons, but for every ninth, and a day; tests must not change it."""
    home = shared / "known"
    home.mkdir(exist_ok=True)
    with store.locked(shared / "known.lock", "a run of known people", wait=True), inside(home):
        if not Path("named/photos.csv").is_file():
            name_people(people, Path("named"))
        train_all(Path("run"), Path("named"))
        finish(Path("run"), system="specialists")  # there is no truth to score
    return home


@pytest.fixture
def named(known_people, tmp_path, monkeypatch):
    """Such a run to change at will; the test works in its home."""
    shutil.copytree(known_people, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(run=Path("run"), data=Path("named"))


@pytest.fixture
def copy(done, tmp_path, monkeypatch):
    """A finished run and its data to change at will; the test works beside them."""
    shutil.copytree(done.home, tmp_path, dirs_exist_ok=True)
    shutil.copytree(done.data, tmp_path / "people")
    record = tmp_path / "runs/one/run.json"
    store.write_json(record, store.read_json(record) | {"data": "people"})
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(run=Path("runs/one"), data=Path("people"), settings=RunStage.of(run=Path("runs/one")))
