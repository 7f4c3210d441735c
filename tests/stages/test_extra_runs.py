"""Runs that learn from extra sets too."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_runs import contents, finish, interrupted, train_all, train_tiny

from models.errors import UserError
from pipeline.dataset.photos import read_data_set
from pipeline.run.fold_records import WROTE, FinishedFold
from pipeline.run.settings import RunStage
from pipeline.stages.compare import Compare, compare
from pipeline.stages.data import Data, data
from pipeline.stages.prepare import prepare
from pipeline.stages.train import Train, train
from pipeline.training import fold as folds
from pipeline.training import trainer

MASKS = ("with_mask", "incorrect_mask", "without_mask")


@pytest.fixture(scope="session")
def others(shared) -> dict[str, Path]:
    """Twelve other drawn people as UTKFace and as FairFace (bare), and as a folder a mask state (all seven photos)."""
    drawn = shared / "drawn/others"
    data(Data.of(folder=drawn, people=12, eval_people=10, seed=8))
    home = shared / "drawn/extra"
    table = []
    train = read_data_set(drawn).train
    for number, (_, rows) in enumerate(train.groupby("person")):
        copies = []
        for row in rows.itertuples():
            photo, age = drawn / row.photo, int(row.age)
            copies.append((photo, home / "masks" / MASKS[row.mask] / f"{number}-{photo.name}"))
            if row.mask == 2:
                name = f"{age}_{row.gender}_2_{20170100000000000 + number}{photo.suffix}.chip{photo.suffix}"
                copies.append((photo, home / "utk" / name))
                file = f"train/{number}{photo.suffix}"
                copies.append((photo, home / "fair" / file))
                table.append((file, f"{age // 10 * 10}-{age // 10 * 10 + 9}", ("Male", "Female")[row.gender], "Black"))
        for old, new in copies:
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old, new)
    columns = ["file", "age", "gender", "race"]
    pd.DataFrame(table, columns=columns).to_csv(home / "fair/fairface_label_train.csv", index=False)
    return {name: home / name for name in ("utk", "fair", "masks")}


@pytest.fixture
def seen(monkeypatch) -> list:
    """What each training learns from, as its trainer is told."""
    told = []
    real = folds.Trainer

    def tell(one, network, training_data, *more):
        told.append(training_data)
        return real(one, network, training_data, *more)

    monkeypatch.setattr(folds, "Trainer", tell)
    return told


def named(*folders: Path) -> str:
    return ",".join(map(str, folders))


def test_each_network_learns_from_the_photos_with_its_label(people, others, seen, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train_all(Path("plain"), people)
    extra = named(others["utk"], others["masks"])
    train_all(Path("run"), people, extra=extra)
    told = capsys.readouterr().out
    for task, plain, joined, count in zip(("mask", "gender", "age"), seen[:3], seen[3:], (84, 12, 12), strict=True):
        own = len(plain.train)
        np.testing.assert_array_equal(joined.train[:own], plain.train)  # so are their streams of augmentation
        for name in ("validation", "check"):
            np.testing.assert_array_equal(getattr(joined, name), getattr(plain, name))
        np.testing.assert_array_equal(joined.targets[: len(plain.targets)], plain.targets)
        assert len(joined.train) - own == count == joined.is_extra.sum()
        assert f"and {count} extra ones to learn from" in told
        assert np.isfinite(joined.targets[joined.train]).all()
        assert (Path("run") / task / "fold0/weights.safetensors").read_bytes() != (
            Path("plain") / task / "fold0/weights.safetensors"
        ).read_bytes()
    ages = sorted(int(photo.name.split("_")[0]) for photo in others["utk"].iterdir())
    assert sorted(seen[5].targets[seen[5].train[seen[5].is_extra]].tolist()) == ages
    made = finish(Path("run"))
    assert made.submit["photos"] == 70


def test_the_readmes_road(people, others, tmp_path, monkeypatch, capsys):
    """I have UTKFace, masks, and some photos of my own."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (command,) = re.findall(r"^make submit DATA=~/mine (EXTRA=\S+)", readme, re.MULTILINE)
    for name, folder in (("mine", people), ("UTKFace", others["utk"]), ("masks", others["masks"])):
        shutil.copytree(folder, tmp_path / "home" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = subprocess.run(
        ["bash", "-c", f'make -n -C "{Path(__file__).parents[2]}" train-age DATA=~/mine {command} VENV={sys.prefix}'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = [line for line in made.stdout.splitlines() if "pipeline train age" in line]
    extra = re.search(r'--extra "([^"]*)"', line)[1]
    train_all(Path("run"), tmp_path / "home/mine", extra=extra)
    told = capsys.readouterr().out
    assert [int(count) for count in re.findall(r"and (\d+) extra ones", told)] == [84, 12, 12]
    made = finish(Path("run"))
    assert made.submit["photos"] == 70
    assert made.score["macro_f1"] > 0


def test_ages_as_ranges(people, others, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("run"), people, "age", extra=str(others["fair"]))
    (learned,) = seen
    assert learned.targets.shape[1:] == (2,)
    first, last = learned.targets[learned.train[learned.is_extra]].T
    assert (last - first == 9).all()
    own = learned.targets[learned.train[~learned.is_extra]]
    assert (own[:, 0] == own[:, 1]).all()
    kept = pd.read_csv("run/age/fold0/validation.csv")
    assert kept["age_years"].between(0, 100).all()
    for loss in ("l1", "mse"):
        train_tiny(Path(loss), people, "age", extra=str(others["fair"]), age_loss=loss)


def test_rivals_learn_from_photos_with_all_labels_alone(people, others, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"preset": "small", "epochs": 0.2, "backbone": "test_efficientnet", "height": 64, "width": 48, "threads": 1}
    extra = named(others["masks"], people.parent / "others")
    train(Train.of(task="joint", run=Path("run"), data=people, faces="given", extra=extra, **given))
    assert seen[0].is_extra.sum() == 84  # the whole other data set, and nothing of the masks alone


def test_the_weight_of_extra_photos(people, others, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    real = trainer.photo_weights
    monkeypatch.setattr(trainer, "photo_weights", lambda *given: made.append(real(*given)) or made[-1])
    train_tiny(Path("one"), people, "gender", extra=str(others["utk"]), epochs=0.1)
    train_tiny(Path("tenth"), people, "gender", extra=str(others["utk"]), epochs=0.1, extra_weight=0.1)
    one, tenth = made
    extra = seen[0].is_extra
    assert (one == 1).all()
    assert tenth.mean().item() == pytest.approx(1)
    assert tenth[extra].numpy() == pytest.approx(0.1 * tenth[~extra][0].item())


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_training_on_extra_photos_ends_the_same(people, others, tmp_path, monkeypatch, workers):
    monkeypatch.chdir(tmp_path)
    given = {"extra": str(others["masks"]), "workers": workers}
    train_tiny(Path("whole"), people, "mask", **given)
    interrupted(monkeypatch, lambda: train_tiny(Path("run"), people, "mask", checkpoint_steps=2, **given))
    train(Train.of(task="mask", run=Path("run")))
    for name in set(WROTE) - {"settings.json"}:
        assert (Path("run/mask/fold0") / name).read_bytes() == (Path("whole/mask/fold0") / name).read_bytes()


@pytest.fixture
def mine(others, tmp_path) -> Path:
    """The masks, to change."""
    return shutil.copytree(others["masks"], tmp_path / "mine")


def test_extra_photos_may_not_change_under_a_training(people, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("run"), people, "mask", extra="mine", epochs=0.2)
    assert FinishedFold.read(Path("run/mask/fold0")).inputs["extra"]
    train(Train.of(task="mask", run=Path("run")))
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="trained with extra mine, not other"):
        train(Train.of(task="mask", run=Path("run"), extra="other"))
    train(Train.of(task="mask", run=Path("run"), extra=str(mine)))  # the same folder
    train_tiny(Path("run"), people, "gender", epochs=0.2)  # it has nothing to learn from masks
    next((mine / "with_mask").iterdir()).rename(mine / "without_mask/other.png")
    with pytest.raises(UserError, match="the extra sets, or their labels have changed"):
        train(Train.of(task="mask", run=Path("run")))
    train(Train.of(task="gender", run=Path("run")))


def test_what_comes_after_training_needs_no_extra_set(people, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_all(Path("run"), people, extra="mine", epochs=0.2)
    shutil.rmtree(mine)
    finish(Path("run"))
    with pytest.raises(UserError, match=r"The extra set 'mine' cannot be used: there is no such folder"):
        train(Train.of(task="mask", run=Path("run")))


def test_prepare_tells_of_extra_sets(people, mine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (mine / "women").mkdir()
    next((mine / "with_mask").iterdir()).rename(mine / "women/her.png")
    prepare(RunStage.of(run=Path("run"), data=people, preset="small", faces="given", extra="mine"))
    told = capsys.readouterr().out
    assert (
        "the extra set 'mine' (a folder a class): 84 photos, 83 with a mask state, 1 with a gender, 0 with an age"
        in told
    )
    assert "photos of the extra set" not in told
    before = contents(tmp_path / "data")
    train_tiny(Path("run"), people, "mask", height=128, width=96, epochs=0.1)
    assert contents(tmp_path / "data").keys() == before.keys()


def test_bad_extra_photos_are_named(people, mine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (mine / "with_mask/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    given = {"run": Path("run"), "data": people, "preset": "small", "faces": "given", "extra": "mine"}
    with pytest.raises(UserError, match=r"1 train photos of 'mine' cannot be decoded.*\n.*with_mask/broken.jpg"):
        prepare(RunStage.of(**given))
    prepare(RunStage.of(**given, skip_bad_photos=True))
    told = capsys.readouterr().out
    assert "photos of the extra set 'mine' that cannot be decoded, not used (1): 'with_mask/broken.jpg'" in told


def test_extra_photos_of_ones_own_people_are_refused(people, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(next(people.glob("eval/images/*")), mine / "with_mask/me.png")
    for stage in (
        lambda: prepare(RunStage.of(run=Path("run"), data=people, faces="given", preset="small", extra="mine")),
        lambda: train_tiny(Path("run"), people, "mask", extra="mine"),
    ):
        with pytest.raises(UserError, match=r"'mine/with_mask/me.png' = 'eval/images/"):
            stage()
    train_tiny(Path("run"), people, "mask", extra="mine", allow_duplicates=True, epochs=0.1)


def test_a_training_looks_for_itself_whether_extra_photos_are_ones_own(people, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(RunStage.of(run=Path("run"), data=people, faces="given", preset="small", extra="mine"))
    shutil.copyfile(next(people.glob("eval/images/*")), mine / "with_mask/me.png")
    with pytest.raises(UserError, match=r"'mine/with_mask/me.png' = 'eval/images/"):
        train_tiny(Path("run"), people, "mask")


def test_extra_sets_can_be_left_out_again(people, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (mine / "unknown").mkdir()
    next((mine / "with_mask").iterdir()).rename(mine / "unknown/a.png")
    given = {"run": Path("run"), "data": people, "preset": "small", "faces": "given"}
    with pytest.raises(UserError, match="'unknown'"):
        prepare(RunStage.of(**given, extra="mine"))
    prepare(RunStage.of(**given, extra="none"))
    train_tiny(Path("run"), people, "mask", epochs=0.1)


def test_what_only_extra_sets_show_is_told(people, others, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(people, "people")
    for photo in Path("people").glob("train/images/*/normal.*"):
        photo.unlink()
    given = {"run": Path("run"), "data": Path("people"), "preset": "small", "faces": "given"}
    prepare(RunStage.of(**given))
    assert "no train photo carries mask none" in capsys.readouterr().out
    prepare(RunStage.of(**given, extra=str(others["masks"])))
    told = capsys.readouterr().out
    assert "warning: only extra photos carry mask none, so that nobody is held out with it" in told
    assert "no train photo carries mask none" not in told


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("a,,b", "a name is blank"),
        ("a,a", "named twice"),
        ("people", "people is the data set itself"),
        ("nowhere", "nowhere is not there; give folders with commas between them"),
        ("file", "file is a file"),
    ],
)
def test_names_that_are_no_extra_sets(people, tmp_path, monkeypatch, extra, problem):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "people").symlink_to(people)
    with pytest.raises(UserError, match=problem):
        prepare(RunStage.of(run=Path("run"), data=Path("people"), faces="given", preset="small", extra=extra))
    assert not (tmp_path / "run").exists() or extra in ("a,,b", "a,a", "people")


def test_extra_photos_without_a_face_are_left_out_where_faces_frame(people, others, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bare, more = Path("bare"), Path("more")
    shutil.copytree(people, bare)
    for photo in bare.glob("train/images/*/mask[1-5].*"):
        photo.unlink()
    shutil.copytree(others["utk"], more)
    nobody = more / f"30_0_0_20170116184024662{next(more.iterdir()).suffix}"
    Image.linear_gradient("L").save(nobody)
    given = {"faces": "auto", "extra": "more", "epochs": 0.2}
    prepare(RunStage.of(run=Path("run"), data=bare, preset="small", faces="auto", extra="more"))
    told = capsys.readouterr().out
    assert "framed by their eyes" in told
    assert f"photos of the extra set 'more' without a face, not used (1): '{nobody.name}'" in told
    train_tiny(Path("run"), bare, "gender", **given)
    assert "and 12 extra ones" in capsys.readouterr().out


def test_a_comparison_knows_no_extra_sets(people, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="extra photos cost what no budget of a comparison counts"):
        compare(Compare.of(run=Path("run"), data=people, preset="small", extra=str(others["utk"])))
    Compare.of(run=Path("run"), data=people, preset="small", extra="none")  # taken back, it is none


def test_a_start_from_a_run_that_learned_from_ones_people_is_refused(people, others, tmp_path, monkeypatch):
    """Another run's extra sets count as what its networks learned from."""
    monkeypatch.chdir(tmp_path)
    own = people.parent / "others"
    train_tiny(Path("first"), own, "gender", extra=str(people), epochs=0.2)
    with pytest.raises(UserError, match="learned from 84 of the 84 photos that gender fold 0 holds out"):
        train_tiny(Path("second"), people, "gender", weights="first", epochs=0.2)
    shutil.copytree(people, "copied")  # by other names
    for photo in [path for path in Path("copied").glob("train/images/*/[!.]*")]:
        (Path("flat/men") if "_male_" in photo.parent.name else Path("flat/women")).mkdir(parents=True, exist_ok=True)
        kind = "men" if "_male_" in photo.parent.name else "women"
        photo.rename(Path("flat") / kind / f"{photo.parent.name}-{photo.name}")
    train_tiny(Path("third"), own, "gender", extra="flat", epochs=0.2)
    with pytest.raises(UserError, match="learned from 84 of the 84 photos that gender fold 0 holds out"):
        train_tiny(Path("fourth"), people, "gender", weights="third", epochs=0.2)
    next(Path("flat/men").iterdir()).rename("flat/women/him.png")
    with pytest.raises(UserError, match=r"third: nobody can tell .* have changed since"):
        train_tiny(Path("fourth"), people, "gender", weights="third", epochs=0.2)
    shutil.rmtree("flat")
    with pytest.raises(UserError, match=r"third: nobody can tell .*'flat'"):
        train_tiny(Path("fourth"), people, "gender", weights="third", epochs=0.2)


def test_masks_are_drawn_on_the_bare_faces_of_extra_sets(people, others, seen, tmp_path, monkeypatch, capsys):
    """UTKFace does not say that nobody is masked there, but nobody is."""
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("plain"), people, "mask", extra=str(others["utk"]), epochs=0.1)
    train_tiny(Path("run"), people, "mask", extra=str(others["utk"]), drawn_masks=True, epochs=0.1)
    plain, drawn = seen
    assert not plain.is_extra.any()  # their masks are unknown
    assert drawn.is_extra.sum() == 36  # as they are, worn right and wrong
    assert sorted(drawn.targets[drawn.train[drawn.is_extra]].tolist()) == [0.0] * 12 + [1.0] * 12 + [2.0] * 12
    train_tiny(Path("ages"), people, "age", extra=str(others["utk"]), mask_bare=0.5, epochs=0.1)
    assert (seen[2].drawing.probabilities > 0).sum() == 48 + 12
