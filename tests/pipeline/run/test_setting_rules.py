"""What a training's settings may be, and what is told of those that may not."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models import losses
from models.errors import UserError
from models.tasks import build_task
from pipeline.run import train_settings
from pipeline.run.presets import PRESETS
from pipeline.run.setting_rules import CHOICES, RANGES, check_same, check_values, given
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.training import sampling, schedule

RUN = SimpleNamespace(preset="small", recipe=None)


def test_presets_keep_to_the_ranges_and_choices():
    for preset in PRESETS.values():
        for settings in preset.values():
            check_values(settings)
            for name, value in settings.items():
                assert name in (CHOICES if isinstance(value, str) else RANGES) or name.startswith("backbone"), name


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("loss", "focall", "--loss focall: it must be one of cross_entropy, focal or soft_f1; perhaps you mean focal."),
        ("loss", "hinge", "--loss hinge: it must be one of cross_entropy, focal or soft_f1."),
        ("optimizer", "adamm", "perhaps you mean adam, radam"),
        ("schedule", "Cosine", "perhaps you mean cosine"),
        ("sampling", "ballanced", "one of all or balanced; perhaps you mean balanced."),
        ("age_loss", "l11", "perhaps you mean l1."),
        ("age_head", "band", "perhaps you mean bands"),
        ("head_balance", "summ", "perhaps you mean sum"),
        ("epochs", 0.0, "--epochs 0: it must be above 0."),
        ("epochs", float("inf"), "--epochs inf: it must be above 0."),
        ("epochs", float("nan"), "--epochs nan: it must be above 0."),
        ("gamma", 1.5, "--gamma 1.5: it must be above 0 and at most 1."),
        ("period", -1.0, "--period -1: it must be 0 or more."),
        ("patience", -1, "--patience -1: it must be 0 or more."),
        ("focal_gamma", -0.5, "--focal-gamma -0.5: it must be 0 or more."),
        ("age_scale", 0.0, "--age-scale 0: it must be above 0."),
        ("age_weight", -1.2, "--age-weight -1.2: it must be 0 or more."),
        ("smoothing", 1.0, "--smoothing 1: it must be from 0 to 0.999."),
    ],
)
def test_what_cannot_be_gets_one_sentence(name, value, told):
    with pytest.raises(UserError) as refusal:
        check_values({name: value})
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 6.5, "period": 50.0, "gamma": 1.0, "patience": 0, "focal_gamma": 0.0, "age_scale": 1.0},
        *({name: word} for name, words in CHOICES.items() for word in words),
    ],
)
def test_what_can_be_passes(values):
    check_values(values)


def test_a_setting_is_refused_where_it_is_not_known_and_checked_where_it_is():
    assert given(Train(task="mask", loss="focal", epochs=0.5), "mask", RUN) == {"loss": "focal", "epochs": 0.5}
    with pytest.raises(UserError, match=r"train age has no setting --loss; train mask, gender, joint"):
        given(Train(task="age", loss="focal"), "age", RUN)
    with pytest.raises(UserError, match=r"train mask has no setting --age-head"):
        given(Train(task="mask", age_head="bands"), "mask", RUN)
    with pytest.raises(UserError, match="perhaps you mean cosine"):
        given(Train(task="age", schedule="cosin"), "age", RUN)


def test_the_presets_own_backbone_keeps_its_options():
    own = PRESETS["small"]["age"]
    assert "backbone_options" not in given(Train(task="age", backbone=own["backbone"]), "age", RUN)
    assert given(Train(task="age", backbone="convnext_tiny"), "age", RUN)["backbone_options"] == {}


def test_options_that_a_setting_of_ours_decides_are_refused():
    with pytest.raises(UserError, match="drop_rate is set by --dropout"):
        given(Train(task="age", backbone_options='{"drop_rate": 0.9}'), "age", RUN)


BOXED = {"photos": "a", "labels": "b", "folds": "c", "boxes": "d"}


@pytest.mark.parametrize(
    ("then", "now", "changed"),
    [
        (BOXED, BOXED, []),
        (BOXED, BOXED | {"boxes": "e"}, ["the face boxes"]),
        (BOXED, BOXED | {"labels": "e", "boxes": "e"}, ["the labels", "the face boxes"]),
    ],
)
def test_inputs_that_changed_are_refused(tmp_path, then, now, changed):
    store.write_json(tmp_path / "settings.json", {"settings": {}, "inputs": then})
    if not changed:
        check_same(tmp_path, now, {})
        return
    with pytest.raises(UserError) as refusal:
        check_same(tmp_path, now, {})
    assert str(refusal.value).splitlines()[1:] == [f"  {what} have changed" for what in changed]


def test_every_word_is_in_the_help_and_every_number_has_a_range():
    (made,) = [
        node
        for node in ast.parse(Path(train_settings.__file__).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Train"
    ]
    fields = {
        field.target.id: (ast.unparse(field.annotation), help.value.value)
        for field, help in zip(made.body, made.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
    }
    for name, words in CHOICES.items():
        annotation, text = fields[name]
        assert annotation == "MaybeText"
        for word in words:
            assert word in text, f"--{name} does not tell of {word}"
    for name in RANGES:
        assert fields[name][0] in ("MaybeNumber", "MaybeWhole")
    known = {name for preset in PRESETS.values() for task in preset.values() for name in task}
    assert known <= fields.keys()


def test_every_word_means_something():
    logits, targets, weights = torch.zeros(2, 3), torch.tensor([0, 2]), torch.ones(2)
    for kind in CHOICES["loss"]:
        assert losses.classification(kind, logits, targets, weights) > 0
    for kind in CHOICES["schedule"]:
        assert schedule.learning_rate(3, 10, 0.1, kind) > 0
    for kind in CHOICES["sampling"]:
        assert len(sampling.rows_of(targets.numpy(), targets.numpy(), 0, 0, kind, 0)) == 2
    for kind in CHOICES["age_loss"]:
        assert build_task("age", PRESETS["small"]["age"] | {"age_loss": kind}).num_logits in (1, 101)
