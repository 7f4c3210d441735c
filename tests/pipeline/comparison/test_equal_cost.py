"""Equal cost: every system's networks together come to the budget, and tuning never sees who validates."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from models.errors import UserError
from pipeline.comparison.equal_cost import Planner
from pipeline.comparison.systems import all_systems
from pipeline.comparison.trainings import Replicate
from pipeline.comparison.tuning import Choice, best_choices, costs_of, factors_of, sizes_of
from pipeline.dataset.folds import fold_table
from pipeline.dataset.run_data import data_of
from pipeline.run.folder import open_run
from pipeline.run.presets import PRESETS, TASKS
from pipeline.run.settings import RunStage
from pipeline.synthetic import data_set


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "people"
    data_set.draw(folder, people=40, eval_people=10, seed=3, processes=1)
    return folder


@pytest.fixture
def planner(people, tmp_path, monkeypatch) -> Planner:
    monkeypatch.chdir(tmp_path)
    run = open_run(RunStage.of(run=Path("runs/one"), data=people, preset="small", faces="given"))
    made = Planner(run, data_of(run), 1, (64, 48))
    monkeypatch.setattr(made, "flops", lambda task, settings: 1e6 * (1 + list(PRESETS["small"]).index(task)))
    return made


FIRST = Replicate(0, 0)


@pytest.mark.parametrize("name", list(all_systems("small")))
def test_every_system_costs_the_budget_and_its_networks_share_it_by_their_need(planner, name):
    system = all_systems("small")[name]
    trainings = planner.trainings(system, Path("runs/one/compare/x"), 9e9, FIRST, {})
    assert sum(t.effort.flops for t in trainings) == pytest.approx(9e9, rel=0.03)
    usual = planner.usual_costs
    for training in trainings:
        share = usual[training.given.task] / sum(usual.values()) if len(trainings) > 1 else 1
        assert training.effort.flops == pytest.approx(9e9 * share, rel=0.05)


def test_at_their_presets_own_cost_specialists_train_as_long_as_their_preset_says(planner):
    specialists = all_systems("small")["specialists"]
    trainings = planner.trainings(specialists, Path("x"), sum(planner.usual_costs.values()), FIRST, {})
    for training in trainings:
        assert training.effort.epochs == pytest.approx(PRESETS["small"][training.given.task].epochs, rel=0.03)


def test_the_usual_cost_is_that_of_the_presets_epochs(planner):
    people = planner.data.train.merge(fold_table(planner.data.train), on="person")
    learning = people[people["fold"] != 0]
    total = 0.0
    for i, task in enumerate(TASKS):
        made = PRESETS["small"][task]
        photos = len(learning)
        if task == "mask":  # of the mask worn right, twice as many as of the rarest
            counts = learning["mask"].value_counts()
            photos = counts.clip(upper=2 * counts.min()).sum()
        total += made.epochs * (photos // made.batch_size) * made.batch_size * 1e6 * (1 + i)
    assert sum(planner.usual_costs.values()) == pytest.approx(total)


def test_people_of_every_band_must_validate(planner):
    planner.check_people()
    rows = planner.data.train
    folds = fold_table(rows).set_index("person")["fold"]
    old = (rows["age"] >= 60) & (rows["person"].map(folds) == 0)
    assert old.any()
    planner.data.train.loc[old, "age"] = 45
    planner._rows.clear()
    with pytest.raises(UserError, match=r"in fold 0, .* is 60 and over; another --split-seed"):
        planner.check_people(range(5))
    planner.check_people([1, 2])


def test_what_a_training_is_given(planner):
    system = all_systems("small")["joint-swin"]
    (made,) = planner.trainings(system, Path("x"), 1e9, Replicate(3, 2), {"joint": Choice(0.5, (64, 48))})
    gender = PRESETS["small"]["gender"]
    assert made.given.training["lr"] == gender.lr / 2
    assert made.given.training["seed"] == 2
    assert made.given.threads == 1
    assert made.given.folds == "3"
    assert (made.given.training["height"], made.given.training["width"]) == (64, 48)
    assert made.given.training["backbone"] == gender.backbone
    assert made.given.training["backbone_options"] == gender.backbone_options
    assert made.given.shared["split_seed"] == 0
    assert made.given.shared["data"] == planner.run.data
    assert "leave_out" not in made.given.shared
    assert made.fold == Path("x/joint/fold3")
    assert not made.finished


def test_tuning_leaves_out_who_validates(planner):
    system = all_systems("small")["specialists"]
    whole = planner.trainings(system, Path("x"), 1e9, FIRST, {})
    trial = planner.trainings(system, Path("x"), 1e9, FIRST, {}, tuning=True)
    for a, b in zip(whole, trial, strict=True):
        assert (b.given.shared["leave_out"], b.given.folds) == (0, "1")
        assert b.fold.name == "fold1"
        assert b.effort.epochs > a.effort.epochs  # as many photos seen, of fewer people
        assert b.effort.flops == pytest.approx(a.effort.flops, rel=0.2)


def test_photos_without_a_needed_label_do_not_count(planner):
    train = planner.data.train
    train.loc[train.index[:70], "age"] = float("nan")
    age, gender = (planner.photos(task, PRESETS["small"][task]) for task in ("age", "gender"))
    joint = planner.photos("joint", PRESETS["small"]["joint"])
    assert joint == age < gender
    train["age"] = float("nan")
    with pytest.raises(UserError, match="no train photo"):
        Planner(planner.run, planner.data, 1, (64, 48)).photos("age", PRESETS["small"]["age"])


def test_factors_are_sorted_by_their_distance_from_one():
    assert factors_of("0.5,2, 1,1") == [1, 0.5, 2]
    for wrong in ("", "x", "0", "-1,1", "nan", "inf"):
        with pytest.raises(UserError, match="--tune"):
            factors_of(wrong)


def test_sizes_and_costs_are_read_and_sorted():
    assert sizes_of("160x120,96x72,160x120") == [(96, 72), (160, 120)]
    assert sizes_of(None, "lite") == [(128, 96), (160, 120)]
    for wrong in ("", "96", "96x", "axb", "96x72x3"):
        with pytest.raises(UserError, match="--sizes"):
            sizes_of(wrong)
    for wrong in ("4x64", "0x10"):
        with pytest.raises(UserError, match="--height"):
            sizes_of(wrong)
    with pytest.raises(UserError, match="--width 5000"):
        sizes_of("64x5000")
    assert costs_of("2,0.5, 2") == [0.5, 2]
    for wrong in ("", "x", "0", "nan", "1,inf"):
        with pytest.raises(UserError, match="--cost"):
            costs_of(wrong)


def test_replicates_are_folds_with_seeds_of_their_own_or_seeds_of_one_fold():
    assert Replicate.several("folds", 3) == [Replicate(0, 0), Replicate(1, 1), Replicate(2, 2)]
    assert Replicate.several("seeds", 2) == [Replicate(0, 0), Replicate(0, 1)]


def test_each_network_gets_its_own_best_choice_and_ties_go_to_the_first():
    def trial(choice: Choice, mask: float, age: float) -> tuple:
        made = [
            SimpleNamespace(given=SimpleNamespace(task=t), metrics={"macro_f1": f})
            for t, f in (("mask", mask), ("age", age))
        ]
        return {"mask": choice, "age": choice}, made

    trials = [trial(Choice(1), 0.5, 0.5), trial(Choice(0.5), 0.5, 0.4), trial(Choice(1, (9, 9)), 0.4, 0.6)]
    assert best_choices(trials) == {"mask": Choice(1), "age": Choice(1, (9, 9))}
