"""What a network is trained with, and what its fold records of it."""

from types import SimpleNamespace

import pytest
import torch

from models import losses
from models.declared import declared
from models.errors import UserError
from models.tasks import build_task
from pipeline.run.fold_records import WROTE, BegunFold, FinishedFold, begun_fold
from pipeline.run.given import Given
from pipeline.run.presets import PRESETS
from pipeline.run.setting_rules import of_task, resolved
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import store
from pipeline.runtime.machine import Plan
from pipeline.training import sampling, schedule

RUN = SimpleNamespace(preset="small", recipe=None, weights="auto")
KNOWN = declared(TrainingSettings)


def given(**values):
    return Given(TrainingSettings, **values)


def test_a_setting_is_refused_where_it_is_not_known_and_checked_where_it_is():
    assert of_task(given(loss="focal", epochs=0.5), "mask", RUN) == {"loss": "focal", "epochs": 0.5}
    with pytest.raises(
        UserError, match=r"^train age has no setting --loss; train mask, gender, joint and multihead have"
    ):
        of_task(given(loss="focal"), "age", RUN)
    with pytest.raises(UserError, match=r"^train mask has no setting --age-head; train multihead has it\.$"):
        of_task(given(age_head="bands"), "mask", RUN)
    with pytest.raises(UserError, match="perhaps you mean cosine"):
        given(schedule="cosin")
    with pytest.raises(UserError, match="there is no setting epoch; perhaps you mean epochs"):
        given(epoch=3)


def test_the_presets_own_backbone_keeps_its_options():
    own = PRESETS["small"]["age"]
    assert "backbone_options" not in of_task(given(backbone=own.backbone), "age", RUN)
    assert of_task(given(backbone="convnext_tiny"), "age", RUN)["backbone_options"] == {}
    kept = {"window_size": 4}
    assert of_task(given(backbone="convnext_tiny", backbone_options=kept), "age", RUN)["backbone_options"] == kept


def test_options_that_a_setting_of_ours_decides_are_refused():
    with pytest.raises(UserError, match="drop_rate is set by --dropout"):
        PRESETS["small"]["age"] | {"backbone_options": {"drop_rate": 0.9}}


def test_what_is_given_stands_over_what_is_recorded_and_that_over_the_preset(tmp_path):
    fold = begun(tmp_path, PRESETS["small"]["age"] | {"lr": 0.5, "epochs": 2})
    made = resolved(RUN, "age", given(lr=0.25), fold)
    assert (made.lr, made.epochs, made.batch_size) == (0.25, 2, PRESETS["small"]["age"].batch_size)
    assert resolved(RUN, "age", given()) == PRESETS["small"]["age"]
    recipe = SimpleNamespace(preset="base", recipe="note-xception", weights="auto")
    assert resolved(recipe, "joint", given()).backbone == "legacy_xception"


BOXED = {"photos": "a", "labels": "b", "folds": "c", "boxes": "d", "faces": "e", "extra": "f", "drawn": "g"}


def begun(folder, settings=PRESETS["small"]["mask"], inputs=BOXED, task="mask"):
    plan = Plan("cpu", "float32", True, 2, 1)
    return BegunFold(
        folder=folder, task=task, number=3, settings=settings, inputs=inputs, plan=plan, pixels="p", crop=0.9,
        faces={"detector": "f"}, weights="none", versions={"torch": "2"},
    )  # fmt: skip


@pytest.mark.parametrize("task", PRESETS["small"])
def test_a_fold_is_read_as_it_was_written(tmp_path, task):
    assert begun_fold(tmp_path) is None
    made = begun(tmp_path, PRESETS["small"][task], task=task)
    made.write()
    assert begun_fold(tmp_path) == made
    recorded = store.read_json(tmp_path / "settings.json")["settings"]
    assert recorded.keys() == {name for name, one in KNOWN.items() if one.known_by(task)}
    store.write_json(
        tmp_path / "done/train.json", {"inputs": "x", "metrics": {"macro_f1": 0.5}, "wrote": dict.fromkeys(WROTE, "b")}
    )
    finished = FinishedFold.read(tmp_path)
    assert (finished.settings, finished.metrics, finished.wrote) == (
        made.settings,
        {"macro_f1": 0.5},
        dict.fromkeys(WROTE, "b"),
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda made: made.pop("plan"), "is not what train writes"),
        (lambda made: made["plan"].pop("device"), "is not what train writes"),
        (lambda made: made.update(more=1), "is not what train writes"),
        (lambda made: made["settings"].update(shape=1), "there is no setting shape"),
        (lambda made: made["settings"].pop("lr"), "lacks the setting lr"),
        (lambda made: made.update(settings=[]), "holds no settings"),
        (lambda made: made.update(task="nose"), "is not what train writes"),
        (lambda made: made.update(inputs={}), "is not what train writes"),
        (lambda made: made.update(inputs=None), "is not what train writes"),
        (lambda made: made["settings"].update(lr=-1), "--lr -1: it must be above 0"),
    ],
)
def test_a_record_of_another_shape_is_named(tmp_path, change, told):
    begun(tmp_path).write()
    made = store.read_json(tmp_path / "settings.json")
    change(made)
    store.write_json(tmp_path / "settings.json", made)
    with pytest.raises(UserError, match=rf"settings\.json.*{told}"):
        begun_fold(tmp_path)


