"""Every setting of every stage: the help shows its default and range, and what cannot be is refused in a sentence."""

import argparse
import json
import re
from contextlib import suppress
from dataclasses import MISSING
from pathlib import Path

import pytest

from models.declared import declared
from models.errors import UserError
from pipeline import arguments
from pipeline.__main__ import main
from pipeline.arguments import STAGES, read, stage_named
from pipeline.prediction.engine import LADDERS
from pipeline.run.given import groups_of, settings_of
from pipeline.run.presets import PRESETS
from pipeline.run.remembered import ENGINES, EngineSettings, PriorSettings
from pipeline.run.settings import NETWORKS, RECORDED, RunSettings
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime.machine import Plan
from pipeline.stages.compare import ComparisonSettings
from pipeline.stages.data import PeopleSettings

EVERY = [(stage, name) for stage in STAGES for name in settings_of(stage_named(stage)[1])]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")


def help_of(capsys, *words: str) -> dict[str, str]:
    """What a stage's help says of each option."""
    with suppress(SystemExit):
        main([*words, "--help"])
    told = capsys.readouterr().out
    return {told.split()[0]: " ".join(told.split()) for told in re.split(r"\n(?:\n.*:\n)?  (?=--)", told)[1:]}


@pytest.mark.parametrize("stage", STAGES)
def test_help_shows_every_setting_with_its_range_and_default(stage, capsys):
    told = help_of(capsys, stage)
    for name, one in settings_of(stage_named(stage)[1]).items():
        if one.rules.positional:
            continue
        line = told[one.option]
        assert one.rules.help in line
        if one.allowed and not one.rules.choices:
            assert f"({one.allowed}" in line
        for choice in one.rules.choices:
            assert str(choice) in line.split()[1]
        if one.rules.flag:
            assert "default" not in line
        elif one.rules.usual or one.default not in (None, MISSING):
            assert "default: " in line, name
        else:
            assert name in declared(TrainingSettings), f"--{name} tells no default"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", NETWORKS)
def test_help_shows_the_default_under_the_preset(preset, task, capsys):
    told = help_of(capsys, "train", task, "--preset", preset)
    for name, one in declared(TrainingSettings).items():
        if one.known_by(task):
            assert f"default: {one.said(getattr(PRESETS[preset][task], name))})" in told[one.option]
        else:
            assert one.option not in told


def test_help_shows_what_the_recipe_and_the_run_have(capsys):
    told = help_of(capsys, "train", "joint", "--recipe", "note-xception")
    assert "default: legacy_xception" in told["--backbone"]
    assert "default: base" in told["--preset"]
    assert main(["check", "submit", "--", "--run", "runs/x", "--preset", "large", "--", "--crop", "0.5"]) == 0
    told = help_of(capsys, "train", "age", "--run", "runs/x")
    assert "default: 0.0002" in told["--lr"]
    assert "default: 0.5" in told["--crop"]
    told = help_of(capsys, "train")
    assert "default: mask 0.001, gender 0.002, age 0.006" in told["--lr"]
    assert "default: 0.1)" in told["--warmup"]


def outside(one) -> list[str]:
    """Words that a setting refuses."""
    rules, found = one.rules, []
    if rules.choices:
        found.append(str(rules.choices[0]) + "9")
    elif one.kind in (int, float):
        found.append("many")
        found += [str(one.kind(rules.least) - 1)] if rules.least is not None else []
        found += [str(one.kind(rules.most) + 1)] if rules.most is not None else []
        found += [str(one.kind(rules.above))] if rules.above is not None else []
        found += ["1.5"] if one.kind is int else ["nan", "inf"]
    elif one.kind is bool and not rules.flag:
        found.append("perhaps")
    elif one.kind is dict:
        found += ["{", "[1]"]
    return found


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_what_a_setting_cannot_be_is_refused_in_one_sentence(stage, name, capsys):
    one = settings_of(stage_named(stage)[1])[name]
    first = [stage, "age"] if stage == "train" else [stage]
    if one.rules.positional:
        return
    words = [[*first, one.option, word] for word in outside(one)]
    words += [[*first, f"{one.option}=x"]] if one.rules.flag else [[*first, one.option]]
    words += [[*first, f"{one.option}s", "1"]]
    for command in words:
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("face18: ")
        assert one.option in line
    assert f"perhaps you mean {one.option}" in line or f" {one.option}" in line.split("perhaps you mean")[1]
    assert not list(Path().iterdir())


