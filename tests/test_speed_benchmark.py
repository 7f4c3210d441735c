"""The speed benchmark: its figures, its clock, and that the whole of it runs."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measures, plan_speed, speed
from pipeline.run.presets import PRESETS

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "speed.py"


def test_ratios_are_taken_within_a_turn():
    assert measures.ratios([2.0, 9.0, 1.0], [1.0, 3.0, 4.0]) == [2.0, 3.0, 0.25]
    with pytest.raises(ValueError, match="shorter"):
        measures.ratios([1.0, 2.0], [1.0])


def test_a_summary_is_the_median_and_the_spread():
    assert measures.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0, "turns": [3.0, 1.0, 2.0]}
    assert measures.summary([4.0, 1.0])["median"] == 2.5


def test_geometric_means_are_taken_turn_by_turn():
    assert measures.geometric_means([[1.0, 8.0], [4.0, 1.0], [2.0, 1.0]]) == pytest.approx([2.0, 2.0])


def test_a_table_has_its_columns_below_each_other():
    lines = measures.table(("what", "n"), [("photos", "12"), ("x", "345")]).splitlines()
    assert lines == ["what      n", "photos   12", "x       345"]


def test_every_figure_is_shown():
    one = measures.summaries({"ours": [0.5], "usual": [1.0]}, {"usual / ours": [2.0]})
    lines = measures.shown({"train": {"mask": one}}).splitlines()
    assert len(lines) == 1 + 3
    assert lines[-1].split() == ["train", "mask", "ratios", "usual", "/", "ours", "2", "2", "to", "2"]


def test_the_stopwatch_leaves_the_first_steps_out(monkeypatch):
    clock = iter([10.0, 16.0])  # it looks twice
    monkeypatch.setattr(speed, "now", lambda: next(clock))
    watch = speed.Stopwatch(before=2, steps=3)
    assert [watch.step() for _ in range(5)] == [False, False, False, False, True]
    assert watch.seconds == 6.0


def test_amounts_are_those_of_the_command_line_or_the_usual_ones(monkeypatch):
    monkeypatch.setattr(speed, "DEVICE", "cpu")
    given = speed.options(["--preset", "small", "--repeats", "7"])
    assert (given.repeats, given.photos, given.steps) == (7, 512, 20)
    assert speed.options(["--smoke", "--cost-photos", "65", "70"]).cost_photos == [65, 70]


@pytest.mark.slow
def test_the_whole_benchmark_runs(tmp_path):
    out = tmp_path / "x.json"
    command = [sys.executable, str(SCRIPT), "--smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["hardware"]["cores"] >= 1
    found = {part: {name: of["ratios"] for name, of in result[part].items() if "ratios" in of} for part in result
             if part in ("train", "predict", "cost")}  # fmt: skip
    assert set(found["train"]) == {"mask", "gender", "age", "geometric mean"}
    assert all(len(of) == 3 for of in found["train"].values())
    assert len(found["predict"]["three networks"]) == 3 * len(measures.engines())
    assert len(found["cost"]["both"]) == 3
    for metrics in (of for part in found.values() for ratios in part.values() for of in ratios.values()):
        values = [metrics["median"], metrics["low"], metrics["high"], *metrics["turns"]]
        assert all(math.isfinite(value) and value > 0 for value in values)
    assert "geometric mean" in done.stdout
    assert os.listdir(tmp_path) == ["x.json"]  # what it drew and ran is gone


def test_the_ways_that_the_plan_is_not(monkeypatch):
    made = PRESETS["small"]["gender"]
    monkeypatch.setattr(plan_speed.machine, "instructions", lambda: "avx2")
    names = ["the plan", "channels last", "without our swin", "timm's layers", "compiled"]
    found = plan_speed.ways(made, 1, True)
    assert list(found) == names
    assert [way.plan.layers for way in found.values()] == [("swin",), ("swin",), (), (), ()]
    monkeypatch.setattr(plan_speed.machine, "instructions", lambda: "avx512_bf16")
    found = plan_speed.ways(made, 1, False)
    assert list(found) == ["the plan", "channels last", "float32", "Muon in float32", "with our swin"]
    plans = [way.plan for way in found.values()]
    assert [plan.precision for plan in plans] == ["bfloat16", "bfloat16", "float32", "bfloat16", "bfloat16"]
    assert [plan.muon_precision for plan in plans] == ["bfloat16"] * 3 + ["float32", "bfloat16"]
    assert [plan.layers for plan in plans] == [(), (), (), (), ("swin",)]


@pytest.mark.slow
def test_every_way_is_timed(tmp_path):
    command = [sys.executable, str(SCRIPT.with_name("plan_speed.py")), "--smoke", "--repeats", "2", "--preset", "small"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for task in ("mask", "gender", "age"):
        plan = found[task]["the plan"]
        assert plan["the plan is faster by"]["turns"] == [1.0, 1.0]
        assert len(found[task]) > 1
        assert all(0 < one["seconds a step"]["low"] < math.inf for one in found[task].values())
    assert os.listdir(tmp_path) == []