@pytest.mark.parametrize(
    "done",
    [{}, {"wrote": {}, "metrics": {"macro_f1": 1}}, {"wrote": None, "metrics": {"macro_f1": 1}},
     {"wrote": [*WROTE], "metrics": {"macro_f1": 1}}, {"wrote": dict.fromkeys(WROTE, ""), "metrics": {}}],
)  # fmt: skip
def test_a_record_of_its_end_of_another_shape_is_named(tmp_path, done):
    begun(tmp_path).write()
    store.write_json(tmp_path / "done/train.json", done)
    with pytest.raises(UserError, match=r"train\.json is not what train writes.*--restart"):
        FinishedFold.read(tmp_path)


@pytest.mark.parametrize(
    ("then", "now", "changed"),
    [
        (BOXED, BOXED, []),
        (BOXED, BOXED | {"boxes": "e"}, ["the face boxes"]),
        (BOXED, BOXED | {"labels": "e", "boxes": "e"}, ["the labels", "the face boxes"]),
    ],
)
def test_inputs_that_changed_are_refused(tmp_path, then, now, changed):
    fold = begun(tmp_path, inputs=then)
    if not changed:
        fold.check_same(now, {})
        return
    with pytest.raises(UserError) as refusal:
        fold.check_same(now, {})
    assert str(refusal.value).splitlines()[1:] == [f"  {what} have changed" for what in changed]


def test_settings_that_changed_are_refused(tmp_path):
    fold = begun(tmp_path)
    fold.check_same(BOXED, given(epochs=fold.settings.epochs, lr=fold.settings.lr))
    with pytest.raises(UserError, match=rf"\n  epochs: {fold.settings.epochs} then, 7 now$"):
        fold.check_same(BOXED, given(epochs=7))


def test_a_file_is_fingerprinted_once_and_missed_where_it_changed(tmp_path, monkeypatch):
    begun(tmp_path).write()
    (tmp_path / "weights.safetensors").write_text("weights")
    (tmp_path / "validation.csv").write_text("photo")
    wrote = {name: store.file_fingerprint(tmp_path / name) for name in WROTE}
    store.write_json(tmp_path / "done/train.json", {"inputs": "x", "metrics": {"macro_f1": 0.5}, "wrote": wrote})
    fold, asked = FinishedFold.read(tmp_path), []
    fingerprint = store.file_fingerprint
    monkeypatch.setattr(store, "file_fingerprint", lambda path: asked.append(path.name) or fingerprint(path))
    fold.check("weights.safetensors")
    fold.check("weights.safetensors", "settings.json")
    assert fold.network_fingerprint == [wrote["settings.json"], wrote["weights.safetensors"]]
    assert sorted(asked) == ["settings.json", "weights.safetensors"]
    for content, told in {
        b"\2" + bytes(7) + b"{}": "is missing, damaged or was changed",
        b"": "is an empty file, not weights",
        b"PK\3\4": "is a zip archive, not weights",
        b"<html>": "is an HTML page, not weights",
        b"version https://git-lfs.github.com/spec/v1\n": "is a Git LFS pointer, not the weights; run git lfs pull in",
    }.items():
        (tmp_path / "weights.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=rf"weights\.safetensors {told}.*run train again with --restart"):
            FinishedFold.read(tmp_path).check("weights.safetensors")


def test_every_word_means_something():
    logits, targets, weights = torch.zeros(2, 3), torch.tensor([0, 2]), torch.ones(2)
    for kind in KNOWN["loss"].rules.choices:
        assert losses.classification(kind, logits, targets, weights) > 0
    for kind in KNOWN["schedule"].rules.choices:
        assert schedule.learning_rate(3, 10, 0.1, kind) > 0
    for kind in KNOWN["sampling"].rules.choices:
        assert len(sampling.rows_of(targets.numpy(), targets.numpy(), 0, 0, kind, 0)) == 2
    for kind in KNOWN["age_loss"].rules.choices:
        assert build_task("age", PRESETS["small"]["age"] | {"age_loss": kind}).num_logits in (1, 101)
