"""A start from a run of one's own: its networks, unless they have learned from people held out here."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import SIZE, TINY, train_tiny

from models.errors import UserError
from pipeline.runtime import store
from pipeline.stages.data import Data, data
from pipeline.stages.train import Train, train
from pipeline.training.trainer import Trainer

NOTHING = {"lr": 1e-12, "epochs": 0.1, "weight_decay": 0.0}
"""So short and slow that the weights at the end are those of the beginning."""


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Other people than those of `done`, which tests must not change."""
    folder = tmp_path_factory.mktemp("strangers") / "others"
    data(Data.of(folder=folder, people=20, eval_people=10, seed=11))
    return folder


@pytest.fixture
def others(strangers, tmp_path):
    """The same to change at will."""
    return shutil.copytree(strangers, tmp_path / "others")


@pytest.fixture
def own(done, tmp_path, monkeypatch):
    """The folder of a finished run, and the test in a place of its own."""
    monkeypatch.chdir(tmp_path)
    return done.run


@pytest.mark.parametrize("task", TINY)
def test_a_fold_starts_at_the_network_of_the_run(own, others, task, capsys):
    train_tiny(Path("runs/two"), others, task, weights=str(own), **NOTHING)
    assert f"from {own}/{task}/fold0" in capsys.readouterr().out
    theirs, ours = (load_file(run / task / "fold0/weights.safetensors") for run in (own, Path("runs/two")))
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-6)
    assert store.read_json(Path(f"runs/two/{task}/fold0/settings.json"))["weights"] == f"{own}/{task}/fold0"


def test_the_same_people_on_the_same_folds_are_apart(own, people):
    metrics = train_tiny(Path("runs/two"), people, "mask", weights=str(own), **NOTHING)
    assert metrics["fold0"]["macro_f1"] > 0


def test_another_fold_of_the_same_people_would_know_them(own, people):
    with pytest.raises(UserError) as refused:
        train_tiny(Path("runs/two"), people, "mask", weights=str(own), folds="1", **NOTHING)
    sentence = str(refused.value)
    assert f"--weights {own}: its network mask fold 0 learned from 84 of the 84 photos that mask fold 1" in sentence
    assert "train fold 1 of that run on the same folds of people" in sentence
    assert not Path("runs/two/mask/fold1/settings.json").exists()


def test_nor_do_other_folds_of_people_hide_them(own, people):
    with pytest.raises(UserError, match=r"learned from \d+ of the 84 photos"):
        train_tiny(Path("runs/two"), people, "mask", weights=str(own), split_seed=5, **NOTHING)


def test_a_copy_of_the_photos_is_known_again(own, people, tmp_path):
    shutil.copytree(people, tmp_path / "copied")
    with pytest.raises(UserError, match=r"learned from 84 of the 84 photos"):
        train_tiny(Path("runs/two"), tmp_path / "copied", "mask", weights=str(own), folds="1", **NOTHING)


def test_one_person_in_common_is_enough(own, people, others):
    table = pd.read_csv(people / "train/train.csv")
    rows = pd.read_csv(others / "train/train.csv")
    table = table[~table["path"].isin(rows["path"])]
    for path in table["path"]:  # all: whichever are held out here, the run has learned from most
        shutil.copytree(people / "train/images" / path, others / "train/images" / path)
    pd.concat([rows, table]).to_csv(others / "train/train.csv", index=False)
    with pytest.raises(UserError, match=r"learned from \d+ of the \d+ photos that mask fold 0 holds out"):
        train_tiny(Path("runs/two"), others, "mask", weights=str(own), **NOTHING)


def test_where_nobody_can_tell_it_is_refused(copy, others):
    shutil.move(copy.data, "elsewhere")
    with pytest.raises(UserError, match=r"nobody can tell whether it learned from people held out here, as its photos"):
        train_tiny(Path("runs/two"), others, "mask", weights=str(copy.run), **NOTHING)