OF_THEIR_OWN = ("recipe", "prior", "systems", "tune", "cost", "sizes", "folds", "backbone")
"""Words that are not just any."""


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_line_gives_back_what_a_stage_is_told(stage):
    kind = stage_named(stage)[1]
    values = {}
    for name, one in settings_of(kind).items():
        value = one.default
        if one.rules.choices:
            value = one.rules.choices[-1]
        elif one.kind in (int, float):
            value = one.kind(one.rules.most or (one.rules.least or one.rules.above or 0) + 10)
        elif one.kind is bool:
            value = True
        elif one.kind is Path:
            value = Path("a folder/with=signs")
        elif one.kind is dict:
            value = {"window_size": 4, "depths": [1, 2]}
        elif one.kind is str and name not in (
            "recipe",
            "prior",
            "systems",
            "tune",
            "cost",
            "sizes",
            "folds",
            "backbone",
        ):
            value = "some words"
        if value is not MISSING and value is not None:
            values[name] = value
    if stage == "compare":
        del values["split"], values["leave_out"], values["extra"]
    made = kind.of(**values)
    assert read(kind, made.words(), stage) == made


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("network", NETWORKS)
def test_json_gives_back_what_a_network_is_trained_with(preset, network):
    made = PRESETS[preset][network]
    written = json.loads(json.dumps(made.as_json(network)))
    assert written.keys() == {name for name, one in declared(TrainingSettings).items() if one.known_by(network)}
    assert TrainingSettings.from_json(written, Path("file"), network) == made


@pytest.mark.parametrize(
    "made",
    [
        RunSettings(weights="none"),
        RunSettings(data=Path("a b"), weights="x", crop=0.3, leave_out=2, recipe="note-swin", follow_links=True),
        EngineSettings(engine="openvino", flip=True),
        PriorSettings(prior="0.2,0.3,0.5"),
        ComparisonSettings(cost="0.1,0.3", times=7, sizes="64x48"),
        PeopleSettings(people=11),
    ],
)
def test_json_gives_back_all_other_settings(made):
    assert type(made).from_json(json.loads(json.dumps(made.as_json())), Path("file")) == made


@pytest.mark.parametrize("word", ["-1e-3", "-0.1,0.5,0.6", "-runs/x"])
def test_a_value_may_begin_with_a_dash(word, capsys):
    assert main(["calibrate", "--prior", word]) == 2
    assert "its value is missing" not in capsys.readouterr().err
    made = stage_named("train")[1].of(task="age", run=Path("-runs/x"))
    assert read(type(made), made.words(), "train") == made


def test_declarations_agree_with_what_they_choose_from():
    assert set(ENGINES) == {"auto", *LADDERS}
    assert tuple(declared(RunSettings)) == RECORDED
    assert tuple(PRESETS) == declared(RunSettings)["preset"].rules.choices
    assert {"threads", "workers", "precision", "muon_precision", "channels_last"} <= Plan.__dataclass_fields__.keys()


def test_no_two_settings_of_a_stage_share_a_name():
    for stage in STAGES:
        kind = stage_named(stage)[1]
        names = [name for group in (kind, *groups_of(kind).values()) for name in declared(group)]
        assert len(names) == len(set(names))


def test_a_stage_refuses_a_name_that_it_does_not_know():
    with pytest.raises(UserError, match="there is no setting epoch"):
        stage_named("train")[1].of(task="age", epoch=3)


def test_argparse_is_asked_for_words_alone(monkeypatch):
    """Whatever it would refuse by itself comes out as our sentence."""
    monkeypatch.setattr(argparse.ArgumentParser, "error", lambda *_: pytest.fail("argparse spoke"))
    for words in (["--lr"], ["--plan=1"], ["--lr", "x"], ["age", "age"], ["--", "age", "x"], ["-x"], ["--epoch=3"]):
        with pytest.raises(UserError):
            arguments.parse("train", words)


def test_every_setting_is_used_by_the_code():
    root = Path(arguments.__file__).parents[1]
    code = "".join(file.read_text() for room in ("models", "pipeline") for file in (root / room).rglob("*.py"))
    for name in declared(TrainingSettings):
        assert re.search(rf"\.{name}\b", code), f"--{name} does nothing"
