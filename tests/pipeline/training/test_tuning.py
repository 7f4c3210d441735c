"""Tuning keeps what the clock says, and the usual way where nothing is clearly faster."""

from pathlib import Path

import pytest

from pipeline.run.presets import PRESETS
from pipeline.runtime import machine
from pipeline.runtime.machine import Plan
from pipeline.runtime.plan_table import Way
from pipeline.training import timed_step, tuning
from pipeline.training.tuning import candidates, fastest

MADE = PRESETS["small"]["mask"] | {"backbone": "test_efficientnet", "height": 64, "width": 64, "batch_size": 4}
PLAN = Plan("cpu", "float32", True, 1, 0, layers=("silu", "squeeze-excite"))


@pytest.fixture
def clock(monkeypatch):
    """Steps that take as long as a table of ways says, and a clock that goes on by them."""
    time = {"now": 0.0}

    def build(seconds):
        built = []

        class Step:
            def __init__(self, task, made, plan, folder):
                assert Path(folder).is_dir()
                self.took = seconds(plan.way)
                built.append(plan.way)

            def seconds(self):
                time["now"] += self.took
                return self.took

        monkeypatch.setattr(tuning, "TimedStep", Step)
        monkeypatch.setattr(tuning.time, "monotonic", lambda: time["now"])
        return built

    return build


def test_every_combination_is_a_candidate_once_the_usual_one_first(monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: True)
    ways = candidates(MADE, PLAN)
    assert len(set(ways)) == len(ways)
    assert ways[0] == PLAN.way
    assert {(one.precision, one.channels_last) for one in ways} == {
        (precision, last) for precision in machine.PRECISIONS for last in (True, False)
    }
    ours = ("depthwise", "silu", "squeeze-excite")
    some = {(), ours, *((name,) for name in ours), *(tuple(two for two in ours if two != name) for name in ours)}
    assert {one.layers for one in ways} == some
    assert len(ways) == 4 * len(some)
    # What differs in one thing comes first, and layers last of that.
    assert [one.layers == PLAN.layers for one in ways[:4]] == [True, True, True, False]
    assert [one.precision == PLAN.precision for one in ways[3:5]] == [True, True]


def test_the_usual_way_is_told_as_far_as_it_concerns_the_network():
    plan = Plan("cpu", "float32", True, 1, 0, layers=("relu6", "silu", "swin"))
    assert candidates(MADE, plan)[0] == Way("float32", True, ("silu",))


@pytest.mark.parametrize(("has", "width"), [(False, 64), (True, 63)])
def test_bfloat16_is_no_candidate_where_it_cannot_be(monkeypatch, has, width):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: has)
    assert {one.precision for one in candidates(MADE | {"width": width}, PLAN)} == {"float32"}


def test_the_fastest_wins_whatever_comes_before_it(clock, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: True)
    winner = Way("bfloat16", False, ("silu",))
    clock(lambda way: 0.5 if way == winner else 0.8 if way.layers == () else 1.0)
    told = []
    best, timed = fastest("mask", MADE, PLAN, 1e9, told.append)
    assert best == winner
    assert told == timed
    assert len(timed) == len(candidates(MADE, PLAN)) - 1
    assert next(one.ratio for one in timed if one.way == winner) == pytest.approx(0.5 / 0.8)


def test_the_usual_way_stays_where_others_are_hardly_faster(clock, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: True)
    clock(lambda way: 1.0 if way == PLAN.way else 0.98)
    assert fastest("mask", MADE, PLAN, 1e9)[0] == PLAN.way


def test_a_hopeless_way_is_given_up_after_one_step(clock, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: False)
    built = clock(lambda way: 1.0 if way.channels_last else 9.0)
    fastest("mask", MADE, PLAN, 1e9)
    slow = [one for one in built if not one.channels_last]
    assert slow
    quick = len(built) - len(slow) - 1
    assert tuning.time.monotonic() == pytest.approx(1 + 2 * 9 * len(slow) + (1 + 2 * tuning.TURNS) * quick)


def test_a_hiccup_drops_nobody(clock, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: False)
    winner = Way("float32", False, PLAN.layers)
    clock(lambda way: 0.5 if way == winner else 1.0)
    plain, steps = tuning.TimedStep.seconds, []

    def seconds(step):
        steps.append(plain(step))
        return 9.0 if len(steps) == 2 else steps[-1]  # the first of the first rival

    monkeypatch.setattr(tuning.TimedStep, "seconds", seconds)
    assert fastest("mask", MADE, PLAN, 1e9)[0] == winner


def test_what_there_is_no_time_for_is_told(clock, monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: True)
    clock(lambda way: 1.0)
    best, timed = fastest("mask", MADE, PLAN, 1 + 1 + 2 * tuning.TURNS + 1)
    assert best == PLAN.way
    assert [one.ratio is None for one in timed] == [False] + [True] * (len(timed) - 1)
    assert tuning.time.monotonic() <= 13 + 2  # a turn that had begun
    few = fastest("mask", MADE, PLAN, 1 + 1 + 2 * (tuning.FEWEST - 1))[1]
    assert few[0].ratio is None  # two turns tell nothing


def test_steps_are_taken_in_earnest():
    best, timed = fastest("mask", MADE, PLAN, 1.0)
    assert best in candidates(MADE, PLAN)
    assert any(one.ratio is not None and one.ratio > 0 for one in timed)


def test_a_timed_step_is_the_trainers_own_with_a_whole_batch(tmp_path):
    step = timed_step.TimedStep("mask", MADE | {"batch_size": 8}, PLAN, tmp_path)
    assert step.trainer.batch_size == step.trainer.micro_batch_size == 8
    before = step.trainer.network.backbone.get_classifier().weight.clone()
    assert step.seconds() > 0
    assert not before.equal(step.trainer.network.backbone.get_classifier().weight)
