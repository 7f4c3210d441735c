"""A run remembers its settings, refuses to change them once begun, and knows what is finished."""

from pathlib import Path

import pytest

from models.errors import UserError
from pipeline.run import fold_records, records
from pipeline.run.fold_records import WROTE, BegunFold
from pipeline.run.folder import SCHEMA, open_run
from pipeline.run.presets import PRESETS
from pipeline.run.settings import EvalStage, RunStage
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.runtime.machine import Plan

DEFAULTS = {
    "data": "data/drawn",
    "recipe": None,
    "preset": "small",
    "weights": "none",
    "fixes": None,
    "crop": 1.0,
    "split": "person",
    "held_out": 0.2,
    "split_seed": 0,
    "skip_bad_photos": False,
    "allow_duplicates": False,
    "follow_links": False,
    "leave_out": None,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def begin(folder, task="mask"):
    store.write_json(folder / task / "fold0" / "settings.json", {})


def recorded(folder):
    settings = store.read_json(folder / "run.json")
    assert settings.pop("schema") == SCHEMA
    return settings


def test_defaults(run):
    made = open_run(RunStage.of(run=run))
    assert recorded(run) == DEFAULTS
    assert (made.folder, made.data, made.preset, made.weights) == (run, Path("data/drawn"), "small", "none")
    assert (made.fixes, made.crop, made.split_seed, made.skip_bad_photos) == (None, 1.0, 0, False)
    assert (made.split, made.held_out, made.folds, made.recipe) == ("person", 0.2, 5, None)


@pytest.mark.parametrize(("preset", "weights"), [("small", "none"), ("base", "hub"), ("large", "hub")])
def test_weights_by_preset(run, preset, weights):
    assert open_run(RunStage.of(run=run, preset=preset)).weights == weights


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({}, "runs/drawn-small"),
        ({"preset": "base"}, "runs/drawn-base"),
        ({"data": Path("photos/mine/")}, "runs/mine-small"),
        ({"data": Path("."), "preset": "large"}, None),
        ({"recipe": "note-swin"}, "runs/drawn-note-swin"),
        ({"data": Path("mine"), "recipe": "note-swin", "preset": "small"}, "runs/mine-note-swin"),
    ],
)
def test_default_folders(given, folder, tmp_path):
    if "data" in given:
        given["data"].mkdir(parents=True, exist_ok=True)
    assert open_run(RunStage.of(**given)).folder == Path(folder or f"runs/{tmp_path.name}-large")


def test_recorded_settings_hold_when_not_given(run, tmp_path):
    given = {
        "data": tmp_path,
        "preset": "base",
        "weights": "none",
        "fixes": "contest",
        "crop": 0.8,
        "split": "photo",
        "held_out": 0.05,
        "split_seed": 3,
        "skip_bad_photos": True,
        "allow_duplicates": True,
        "follow_links": True,
        "leave_out": 1,
        "recipe": "note-xception",
    }
    first = open_run(RunStage.of(run=run, **given))
    assert recorded(run) == given | {"data": str(tmp_path)}
    begin(run)
    stamp = (run / "run.json").stat().st_mtime_ns
    assert open_run(RunStage.of(run=run)) == first == open_run(RunStage.of(run=run, **given))
    assert (run / "run.json").stat().st_mtime_ns == stamp


