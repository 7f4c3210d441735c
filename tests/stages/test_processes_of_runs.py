"""Whole trainings by several processes: killed, stopped, refused, and over what stands for two machines."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import SMALL, TINY

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.stages.train import train
from pipeline.training import launch

ROOT = Path(__file__).parents[2]
FOLD = Path("runs/one/age/fold0")
SAME = ("weights.safetensors", "validation.csv")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
LONGEST = 120
"""Seconds that a training may take, one that begins anew too."""


def words(people, **given):
    made = {"run": Path("runs/one"), "data": people} | TINY["age"] | SMALL | {"epochs": 8} | given
    return Train.of(task="age", **made).words()


def begun(folder, *command):
    """A command at work in a folder."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def by_two(folder, people, **given):
    return begun(folder, sys.executable, "-m", "pipeline", "train", *words(people, **({"processes": 2} | given)))


def until(there, process):
    """Wait until something is so, while a process is at work."""
    end = time.monotonic() + LONGEST
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def in_an_epoch(folder, process):
    """Wait until a training is within its second epoch."""
    until((folder / FOLD / "log.csv").is_file, process)
    time.sleep(0.2)


def children(process):
    """The processes that a process has begun, but for the one that sees to its semaphores."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in found}
    return [child for child, command in commands.items() if b"resource_tracker" not in command]


def ended(process):
    out, err = process.communicate(timeout=LONGEST)
    return process.returncode, out, err


def contents(folder):
    return [(folder / FOLD / name).read_bytes() for name in SAME]


def log_of(folder):
    return [line.rsplit(",", 1)[0] for line in (folder / FOLD / "log.csv").read_text().splitlines()]  # without seconds


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory):
    """An undisturbed training by two processes: its folder and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    status, out, err = ended(by_two(folder, people))
    assert (status, err) == (0, "")
    return folder, out


def check_same(folder, whole):
    assert contents(folder) == contents(whole[0])
    assert log_of(folder) == log_of(whole[0])
    assert not list((folder / FOLD).glob("resume-*.pt"))


@pytest.mark.slow
def test_two_processes_train_one_network_and_the_first_speaks(whole, people, monkeypatch, capsys):
    folder, out = whole
    assert out.count("epoch 8/8") == 1
    assert "MB of disk; 2 processes share each batch\n" in out
    assert store.read_json(folder / FOLD / "settings.json")["plan"]["processes"] == 2
    monkeypatch.chdir(folder)
    assert main(["train", *words(people, processes=2)]) == 0  # in this process: what is finished needs no others
    assert capsys.readouterr().out.startswith("train age: fold 0 is finished")


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_process_killed_in_an_epoch_changes_no_byte(whole, people, tmp_path, which):
    training = by_two(tmp_path, people)
    in_an_epoch(tmp_path, training)
    os.kill(children(training.pid)[which], signal.SIGKILL)
    status, out, err = ended(training)
    assert (status, err) == (0, "")
    assert "train age: a process was lost; all begin anew (1 of 3 times)\n" in out
    assert re.search(r"goes on at step \d+ of", out)
    check_same(tmp_path, whole)


