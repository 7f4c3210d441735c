"""No file runs code: pickles planted wherever a stage reads do nothing, and the stage says what is wrong."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.combiner import combiners
from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth
from pipeline.images.framing import View
from pipeline.images.prepared import PREPARED
from pipeline.images.run_photos import prepared
from pipeline.prediction import ensemble
from pipeline.run.fold_records import BegunFold, FinishedFold
from pipeline.run.folder import open_run
from pipeline.runtime import store
from pipeline.training import checkpoints


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def as_pickle(bomb: Bomb) -> bytes:
    return pickle.dumps(bomb)


def as_torch(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    torch.save({"step": bomb}, file)
    return file.getvalue()


def as_numpy(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([bomb], object), allow_pickle=True)
    return file.getvalue()


FORMS = (as_pickle, as_torch, as_numpy)


@pytest.fixture
def bomb(tmp_path):
    bomb = Bomb(tmp_path / "ran")
    yield bomb
    assert not Path(bomb.marker).exists(), "code from a file ran"


@pytest.mark.parametrize(
    ("form", "careless"),
    [
        (as_pickle, pickle.loads),
        (as_torch, lambda content: torch.load(io.BytesIO(content), weights_only=False)),
        (as_numpy, lambda content: np.load(io.BytesIO(content), allow_pickle=True)),
    ],
)
def test_these_pickles_run_where_they_are_read_carelessly(tmp_path, form, careless):
    careless(form(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


def plant(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


STAGES = [
    ("people/train/train.csv", ["prepare"]),
    ("people/eval/info.csv", ["predict"]),
    ("people/boxes.csv", ["submit"]),
    ("people/key.csv", ["score"]),
    ("people/train/images/{person}/normal.jpg", ["prepare"]),
    ("fixes.csv", ["prepare", "--run", "runs/two", "--data", "people", "--fixes", "fixes.csv"]),
    ("runs/one/run.json", ["predict"]),
    ("runs/one/age/fold0/settings.json", ["train", "age"]),
    ("runs/one/age/fold0/settings.json", ["predict"]),
    ("runs/one/age/fold0/weights.safetensors", ["train", "age"]),
    ("runs/one/age/fold0/weights.safetensors", ["predict"]),
    ("runs/one/age/fold0/validation.csv", ["calibrate", "--prior", "train"]),
    ("runs/one/age/fold0/done/train.json", ["train", "age"]),
    ("runs/one/age/fold0/done/train.json", ["predict"]),
    ("runs/one/done/predict.json", ["predict"]),
    ("runs/one/predictions.csv", ["calibrate", "--prior", "train"]),
    ("runs/one/predictions.csv", ["score"]),
    ("runs/one/done/calibrate.json", ["calibrate"]),
    ("runs/one/combiner.json", ["submit"]),
    ("runs/one/combiner.json", ["score"]),
    ("runs/one/done/submit.json", ["submit"]),
    ("runs/one/submission.csv", ["score"]),
]


def normal_photo(folder: str) -> str:
    person = sorted(path.name for path in Path("people/train/images").iterdir() if path.is_dir())[0]
    return folder.format(person=person)


@pytest.mark.parametrize(("place", "command"), STAGES, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_stage_refuses_it_in_one_sentence(copy, bomb, capsys, place, command):
    path = Path(normal_photo(place))
    if path.name == "normal.jpg":
        for other in path.parent.glob("normal.*"):
            other.unlink()
    for form in FORMS:
        plant(path, form(bomb))
        capsys.readouterr()
        run = [] if "--run" in command else ["--run", "runs/one"]
        assert main([*command, *run]) == 2
        assert capsys.readouterr().err.startswith("face18: ")


@pytest.mark.parametrize("form", FORMS)
def test_what_reads_a_file_refuses_it_by_itself(copy, bomb, form):
    """Whatever a fingerprint would have told before."""

    def refused(path: Path, read, *arguments) -> None:
        whole = path.read_bytes() if path.is_file() else None
        plant(path, form(bomb))
        with pytest.raises(UserError):
            read(*arguments)
        if whole is not None:
            path.write_bytes(whole)

    fold = copy.run / "age/fold0"
    refused(copy.data / "train/train.csv", read_data_set, copy.data)
    refused(copy.data / "key.csv", read_truth, copy.data)
    refused(copy.run / "run.json", open_run, copy.settings)
    refused(copy.run / "predictions.csv", store.read_csv, copy.run / "predictions.csv")
    refused(copy.run / "combiner.json", combiners.load, copy.run / "combiner.json")
    refused(fold / "weights.safetensors", ensemble.load, BegunFold.read(fold), "cpu", 1)
    refused(fold / "settings.json", BegunFold.read, fold)
    refused(fold / "done/train.json", FinishedFold.read, fold)


def test_an_eval_photo_gets_the_commonest_label(copy, bomb):
    names = [line.split(",")[0] for line in (copy.data / "eval/info.csv").read_text().splitlines()[1:]]
    for name, form in zip(names, FORMS, strict=False):
        plant(copy.data / "eval/images" / name, form(bomb))
    assert main(["predict", "--run", "runs/one"]) == 0
    bad = store.read_csv(copy.run / "bad_photos.csv")
    assert list(bad["photo"]) == [f"eval/images/{name}" for name in names[: len(FORMS)]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("file", ["pixels.npy", "bad.json"])
def test_prepared_photos_are_prepared_anew(copy, bomb, capsys, file, form):
    (folder,) = PREPARED.glob("people-64x48-*")
    plant(folder / file, form(bomb))
    run = open_run(copy.settings)
    data = read_data_set(run.data)
    assert prepared(run, data, View(64, 48), None).pixels.any()
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [False, True])
def test_a_checkpoint_is_refused_even_with_the_mark_of_a_whole_one(tmp_path, bomb, form, named):
    with store.replacing(tmp_path / "age/resume-000001.pt", with_fingerprint=named) as path:
        path.write_bytes(form(bomb))
    with pytest.raises(UserError, match="--restart"):
        checkpoints.load(checkpoints.newest(tmp_path / "age", print))


def test_weights_to_start_from_are_safetensors_alone(copy, bomb, capsys):
    for form in FORMS:
        plant(Path("weights/test_convnext.safetensors"), form(bomb))
        command = ["train", "age", "--run", "runs/two", "--data", "people", "--weights", "weights", "--faces", "given"]
        assert main([*command, "--backbone", "test_convnext", "--height", "64", "--width", "48"]) == 2
        assert "weights/test_convnext.safetensors" in capsys.readouterr().err