CHANGES = {
    "data": Path("other"),
    "preset": "base",
    "weights": "hub",
    "fixes": "contest",
    "crop": 0.9,
    "split": "photo",
    "held_out": 0.1,
    "split_seed": 1,
    "skip_bad_photos": True,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_once_a_specialist_has_begun(run, name):
    open_run(RunStage.of(run=run))
    begin(run)
    shown = name.replace("_", "-")
    with pytest.raises(UserError, match=rf"was trained with {shown} .*RUN=folder"):
        open_run(RunStage.of(run=run, **{name: CHANGES[name]}))
    assert recorded(run) == DEFAULTS


def test_a_change_is_refused_once_a_comparison_has_begun(run):
    open_run(RunStage.of(run=run))
    store.write_json(run / "compare" / "settings.json", {})
    with pytest.raises(UserError, match=r"was trained with crop 1.0, not 0.9; .*RUN=folder"):
        open_run(RunStage.of(run=run, crop=0.9))
    assert recorded(run) == DEFAULTS


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_allowed_before(run, name):
    open_run(RunStage.of(run=run))
    made = open_run(RunStage.of(run=run, **{name: CHANGES[name]}))
    assert getattr(made, name) == CHANGES[name]
    assert recorded(run)[name] == (str(CHANGES[name]) if name == "data" else CHANGES[name])


@pytest.mark.parametrize("name", ["follow_links", "allow_duplicates"])
def test_what_may_be_read_can_be_allowed_from_any_time_on(run, name):
    """It concerns which photos are read, not what was learned; what they hold is compared by itself."""
    open_run(RunStage.of(run=run))
    begin(run)
    assert getattr(open_run(RunStage.of(run=run, **{name: True})), name)
    assert getattr(open_run(RunStage.of(run=run)), name)


def test_a_given_0_is_given(run):
    open_run(RunStage.of(run=run, split_seed=3))
    assert open_run(RunStage.of(run=run, split_seed=0)).split_seed == 0
    open_run(RunStage.of(run=run, split_seed=3))
    begin(run)
    with pytest.raises(UserError, match="split-seed 3, not 0"):
        open_run(RunStage.of(run=run, split_seed=0))


def test_the_same_data_by_another_path_is_no_change(run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    open_run(RunStage.of(run=run, data=Path("photos")))
    begin(run)
    for same in (tmp_path / "photos", Path("./photos/"), Path("link")):
        assert open_run(RunStage.of(run=run, data=same)).data == Path("photos")
    assert recorded(run)["data"] == "photos"


@pytest.mark.parametrize("crop", [0.0, 0.09, 1.01, -1.0, float("nan")])
def test_an_impossible_crop(run, crop):
    with pytest.raises(UserError, match=r"--crop .* from 0.1 to 1"):
        open_run(RunStage.of(run=run, crop=crop))
    assert not (run / "run.json").exists()


@pytest.mark.parametrize(("share", "folds"), [(0.2, 5), (0.1, 10), (0.05, 20)])
def test_the_share_held_out_decides_the_folds(run, share, folds):
    assert open_run(RunStage.of(run=run, held_out=share)).folds == folds


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"held_out": 0.3}, r"--held-out 0\.3: it must be one of 0\.2, 0\.1 or 0\.05\.$"),
        ({"held_out": 0.0}, r"--held-out 0: "),
        ({"split": "fotos"}, r"--split fotos: it must be one of person or photo; perhaps you mean photo\.$"),
        ({"split": "x"}, r"--split x: it must be one of person or photo\.$"),
        ({"recipe": "note-swim"}, r"--recipe note-swim: there is no such recipe; perhaps you mean note-swin"),
    ],
)
def test_what_a_run_cannot_be_names_the_setting_and_the_nearest(run, given, told):
    with pytest.raises(UserError, match=told):
        open_run(RunStage.of(run=run, **given))
    assert not run.exists()
    store.write_json(run / "run.json", DEFAULTS | given | {"schema": SCHEMA})
    with pytest.raises(UserError, match=told):
        open_run(RunStage.of(run=run))


@pytest.mark.parametrize("schema", [None, 0, SCHEMA + 1, str(SCHEMA)])
def test_a_run_of_another_schema_is_refused_and_stays(run, schema):
    store.write_json(run / "run.json", DEFAULTS | ({} if schema is None else {"schema": schema}))
    before = (run / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"run was made by another version of face18, .* RUN=folder") as told:
        open_run(RunStage.of(run=run))
    assert "\n" not in str(told.value)
    assert (run / "run.json").read_bytes() == before


def test_a_recipes_values_stand_beneath_the_given_ones(run):
    made = open_run(RunStage.of(run=run, recipe="note-xception"))
    assert (made.preset, made.weights, made.split, made.held_out) == ("base", "hub", "person", 0.1)
    given = {"preset": "small", "weights": "none", "split": "person", "held_out": 0.2}
    other = open_run(RunStage.of(run=run / "other", recipe="note-convnext", **given))
    assert {name: getattr(other, name) for name in given} == given
    assert open_run(RunStage.of(run=run / "other")) == other


def test_a_recipe_given_before_training_replaces_what_was_only_a_default(run):
    open_run(RunStage.of(run=run, crop=0.8, held_out=0.05))
    made = open_run(RunStage.of(run=run, recipe="note-convnext"))
    assert (made.preset, made.weights, made.split) == ("base", "hub", "photo")
    assert (made.crop, made.held_out) == (0.8, 0.05)
    assert open_run(RunStage.of(run=run)) == made
    again = open_run(RunStage.of(run=run, recipe="note-xception"))
    assert (again.recipe, again.split, again.held_out, again.crop) == ("note-xception", "person", 0.05, 0.8)
    begin(run, "joint")
    assert open_run(RunStage.of(run=run)) == again
    with pytest.raises(UserError, match="was trained with recipe note-xception, not note-swin"):
        open_run(RunStage.of(run=run, recipe="note-swin"))


def test_an_unknown_preset_in_the_file(run):
    store.write_json(run / "run.json", DEFAULTS | {"preset": "huge", "schema": SCHEMA})
    with pytest.raises(UserError, match=r"run\.json: --preset huge: it must be one of small, base or large\.$"):
        open_run(RunStage.of(run=run))


def test_a_damaged_run_file_is_named(run):
    store.write_text(run / "run.json", "{")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        open_run(RunStage.of(run=run))