@pytest.mark.slow
def test_nor_does_one_of_three(people, tmp_path):
    """Three add up their gradients in an order of their own, which is the same when they begin anew."""
    through, killed = (by_two(tmp_path / name, people, processes=3, epochs=3) for name in ("through", "killed"))
    in_an_epoch(tmp_path / "killed", killed)
    os.kill(children(killed.pid)[1], signal.SIGKILL)
    told = [ended(training) for training in (through, killed)]
    assert [(status, err) for status, _, err in told] == [(0, "")] * 2
    assert ["begin anew" in out for _, out, _ in told] == [False, True]
    assert contents(tmp_path / "through") == contents(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_with_a_checkpoint(whole, people, tmp_path, number):
    training = by_two(tmp_path, people)
    in_an_epoch(tmp_path, training)
    os.killpg(training.pid, number)  # as Ctrl-C and `timeout` do
    status, _, err = ended(training)
    assert status == 128 + number
    told = re.fullmatch(
        rf"face18: age fold 0: stopped by {number.name} at step (\d+) of \d+; the same command goes on there\.\n", err
    )
    assert told, err
    status, out, err = ended(by_two(tmp_path, people))
    assert (status, err) == (0, "")
    assert f"goes on at step {told[1]} of" in out
    check_same(tmp_path, whole)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all(people, tmp_path):
    training = by_two(tmp_path, people)
    in_an_epoch(tmp_path, training)
    os.kill(children(training.pid)[1], signal.SIGTERM)
    status, _, err = ended(training)
    assert (status, err.count("\n"), "stopped by SIGTERM at step" in err) == (143, 1, True)


@pytest.mark.slow
def test_one_that_was_begun_by_nohup_goes_on_when_its_terminal_closes(people, tmp_path):
    command = shlex.join([sys.executable, "-m", "pipeline", "train", *words(people, processes=2)])
    training = begun(tmp_path, "bash", "-c", f"trap '' HUP; exec {command}")
    in_an_epoch(tmp_path, training)
    os.killpg(training.pid, signal.SIGHUP)
    status, out, err = ended(training)
    assert (status, err, out.count("epoch 8/8"), "begin anew" in out) == (0, "", 1, False)


def faulty(settings):
    raise ValueError("of ours")


@pytest.mark.slow
def test_a_fault_of_ours_is_told_and_is_none_of_the_users(tmp_path, capfd):
    with pytest.raises(RuntimeError, match=r"process \d of 2 failed, as told above"):
        launch.launch(faulty, Train.of(task="age", run=tmp_path, processes=2))
    assert "ValueError: of ours" in capfd.readouterr().err


@pytest.mark.slow
def test_what_the_user_can_mend_is_told_once_and_not_tried_again(people, tmp_path):
    status, out, err = ended(by_two(tmp_path, people, batch_size=1))
    told = "face18: age fold 0: 1 photos a step cannot be shared by 2 processes; give fewer processes, or a larger "
    assert (status, err) == (2, f"{told}--batch-size.\n")
    assert "begin anew" not in out


@pytest.mark.slow
def test_what_one_process_alone_meets_ends_all(people, tmp_path):
    """A loader process of the second is killed: the first would wait for it."""
    training = by_two(tmp_path, people, workers=1)
    in_an_epoch(tmp_path, training)
    os.kill(children(children(training.pid)[1])[0], signal.SIGKILL)
    status, out, err = ended(training)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("face18: age fold 0: a loader process died of SIGKILL")
    assert "begin anew" not in out


@pytest.mark.slow
def test_begun_anew_again_and_again_it_ends_with_a_sentence(people, tmp_path):
    training = by_two(tmp_path, people, epochs=400)
    for _ in range(launch.RESTARTS + 1):
        in_an_epoch(tmp_path, training)
        os.kill(children(training.pid)[1], signal.SIGKILL)
        (tmp_path / FOLD / "log.csv").unlink()
    status, _, err = ended(training)
    told = "process 1 of 2 ended (SIGKILL), after all had begun anew 3 times; the same command goes on from the last"
    assert (status, err) == (2, f"face18: train age: {told} checkpoint.\n")


@pytest.mark.slow
def test_a_fold_that_is_begun_anew_is_so_once(whole, people, tmp_path):
    """A process that is killed after --restart has no other fold thrown away, nor the new one."""
    (tmp_path / FOLD).mkdir(parents=True)
    training = by_two(tmp_path, people, restart=True)
    in_an_epoch(tmp_path, training)
    os.kill(children(training.pid)[0], signal.SIGKILL)
    status, out, _ = ended(training)
    assert status == 0
    assert out.count("the old folder is kept as") == 1
    assert "goes on at step" in out
    assert contents(tmp_path) == contents(whole[0])


def command_of_the_guide():
    """The lines of the page on machines that train over two machines."""
    return re.search(r"```\n(export TORCH_.*?)```", (ROOT / "docs/machines.md").read_text(), re.DOTALL)[1]


@pytest.mark.slow
def test_the_guides_command_trains_over_two_machines_and_outlasts_a_kill(whole, people, tmp_path):
    """Two agents of torchrun on this one, each with a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = command_of_the_guide()
    for there, here in [
        (".venv/bin/torchrun", f"exec {Path(sys.prefix)}/bin/torchrun"),
        ("first:29400", f"localhost:{port}"),
        ("--rdzv-backend", "--local-addr localhost --rdzv-backend"),
        ("train age --run runs/x", f"train {shlex.join(words(people))}"),
    ]:
        assert command.count(there) == 1, command
        command = command.replace(there, here)
    machines = [begun(tmp_path, "bash", "-c", command) for _ in range(2)]
    in_an_epoch(tmp_path, machines[0])
    os.kill(children(machines[1].pid)[0], signal.SIGKILL)
    told = [ended(machine) for machine in machines]
    assert [status for status, _, _ in told] == [0, 0], told
    assert sum(out.count("epoch 8/8") for _, out, _ in told) == 1
    assert not any("Traceback" in err for _, _, err in told)
    check_same(tmp_path, whole)


def test_processes_are_begun_where_there_is_work_alone(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr(launch, "launch", lambda *given: calls.append(given) or {"fold0": "done"})
    given = {"run": Path("runs/one"), "data": people, "preset": "small", "processes": 3}
    assert train(Train.of(task="age", **given)) == {"fold0": "done"}
    assert [(stage, settings.processes) for stage, settings in calls] == [(train, 3)]
    assert train(Train.of(task="age", plan=True, **given))["fold0"]["processes"] == 3
    assert "loader processes in each of 3 processes" in capsys.readouterr().out
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(UserError, match="--restart: processes that torchrun begins anew would throw away"):
        train(Train.of(task="age", restart=True, **given))
    assert len(calls) == 1
