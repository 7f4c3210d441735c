"""What was tuned is found again on the same processor and torch alone, and makes the plan."""

import json

import pytest
import torch

from models.errors import UserError
from pipeline.runtime import machine, tuned
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
    assert tuned.keep({NETWORK: WAY}, "2026-11-28") == cache
    made = machine.plan(*NETWORK)
    assert (made.way, made.tuned) == (WAY, "2026-11-28")
    assert machine.Plan(**json.loads(json.dumps(made.as_dict()))) == made
    assert machine.usual_plan(*NETWORK).tuned is None
    assert machine.plan(*NETWORK, precision="float32").precision == "float32"  # what the user sets holds
    assert machine.plan("efficientnet_b0", (256, 192)).tuned is None
    assert machine.plan("efficientnet_b1", (128, 96)).tuned is None


def test_on_a_gpu_it_does_not_count(monkeypatch):
    tuned.keep({NETWORK: WAY}, "2026-11-28")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.plan(*NETWORK).tuned is None


@pytest.mark.parametrize("other", ["processor", "instructions"])
def test_another_processor_finds_nothing(monkeypatch, other):
    tuned.keep({NETWORK: WAY}, "2026-11-28")
    monkeypatch.setattr(tuned, other, lambda: "another")
    assert tuned.found(*NETWORK) is None


def test_another_torch_finds_nothing(monkeypatch):
    tuned.keep({NETWORK: WAY}, "2026-11-28")
    monkeypatch.setattr(tuned.importlib.metadata, "version", lambda name: "9.9")
    assert tuned.found(*NETWORK) is None


def test_others_stay_beside_it():
    tuned.keep({NETWORK: WAY, ("a", (1, 2)): WAY}, "then")
    tuned.keep({("a", (1, 2)): Way("float32", True)}, "now")
    assert tuned.found(*NETWORK) == (WAY, "then")
    assert tuned.found("a", (1, 2)) == (Way("float32", True), "now")


def test_a_damaged_file_is_named(cache):
    tuned.keep({NETWORK: WAY}, "2026-11-28")
    cache.write_text(cache.read_text().replace("silu", "gelu"))
    with pytest.raises(UserError, match=r"tuned\.json is damaged or was changed.*delete it"):
        machine.plan(*NETWORK)
