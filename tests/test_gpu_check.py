"""The check of a GPU, at toy size without one, and what it says where it cannot run."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check

SCRIPT = Path(gpu_check.__file__)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_check, "missing_packages", list)
    monkeypatch.setattr("pipeline.runtime.gpu.has_gpu", lambda: False)


def test_without_a_gpu_it_says_so_and_measures_nothing(machine, capsys, tmp_path):
    assert gpu_check.main([]) == 2
    assert "there is no GPU here; --smoke" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_way_out(machine, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "missing_packages", lambda: ["albumentations", "timm"])
    assert gpu_check.main([]) == 2
    assert (
        "lacks albumentations, timm; bring their wheels in a folder and name it with --wheels"
        in capsys.readouterr().err
    )


def test_packages_are_those_of_the_project(monkeypatch):
    assert gpu_check.missing_packages() == []
    here = gpu_check._is_here
    monkeypatch.setattr(gpu_check, "_is_here", lambda name: name not in ("timm", "openvino") and here(name))
    assert gpu_check.missing_packages() == ["timm"]  # a GPU does without openvino


def test_wheels_of_a_folder_come_first(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "brought_along-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought_along.py", "here = True\n")
        wheel.writestr(
            "brought_along-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: brought-along\nVersion: 1.0\n"
        )
        wheel.writestr(
            "brought_along-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("brought_along-1.0.dist-info/RECORD", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "before")
    site = gpu_check.install(tmp_path)
    import brought_along

    assert brought_along.here
    assert gpu_check._is_here("brought-along")
    assert gpu_check.os.environ["PYTHONPATH"] == f"{site}{gpu_check.os.pathsep}before"
    with pytest.raises(SystemExit, match=r"there is no \.whl file"):
        gpu_check.install(tmp_path / "nowhere")


def test_a_section_without_time_is_told_and_ended(tmp_path, monkeypatch):
    assert gpu_check._in_a_process("steps", [], tmp_path, 0.5) == {"failed": "no time was left"}
    found = gpu_check._in_a_process("steps", ["--smoke"], tmp_path, 1.0)
    assert found == {"failed": "no time was left after 1 s"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_section_ends_with_the_check(number, tmp_path):
    command = [sys.executable, str(SCRIPT), "--smoke", "--only", "train", "--out", str(tmp_path / "found.json")]
    # a suite that a shell runs in the background hands on that Ctrl-C is to be ignored
    check = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (places := list(tmp_path.glob("face18-gpu-check-*/train/people"))) and check.poll() is None:
        time.sleep(0.05)
    assert places
    check.send_signal(number)
    check.wait(60)
    assert check.returncode != 0
    assert not [name for name in Path("/proc").glob("[0-9]*/cwd") if str(tmp_path) in _target(name)]
    assert not (tmp_path / "found.json").exists()


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # a process that has ended, or another user's
        return ""


def test_a_failure_is_found_wherever_it_stands(machine, monkeypatch, capsys, tmp_path):
    found = {"steps": {"mask": {"failed": "mask waits at trainer.py:7"}}, "scores": {"lite": {"macro_f1": 0.5}}}
    assert list(gpu_check._failures(found)) == ["mask waits at trainer.py:7"]
    monkeypatch.setattr(gpu_check, "check", lambda *_: {"scores": {"failed": "no time was left"}})
    assert gpu_check.main(["--only", "scores"]) == 1
    assert "no time was left; nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_waits_are_errors_in_the_watched_steps_alone(monkeypatch, tmp_path):
    """On a machine without a GPU the mode is only asked for."""
    from benchmarks import measures
    from benchmarks.speed import settings_of

    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", asked.append)
    monkeypatch.setattr(measures, "DEVICE", "cuda")
    trainer = gpu_check._trainer("mask", settings_of("base", smoke=True)["mask"])
    with pytest.raises(gpu_check._EnoughError):
        trainer.run()
    assert asked == ["error", "default"] * 3
    assert trainer.made_steps == 6


RESULT = {
    "date": "2026-01-02T03:04:05+00:00",
    "hardware": {"gpu": "Some GPU", "cores": 16, "processor": "Some CPU"},
    "steps": {"mask": {"waits within a step": "none", "memory in GB": 1.23456}},
    "train": {"mask": {"ratios": {"usual / ours": {"median": 4.0, "low": 3.0, "high": 5.0, "turns": [3.0, 4.0, 5.0]}}}},
    "scores": {"failed": "no time was left"},
}


def test_a_result_is_shown_as_a_table(tmp_path, capsys):
    (tmp_path / "x.json").write_text(json.dumps(RESULT))
    assert gpu_check.main(["--table", str(tmp_path / "x.json")]) == 0
    told = capsys.readouterr().out
    assert told.startswith("2026-01-02, Some GPU, 16 cores of Some CPU")
    assert "| steps | mask | memory in GB | 1.235 |" in told
    assert "| train | mask | ratios, usual / ours | 4 (3 to 5) |" in told
    assert "| scores |  | failed | no time was left |" in told


@pytest.mark.slow
def test_the_whole_check_runs_at_toy_size(tmp_path):
    command = [sys.executable, str(SCRIPT), "--smoke", "--out", str(tmp_path / "found.json"), "--minutes", "30"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["steps"]) == {"mask", "gender", "age", "seconds in all"}
    for task in ("mask", "gender", "age"):
        assert found["train"][task]["ratios"]["usual / ours"]["median"] > 0
    assert found["predict"]["three networks"]["ratios"]["usual / ours, torch"]["median"] > 0
    for preset in gpu_check.SCORED:
        assert 0 < found["scores"][preset]["macro_f1"] < 1
    assert "| scores | lite | macro_f1 |" in made.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["found.json"]