def test_later_stages_make_no_run(run):
    with pytest.raises(UserError, match=r"there is no run .*make train-mask"):
        open_run(RunStage.of(run=run), make=False)
    assert not run.exists()
    open_run(RunStage.of(run=run))
    assert open_run(RunStage.of(run=run), make=False).folder == run


def test_where_answers_go(run, tmp_path):
    made = open_run(EvalStage.of(run=run))
    assert made.place(EvalStage.of(run=run)) == run
    assert made.place(EvalStage.of(run=run, eval=Path("some/party/"))) == run / "eval-party"
    assert made.place(EvalStage.of(run=run, eval=Path("."))) == run / f"eval-{tmp_path.name}"


def test_a_fold_to_leave_out_is_one_of_the_folds(run):
    for none in (5, -1):
        with pytest.raises(UserError, match=rf"--leave-out {none}: the folds are numbered from 0 to 4"):
            open_run(RunStage.of(run=run, leave_out=none))
    assert open_run(RunStage.of(run=run, leave_out=9, held_out=0.1)).leave_out == 9


def test_two_folders_of_one_name_have_places_of_their_own(run, tmp_path):
    made = open_run(RunStage.of(run=run))
    monday, tuesday = (EvalStage.of(run=run, eval=tmp_path / day / "photos") for day in ("monday", "tuesday"))
    store.write_json(made.place(monday) / "folder.json", {"folder": str(monday.eval.resolve())})
    assert made.place(monday) == run / "eval-photos"
    assert made.place(tuesday).name.startswith("eval-photos-")
    assert made.place(tuesday) == made.place(tuesday) != made.place(monday)


def test_folds_of_a_specialist(run):
    made = open_run(RunStage.of(run=run))
    for name in ("fold0", "fold2", "fold10", "fold3-2025-01-01T000000", "foldx", "fold²", "other"):
        (run / "age" / name).mkdir(parents=True)
    (run / "age" / "fold0.lock").touch()
    assert list(made.fold_folders("age").items()) == [(n, run / "age" / f"fold{n}") for n in (0, 2, 10)]
    assert made.fold_folders("mask") == made.finished("age") == {}
    (run / "age" / "fold2" / "weights.safetensors").touch()
    assert made.finished("age") == {}
    begun = BegunFold(
        folder=run / "age" / "fold2", task="age", number=2, settings=PRESETS["small"]["age"],
        inputs=dict.fromkeys(fold_records.INPUTS, ""),
        plan=Plan("cpu", "float32", True, 2, 1), pixels="p", crop=1.0, weights="none", versions={},
    )  # fmt: skip
    begun.write()
    (run / "age" / "fold2" / "validation.csv").touch()
    records.record(run / "age" / "fold2", "train", {}, WROTE, {"macro_f1": 0.5})
    ((number, fold),) = made.finished("age").items()
    assert (number, fold.folder, fold.metrics) == (2, begun.folder, {"macro_f1": 0.5})


INPUTS = {"photos": "abc", "prior": [0.4, 0.3, 0.3]}
FIGURES = {"photos": 7, "score": 0.5}


@pytest.fixture
def stage(run):
    """A stage that ran and wrote two files."""
    for name in ("a.csv", "b.json"):
        store.write_text(run / name, name)
    assert records.record(run, "predict", INPUTS, ["a.csv", "b.json"], FIGURES) == FIGURES
    return run


def test_a_finished_stage_gives_its_figures(stage):
    assert records.finished(stage, "predict", INPUTS) == FIGURES
    assert records.finished(stage, "predict", dict(reversed(INPUTS.items()))) == FIGURES
    assert records.finished(stage, "submit", INPUTS) is None


@pytest.mark.parametrize("inputs", [INPUTS | {"photos": "abd"}, {"photos": "abc"}, INPUTS | {"more": None}])
def test_changed_inputs_are_unfinished(stage, inputs):
    assert records.finished(stage, "predict", inputs) is None


def test_deleted_or_altered_output_is_unfinished(stage):
    store.write_text(stage / "b.json", "altered")
    assert records.finished(stage, "predict", INPUTS) is None
    store.write_text(stage / "b.json", "b.json")
    assert records.finished(stage, "predict", INPUTS) == FIGURES
    (stage / "a.csv").unlink()
    assert records.finished(stage, "predict", INPUTS) is None


def test_a_stage_that_wrote_nothing_but_its_figures(run):
    records.record(run, "score", INPUTS, [], FIGURES)
    assert records.finished(run, "score", INPUTS) == FIGURES


def test_given_settings_are_what_the_user_gave():
    assert RunStage.of().given() == {}
    assert RunStage.of(crop=0.5, skip_bad_photos=True, fixes="contest").given() == {
        "crop": 0.5,
        "skip_bad_photos": True,
        "fixes": "contest",
    }
    given = Train.of(task="mask", smoothing=0.0, seed=0, dropout=0.0, lr=1e-3).given()
    assert given == {"task": "mask", "smoothing": 0.0, "seed": 0, "dropout": 0.0, "lr": 1e-3}
