"""Runs that are split by photo or into more folds, and recipes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import SIZE, TINY, finish, inside, train_all, train_tiny

from models.errors import UserError
from pipeline.prediction.run_predictions import gather, networks_of
from pipeline.run import presets, setting_rules
from pipeline.run.folder import open_run
from pipeline.run.given import Given
from pipeline.run.recipes import RECIPES
from pipeline.run.settings import RunStage
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime.store import read_json
from pipeline.stages.prepare import prepare
from pipeline.stages.train import Train, parse_folds, train
from pipeline.training import fold as fold_module

RUN = Path("runs/leaky")


@pytest.fixture(scope="module")
def leaky(people, tmp_path_factory):
    """A finished run that is split by photo, and what its stages printed."""
    import contextlib
    import io

    home, printed = tmp_path_factory.mktemp("leaky"), io.StringIO()
    with inside(home), contextlib.redirect_stdout(printed):
        train_all(RUN, people, split="photo", folds="0,1")
        metrics = finish(RUN)
    return home, printed.getvalue(), metrics


def test_a_split_by_photo_is_warned_of_once(leaky):
    _, printed, _ = leaky
    warned = [line for line in printed.splitlines() if "split by photo: the same faces stand on both sides" in line]
    assert [line.split(":")[0] for line in warned] == ["train mask", "note"]
    assert all(line.endswith("are leaky; split by person to know the score to expect") for line in warned)


def test_leaky_stands_wherever_the_validation_score_does(leaky):
    home, printed, metrics = leaky
    lines = printed.splitlines()
    epochs = [line for line in lines if ": epoch " in line]
    assert len(epochs) == 6
    assert all("(leaky)" in line.split("macro-F1")[1] for line in epochs)
    for task in ("mask", "gender", "age"):
        for fold in (0, 1):
            folder = home / RUN / task / f"fold{fold}"
            assert read_json(folder / "done/train.json")["metrics"]["leaky"] is True
            assert pd.read_csv(folder / "log.csv")["leaky"].all()
    (heading,) = [line for line in lines if "macro-F1 of validation" in line]
    assert heading.endswith("(leaky)")
    assert metrics.calibrate["caveats"] == ["leaky"]
    assert any("the same faces stand on both sides" in note for note in metrics.calibrate["notes"])
    assert "on these 70 eval photos" in metrics.submit["expected"]
    assert metrics.submit["expected"].endswith("(leaky)")
    assert metrics.score["expected"]["caveats"] == ["leaky"]
    assert any(line.startswith("before the truth was opened") and "(leaky)" in line for line in lines)
    assert "leaky" not in "".join(line for line in lines if line.startswith("macro-F1 0"))  # eval's own is honest


def test_the_same_people_stand_on_both_sides_and_every_photo_on_one(leaky, people):
    home, _, metrics = leaky
    with inside(home):
        table = gather(networks_of(open_run(RunStage.of(run=RUN)), "specialists"))
    assert table["photo"].is_unique
    assert len(table) == pytest.approx(2 / 5 * 60 * 7, abs=2)
    assert table.groupby("person")["fold"].nunique().max() == 2
    assert table["person"].nunique() > 55  # of 60; by person it would be 24
    assert metrics.calibrate["photos_per_person"] == 7.0
    assert metrics.calibrate["people"] == table["person"].nunique()


def test_a_finished_leaky_fold_is_told_with_its_mark(leaky, people, capsys):
    home, _, _ = leaky
    with inside(home):
        train_tiny(RUN, people, "mask", split="photo")
    printed = capsys.readouterr().out
    assert "is finished" in printed
    assert "(leaky)" in printed
    assert "same faces" not in printed


def test_a_run_by_person_has_no_mark(done):
    for task in ("mask", "gender", "age"):
        assert "leaky" not in (done.run / task / "fold0/log.csv").read_text()
        assert "leaky" not in (done.run / task / "fold0/done/train.json").read_text()
    assert done.metrics.calibrate["caveats"] == []
    assert "leaky" not in (done.run / "combiner.json").read_text()


def test_the_gap_of_a_leaky_run_is_measured_on_as_many_photos():
    rows = pd.DataFrame(
        {"person": np.repeat([f"{i:02}" for i in range(40)], 7), "photo": [f"{i:03}" for i in range(280)]}
    )
    held_out = np.arange(280) % 5 == 0
    checked = fold_module.checked_rows(rows, held_out, "photo")
    assert checked.sum() == 28
    assert not (checked & held_out).any()
    assert rows["person"][checked].nunique() > 20


@pytest.mark.parametrize(
    ("text", "folds", "numbers"), [("all", 20, range(20)), ("19,0", 20, [0, 19]), ("all", 5, range(5))]
)
def test_folds_are_those_of_the_run(text, folds, numbers):
    assert parse_folds(text, folds) == list(numbers)


@pytest.mark.parametrize(("text", "folds"), [("5", 5), ("0,20", 20), ("x", 10), ("", 10), ("-1", 10)])
def test_folds_a_run_has_not(text, folds):
    with pytest.raises(UserError, match=rf"^FOLDS={text}: say all, or numbers from 0 to {folds - 1} "):
        parse_folds(text, folds)


def test_a_tenth_of_the_people_may_be_held_out(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("runs/ten"), people, "mask", held_out=0.1, folds="9")
    table = pd.read_csv("runs/ten/mask/fold9/validation.csv")
    assert table["person"].nunique() == 6
    assert set(table["fold"]) == {9}
    with pytest.raises(UserError, match="FOLDS=10: say all, or numbers from 0 to 9"):
        train_tiny(Path("runs/ten"), people, "mask", folds="10")
    with pytest.raises(UserError, match=r"trained with held-out 0\.1, not 0\.2"):
        train_tiny(Path("runs/ten"), people, "mask", held_out=0.2)


# ------------------------------------------------------------------------------------------------- recipes


def test_a_recipes_settings_stand_between_the_presets_and_the_given(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = open_run(RunStage.of(run=Path("runs/x"), recipe="note-xception", data=people))
    base = presets.PRESETS["base"]["joint"]
    told = RECIPES["note-xception"].settings["joint"]
    made = setting_rules.resolved(run, "joint", Given(TrainingSettings, dropout=0.7))
    assert made == base | told | {"dropout": 0.7}
    assert (made.optimizer, made.lr, made.weight_decay, made.height) == ("adam", 1e-3, 0.0, base.height)
    small = open_run(RunStage.of(run=Path("runs/y"), recipe="note-swin", preset="small", data=people))
    made = setting_rules.resolved(small, "joint", Given(TrainingSettings))
    assert (made.backbone_options, made.height) == ({}, presets.PRESETS["small"]["joint"].height)


def test_a_task_the_recipe_has_not_is_refused(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as told:
        train(Train.of(task="age", data=people, recipe="note-swin"))
    assert str(told.value) == (
        "the recipe note-swin has no network age; it trains joint (make train-joint RECIPE=note-swin)."
    )
    assert read_json(Path("runs/people-note-swin/run.json"))["recipe"] == "note-swin"


def test_the_specialists_of_the_notes_train_like_any(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = SIZE | TINY["mask"] | {"weights": "none"}
    metrics = train(
        Train.of(task="mask", run=Path("runs/x"), data=people, faces="given", recipe="note-specialists", **given)
    )
    assert set(metrics) == {"fold0"}
    made = read_json(Path("runs/x/mask/fold0/settings.json"))
    assert made["settings"]["lr"] == presets.PRESETS["base"]["mask"].lr
    assert made["weights"] == "none"


def test_prepare_decodes_at_the_sizes_of_the_recipe(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = []
    monkeypatch.setattr(
        "pipeline.stages.prepare.prepared_all",
        lambda run, data, views, framing: sizes.extend(view.size for view in views) or {},
    )
    prepare(RunStage.of(run=Path("runs/x"), data=people, faces="given", recipe="note-efficientnet-b0"))
    assert sizes == [(512, 384)]
    sizes.clear()
    prepare(RunStage.of(run=Path("runs/y"), data=people, faces="given", preset="small"))
    assert sizes == [(96, 72), (128, 96)]


def test_the_recipes_are_listed_with_what_the_notes_saw(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pipeline.stages.recipes import Recipes, recipes

    told = recipes(Recipes())
    printed = capsys.readouterr().out
    assert list(told) == list(RECIPES)
    for name, recipe in RECIPES.items():
        (line,) = [line for line in printed.splitlines() if line.split()[0] == name]
        assert line.split()[1] == recipe.system == told[name]["system"]
        assert recipe.saw in line
        assert told[name]["settings"] == recipe.settings
    assert "--split=photo" in printed
    assert "--age-weight=1.2" in printed
    assert max(map(len, printed.splitlines())) <= 120
    assert not Path("runs").is_dir()
