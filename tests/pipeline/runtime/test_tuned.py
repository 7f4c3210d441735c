"""What was tuned is found again on the same processor and torch alone, and makes the plan."""

import json
from pathlib import Path

import pytest
import torch

from models.errors import UserError
from pipeline.runtime import machine, store, tuned
from pipeline.runtime.plan_table import Way

WAY = Way("bfloat16", False, ("depthwise", "silu"))
NETWORK = ("efficientnet_b0", (128, 96))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(tuned.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path / "cache" / "tuned.json"


def test_nothing_tuned_is_the_table(cache):
    assert tuned.found(*NETWORK) is None
    assert machine.plan(*NETWORK) == machine.usual_plan(*NETWORK)
    assert not cache.parent.exists()  # looking leaves nothing


def test_the_plan_is_what_was_tuned_and_says_so(cache):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    assert cache.is_file()
    made = machine.plan(*NETWORK)
    assert (made.way, made.tuned) == (WAY, "2026-11-28")
    assert machine.Plan(**json.loads(json.dumps(made.as_dict()))) == made
    assert machine.usual_plan(*NETWORK).tuned is None
    for given in ({"precision": "float32"}, {"channels_last": True}, {"layers": ()}):  # what the user sets holds
        asked = machine.plan(*NETWORK, **given)
        assert given.items() <= vars(asked).items()
        assert asked.tuned is None  # nobody measured that
    assert machine.plan(*NETWORK, threads=1, precision="bfloat16").tuned == "2026-11-28"
    assert machine.plan("efficientnet_b0", (256, 192)).tuned is None
    assert machine.plan("efficientnet_b1", (128, 96)).tuned is None


def test_on_a_gpu_it_does_not_count(monkeypatch):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.plan(*NETWORK).tuned is None


@pytest.mark.parametrize("other", ["processor", "instructions"])
def test_another_processor_finds_nothing(monkeypatch, other):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    monkeypatch.setattr(tuned, other, lambda: "another")
    assert tuned.found(*NETWORK) is None


def test_layers_that_became_others_find_nothing(monkeypatch):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    assert tuned.found(*NETWORK) is not None
    monkeypatch.setattr(tuned, "LAYERS_VERSION", tuned.LAYERS_VERSION + 1)
    assert tuned.found(*NETWORK) is None


def test_another_torch_finds_nothing(monkeypatch):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    monkeypatch.setattr(tuned.importlib.metadata, "version", lambda name: "9.9")
    assert tuned.found(*NETWORK) is None


@pytest.mark.parametrize("way", [Way("float32", True, ("gone",)), Way("float32", True, ("silu", "gone"))])
def test_layers_that_there_are_not_any_more_find_nothing(way):
    tuned.keep(*NETWORK, way, 2, "2026-11-28")
    assert tuned.found(*NETWORK) is None


def test_what_another_version_kept_finds_nothing(cache):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    known = store.read_json(cache)
    for networks in known.values():
        for one in networks.values():
            del one["channels_last"]
    store.write_json(cache, known)
    assert tuned.found(*NETWORK) is None


def test_without_a_home_folder_trainings_go_by_the_table(monkeypatch):
    monkeypatch.delenv(tuned.FOLDER)

    def nobody(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    assert machine.plan(*NETWORK) == machine.usual_plan(*NETWORK)
    with pytest.raises(UserError, match=r"cannot be kept .*home directory.*FACE18_CACHE=folder"):
        tuned.check()


def test_a_folder_that_cannot_be_looked_into_holds_nothing(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    assert machine.plan(*NETWORK) == machine.usual_plan(*NETWORK)
    with pytest.raises(UserError, match=r"cannot be kept \(Permission denied\)"):
        tuned.check()


def test_a_folder_that_can_be_written_is_made(cache):
    assert tuned.check() == cache
    assert list(cache.parent.iterdir()) == []


def test_others_stay_beside_it():
    tuned.keep(*NETWORK, WAY, 2, "then")
    tuned.keep("a", (1, 2), WAY, 2, "then")
    tuned.keep("a", (1, 2), Way("float32", True), 1, "now")
    assert tuned.found(*NETWORK) == (WAY, "then")
    assert tuned.found("a", (1, 2)) == (Way("float32", True), "now")


def test_a_damaged_file_is_named(cache):
    tuned.keep(*NETWORK, WAY, 2, "2026-11-28")
    cache.write_text(cache.read_text().replace("silu", "gelu"))
    with pytest.raises(UserError, match=r"tuned\.json is damaged or was changed.*delete it"):
        machine.plan(*NETWORK)
