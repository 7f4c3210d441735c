"""A run remembers its settings, refuses to change them once begun, and knows what is finished."""

from pathlib import Path

import pytest

from models.errors import UserError
from pipeline.run import fold_records, records
from pipeline.run import folder as run_folder
from pipeline.run.fold_records import WROTE, BegunFold
from pipeline.run.folder import SCHEMA, open_run, settings_under
from pipeline.run.presets import PRESETS
from pipeline.run.settings import EvalStage, RunStage
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.runtime.gpu import has_gpu, torch_builds
from pipeline.runtime.machine import Plan

DEFAULTS = {
    "data": "data/drawn",
    "recipe": None,
    "preset": "small",
    "weights": "auto",
    "fixes": None,
    "extra": None,
    "faces": "auto",
    "face_model": "package",
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
    assert (made.folder, made.data, made.preset, made.weights) == (run, Path("data/drawn"), "small", "auto")
    assert (made.fixes, made.crop, made.split_seed, made.skip_bad_photos) == (None, 1.0, 0, False)
    assert (made.split, made.held_out, made.folds, made.recipe) == ("person", 0.2, 5, None)


@pytest.fixture(params=[False, True], ids=["no GPU", "a GPU"])
def gpu(request, monkeypatch):
    monkeypatch.setattr(run_folder, "has_gpu", lambda: request.param)
    return request.param


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return Path("photos")


def test_photos_of_ones_own_start_pretrained_by_what_the_machine_has(gpu, photos, capsys):
    preset, others = ("base", "lite") if gpu else ("lite", "base")
    made = open_run(RunStage.of(data=photos))
    assert (made.folder, made.preset, made.weights) == (Path(f"runs/photos-{preset}"), preset, "auto")
    told = capsys.readouterr().err
    assert told.startswith(
        f"face18: runs/photos-{preset}: preset {preset}, as there is {'a' if gpu else 'no'} GPU here"
    )
    assert f"PRESET={others}" in told
    assert "PRESET=small" in told
    assert open_run(RunStage.of(data=photos)) == made
    assert capsys.readouterr().err == ""  # said once


def test_what_a_machine_chose_stays_chosen_on_another(gpu, photos, monkeypatch):
    made = open_run(RunStage.of(data=photos))
    monkeypatch.setattr(run_folder, "has_gpu", lambda: not gpu)
    assert open_run(RunStage.of(data=photos)) == made == open_run(RunStage.of(run=made.folder))


@pytest.mark.parametrize("weights", ["nowhere", "", "file"])
def test_weights_that_are_no_folder_are_refused_before_anything_is_decoded(run, tmp_path, weights):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"--weights {weights}: .*; give auto, package, hub or none, a run's folder,"):
        open_run(RunStage.of(run=run, weights=weights))
    assert not run.exists()


def test_drawn_people_are_trained_small_whatever_the_machine(gpu, capsys):
    assert open_run(RunStage.of()).preset == "small"
    Path("data/drawn").mkdir(parents=True)
    for way in (Path("data/drawn"), Path("data/drawn").resolve()):
        assert open_run(RunStage.of(data=way)).folder == Path("runs/drawn-small")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", [{"preset": "small"}, {"recipe": "note-swin"}])
def test_a_preset_or_recipe_that_is_named_is_taken_without_a_word(gpu, photos, given, capsys):
    made = open_run(RunStage.of(data=photos, **given))
    assert made.preset == {"recipe": "base", "preset": "small"}[next(iter(given))]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("preset", PRESETS)
def test_the_run_that_a_data_set_has_is_gone_on_with(gpu, photos, preset):
    made = open_run(RunStage.of(data=photos, preset=preset))
    assert open_run(RunStage.of(data=photos.resolve())).folder == made.folder


def test_several_runs_of_a_data_set_are_told_apart_by_the_user(photos):
    made = {preset: open_run(RunStage.of(data=photos, preset=preset)) for preset in ("small", "lite")}
    with pytest.raises(
        UserError, match=r"2 runs of 'photos', with the presets lite and small; .*PRESET=lite .*RUN=fold"
    ):
        open_run(RunStage.of(data=photos))
    assert open_run(RunStage.of(data=photos, preset="small")) == made["small"]
    assert open_run(RunStage.of(run=made["lite"].folder)) == made["lite"]


def test_the_run_of_another_data_set_of_that_name_is_not(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "has_gpu", lambda: False)
    (tmp_path / "other/photos").mkdir(parents=True)
    open_run(RunStage.of(data=Path("other/photos"), preset="base"))
    assert open_run(RunStage.of(data=photos)).preset == "lite"