def test_where_photos_were_added_since_nobody_can_tell(copy, others):
    table = copy.data / "train/train.csv"
    (first, *_) = pd.read_csv(others / "train/train.csv")["path"]
    shutil.copytree(others / "train/images" / first, copy.data / "train/images/another_male_Drawn_30")
    with table.open("a") as file:
        file.write("another,male,Drawn,30,another_male_Drawn_30\n")
    with pytest.raises(UserError, match=r"nobody can tell .*, as its photos \('people'\) have changed since; bring"):
        train_tiny(Path("runs/two"), copy.data, "mask", weights=str(copy.run), **NOTHING)


def test_what_it_had_started_from_has_learned_too(own, people, others):
    train_tiny(Path("runs/two"), others, "mask", weights=str(own), **NOTHING)
    train_tiny(Path("runs/three"), people, "mask", weights="runs/two", **NOTHING)
    with pytest.raises(UserError, match=r"--weights runs/two: its network mask fold 0 learned from 84 of the 84"):
        train_tiny(Path("runs/four"), people, "mask", weights="runs/two", folds="1", **NOTHING)


def test_another_photo_of_the_same_name_and_size_is_another(own, people, tmp_path):
    namesakes = tmp_path / "namesakes"
    shutil.copytree(people, namesakes)
    for photo in (namesakes / "train/images").rglob("[!.]*.*"):
        content = bytearray(photo.read_bytes())
        content[-3] ^= 1
        photo.write_bytes(content)
    train_tiny(Path("runs/two"), namesakes, "mask", weights=str(own), folds="1", **NOTHING)


def test_a_shape_that_follows_from_the_size_of_photos_is_told(own, others):
    with pytest.raises(UserError) as refused:
        train_tiny(Path("runs/two"), others, "gender", weights=str(own), **(NOTHING | {"height": 128, "width": 96}))
    told = f"{own}/gender/fold0 holds a network of another shape, for photos of 64x48, and this one is for 128x96; give"
    assert told in str(refused.value)
    assert "--height 64 --width 48" in str(refused.value)


def test_an_interrupted_training_keeps_the_fold_that_it_started_from(copy, others, monkeypatch, capsys):
    def stops(self):
        raise KeyboardInterrupt

    runs = Trainer.run
    monkeypatch.setattr(Trainer, "run", stops)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(Path("runs/two"), others, "mask", weights=str(copy.run), folds="1", **NOTHING)
    monkeypatch.setattr(Trainer, "run", runs)
    train_tiny(copy.run, copy.data, "mask", folds="1")  # where a new fold 1 would start
    capsys.readouterr()
    train_tiny(Path("runs/two"), others, "mask", folds="1", **NOTHING)
    assert f"from {copy.run}/mask/fold0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"backbone": "test_convnext"}, "has --backbone test_efficientnet, and this one test_convnext; give PRESET="),
        ({"backbone_options": {"act_layer": "silu"}}, "has --backbone-options {}, and this one"),
    ],
)
def test_a_network_of_another_kind_is_refused(own, others, given, told):
    with pytest.raises(UserError) as refused:
        train_tiny(Path("runs/two"), others, "mask", weights=str(own), **(NOTHING | given))
    assert told in str(refused.value)


def test_another_head_is_refused(own, others):
    with pytest.raises(UserError, match="has --age-loss distribution, and this one l1"):
        train_tiny(Path("runs/two"), others, "age", weights=str(own), age_loss="l1", **NOTHING)


def test_a_run_without_such_a_network(own, others):
    given = SIZE | NOTHING | {"task": "joint", "backbone": "test_convnext", "weights": str(own), "faces": "given"}
    with pytest.raises(UserError, match=r"has no finished network joint to start from; train it first \(make train-jo"):
        train(Train.of(run=Path("runs/two"), data=others, **given))


def test_a_damaged_network_is_named(copy, others):
    file = copy.run / "mask/fold0/weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"mask/fold0/weights\.safetensors is cut short"):
        train_tiny(Path("runs/two"), others, "mask", weights=str(copy.run), **NOTHING)