@pytest.mark.parametrize(
    ("devices", "hidden", "found"),
    [
        ((), None, False),
        (("nvidia0",), None, True),
        (("nvidia3",), "3", True),
        (("nvidiactl", "nvidia-uvm"), None, False),
        (("kfd",), None, False),
        (("dxg",), None, True),
        (("nvidia0",), "", False),
        (("nvidia0",), "-1", False),
    ],
)
def test_a_gpu_is_looked_for_without_torch(tmp_path, monkeypatch, devices, hidden, found):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    for name in devices:
        (tmp_path / name).touch()
    assert has_gpu(tmp_path, frozenset({"cuda"})) == found


@pytest.mark.parametrize(
    ("device", "builds"), [("nvidia0", {"cuda"}), ("kfd", {"hip"}), ("dxg", {"cuda"}), ("dxg", {"hip"})]
)
def test_a_gpu_counts_where_torch_is_built_for_it(tmp_path, monkeypatch, device, builds):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / device).touch()
    assert has_gpu(tmp_path, frozenset(builds))
    assert not has_gpu(tmp_path, frozenset())


def test_what_torch_is_built_for_is_told_without_importing_it():
    import torch

    told = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    assert torch_builds() == {build for build, version in told.items() if version}


def test_a_setting_that_names_the_data_set_alone_is_told_as_its_run_has_it(gpu, photos):
    open_run(RunStage.of(data=photos, preset="small"))
    assert settings_under(RunStage.of(data=photos)).preset == "small"


def test_a_run_that_was_only_set_up_gives_way_to_one_that_has_begun(photos):
    for preset in ("base", "lite"):
        open_run(RunStage.of(data=photos, preset=preset))
    begin(Path("runs/photos-lite"))
    assert open_run(RunStage.of(data=photos)).preset == "lite"


def test_a_folder_of_weights_may_be_spelled_otherwise(run, tmp_path):
    for name in ("a", "hub"):
        (tmp_path / name).mkdir()
    made = open_run(RunStage.of(run=run, weights="a"))
    begin(run)
    for same in ("a/", "./a", str(tmp_path / "a")):
        assert open_run(RunStage.of(run=run, weights=same)) == made
    for other in ("hub", "./hub", "b"):
        with pytest.raises(UserError, match=f"was trained with weights a, not {other}"):
            open_run(RunStage.of(run=run, weights=other))


def test_a_folder_called_hub_is_not_the_hub(run, tmp_path):
    (tmp_path / "hub").mkdir()
    open_run(RunStage.of(run=run, weights="hub"))
    begin(run)
    with pytest.raises(UserError, match=r"was trained with weights hub, not \./hub"):
        open_run(RunStage.of(run=run, weights="./hub"))


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({}, "runs/drawn-small"),
        ({"preset": "base"}, "runs/drawn-base"),
        ({"data": Path("photos/mine/")}, "runs/mine-lite"),
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
    more = tmp_path / "more"
    more.mkdir()
    given = {
        "data": tmp_path,
        "preset": "base",
        "weights": "none",
        "fixes": "contest",
        "extra": str(more),
        "faces": "off",
        "face_model": Path("yunet.onnx"),
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
    assert recorded(run) == given | {"data": str(tmp_path), "face_model": "yunet.onnx"}
    begin(run)
    stamp = (run / "run.json").stat().st_mtime_ns
    assert open_run(RunStage.of(run=run)) == first == open_run(RunStage.of(run=run, **given))
    assert (run / "run.json").stat().st_mtime_ns == stamp


CHANGES = {
    "data": Path("other"),
    "preset": "base",
    "weights": "hub",
    "fixes": "contest",
    "extra": ".",
    "faces": "given",
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


def test_where_the_face_model_lies_is_no_property_of_a_run_that_has_begun(run):
    open_run(RunStage.of(run=run, face_model=Path("mine.onnx")))
    assert open_run(RunStage.of(run=run)).face_model == Path("mine.onnx")
    begin(run)
    assert open_run(RunStage.of(run=run, face_model=Path("typo.onnx"))).face_model == Path("typo.onnx")
    assert open_run(RunStage.of(run=run)).face_model == Path("mine.onnx")


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
    with pytest.raises(UserError, match=r"run\.json: --preset huge: it must be one of lite, small, base or large\.$"):
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
