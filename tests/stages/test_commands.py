"""The commands that train a run in many places: given to bash, xargs, ssh and srun as they are printed."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.errors import UserError
from pipeline.arguments import parse
from pipeline.run.fold_records import begun_fold, is_finished
from pipeline.stages import commands as stage
from pipeline.stages.commands import Commands, commands

ROOT = Path(__file__).parents[2]
TOOLS = {
    "program": 'import json, os, sys\nwith open("asked", "a") as f:\n'
    '    f.write(json.dumps([os.environ.get("CUDA_VISIBLE_DEVICES"), os.getcwd(), sys.argv[1:]]) + "\\n")\n'
    "sys.stdin.read()\n",
    "ssh": 'import os, sys\nopen(f"to-{sys.argv[1]}", "w")\nos.execvp(sys.argv[2], sys.argv[2:])\n',
    "srun": "import os, sys\nos.execv(sys.argv[1], sys.argv[1:])\n",
}
"""What stands for face18, ssh and srun; the first notes how it was called, and reads what it could read."""


@pytest.fixture
def told(copy, tmp_path, monkeypatch, capsys):
    """A run with one finished fold of each specialist; prints commands and runs them as scripts."""
    tools = tmp_path / "to ols"
    tools.mkdir()
    for name, code in TOOLS.items():
        (tools / name).write_text(f"#!{sys.executable}\n{code}")
        (tools / name).chmod(0o755)
    monkeypatch.setattr(stage, "_program", lambda: [str(tools / "program")])
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)

    def asked(run=True, system="specialists", status=0, **settings):
        commands(Commands.of(run=copy.run, system=system, **settings))
        copy.script = capsys.readouterr().out
        (tmp_path / "asked").write_text("")
        if run:
            (tmp_path / "jobs.sh").write_text(copy.script)
            slots = re.findall(r"^(\d+)\) ", copy.script, re.MULTILINE) or [""]
            for slot in slots:
                more = {"SLURM_ARRAY_TASK_ID": slot}
                done = subprocess.run(
                    ["bash", "jobs.sh"], cwd=tmp_path, env=copy.environment | more, capture_output=True
                )
                assert done.returncode == status, done.stderr
                assert status or done.stderr == b""
        return [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]

    copy.asked, copy.environment = asked, environment
    return copy


def trainings(asked) -> list[tuple[str, str]]:
    """The network and fold of each call, parsed as the stage train takes them."""
    found = []
    for _, folder, (name, *words) in asked:
        assert (folder, name) == (os.getcwd(), "train")
        _, settings = parse("train", words)
        assert settings.run == Path("runs/one")
        found.append((settings.task, settings.folds))
    return found


LEFT = {(task, str(fold)) for task in ("mask", "gender", "age") for fold in range(1, 5)}


def test_each_training_that_is_left_is_a_line(told):
    assert set(trainings(told.asked())) == LEFT
    assert "# 12 trainings of runs/one, beside 3 that are finished." in told.script
    assert f"# Afterwards: {shlex.quote(stage._program()[0])} predict --run runs/one" in told.script


def test_the_longest_come_first(told):
    tasks = [task for task, _ in trainings(told.asked(epochs=3, folds="1,2"))]
    assert tasks == ["gender", "gender", "age", "age", "mask", "mask"]


def test_gpus_have_one_training_each(told):
    asked = told.asked(gpus=3)
    assert set(trainings(asked)) == LEFT
    assert len(asked) == 12
    assert {gpu for gpu, *_ in asked} == {"0", "1", "2"}
    assert all(parse("train", words[1:])[1].share == 3 for *_, words in asked)
    told.asked(gpus=3, share=1, run=False)
    assert "--share 3" in told.script
    told.asked(gpus=3, share=2, run=False)
    assert "--share 2" in told.script


def test_gpus_that_are_visible_are_used(told, monkeypatch):
    environment = {"CUDA_VISIBLE_DEVICES": "4,7,5"}
    told.environment |= environment
    assert {gpu for gpu, *_ in told.asked(gpus=2)} == {"4", "7"}
    assert told.asked(gpus=4, status=2) == []


def test_a_killed_training_does_not_keep_the_others_from_the_gpus(told, tmp_path):
    program = tmp_path / "to ols/program"
    program.write_text(program.read_text() + "import signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert set(trainings(told.asked(gpus=2, status=123))) == LEFT


def test_a_machine_that_cannot_be_reached_is_told_by_the_status(told, tmp_path):
    (tmp_path / "to ols/ssh").write_text(f"#!{sys.executable}\n" + "import sys\nsys.exit(255 * (sys.argv[1] == 'b'))")
    told.asked(machines="a,b,c", folds="1", status=255)


def test_a_script_for_machines_ends_its_connections_when_it_is_stopped(told, tmp_path):
    ssh = tmp_path / "to ols/ssh"
    ssh.write_text(f"#!{sys.executable}\nimport os, time\nopen(f'pid-{{os.getpid()}}', 'w')\ntime.sleep(60)\n")
    told.asked(machines="a,b", folds="1", run=False)
    (tmp_path / "jobs.sh").write_text(told.script)
    with subprocess.Popen(["bash", "jobs.sh"], cwd=tmp_path, env=told.environment, start_new_session=True) as script:
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(60) == 130
    for path in tmp_path.glob("pid-*"):
        process = Path("/proc") / path.name.removeprefix("pid-")
        while process.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not process.exists()


def test_machines_train_their_share_first_and_then_what_is_left(told, tmp_path):
    asked = told.asked(machines="node1, node2,node3", folds="1")
    assert sorted(trainings(asked)) == sorted([("mask", "1"), ("gender", "1"), ("age", "1")] * 3)
    assert {path.name for path in tmp_path.glob("to-*")} == {"to-node1", "to-node2", "to-node3"}
    blocks = told.script.split("ssh ")[1:]
    assert all(block.index("true\n} </dev/null") for block in blocks)
    firsts = [re.search(r" train (\w+) ", block)[1] for block in blocks]
    assert sorted(firsts) == ["age", "gender", "mask"]


def test_an_array_has_a_training_each(told):
    assert set(trainings(told.asked(slurm=True))) == LEFT
    assert "#SBATCH --array=0-11\n" in told.script
    first = next(line for line in told.script.splitlines() if line and not line.startswith("#"))
    assert told.script.rindex("#SBATCH") < told.script.index(first), "sbatch reads its settings before any command"


def test_settings_go_to_the_networks_that_know_them(told):
    asked = told.asked(gpus=2, epochs=2.5, rare_ages=0.5, workers=1, folds="1")
    given = {parse("train", words[1:])[1].task: parse("train", words[1:])[1] for *_, words in asked}
    assert all(one.training["epochs"] == 2.5 and one.workers == 1 for one in given.values())
    assert [task for task, one in given.items() if "rare_ages" in one.training] == ["age"]


def test_the_detector_of_faces_goes_along(told, tmp_path):
    (tmp_path / "it.onnx").write_text("")
    asked = told.asked(folds="1", face_model=Path("it.onnx"))
    assert {parse("train", words[1:])[1].shared["face_model"] for *_, words in asked} == {Path("it.onnx")}


def test_processors_asked_of_sbatch_reach_srun(told, tmp_path):
    told.environment["SLURM_CPUS_PER_TASK"] = "8"
    (tmp_path / "to ols/srun").write_text(
        f"#!{sys.executable}\nimport os, sys\nassert sys.argv[1] == '--cpus-per-task=8'\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    assert set(trainings(told.asked(slurm=True))) == LEFT


def test_names_may_hold_any_sign(told, tmp_path, monkeypatch):
    odd = Path('runs/it\'s "one" & only')
    told.run.rename(odd)
    told.run = odd
    for settings in ({}, {"gpus": 2}, {"machines": "a"}, {"slurm": True}):
        asked = told.asked(folds="1", **settings)
        assert {parse("train", words[1:])[1].run for *_, words in asked} == {odd}
        assert len(asked) == 3
    assert "#SBATCH --job-name=face18-it-s--one----only\n" in told.script


def test_a_rival_is_named(told):
    asked = told.asked(system="joint", folds="0,1")
    assert trainings(asked) == [("joint", "0"), ("joint", "1")]
    assert "predict --run runs/one --system joint" in told.script


def test_nothing_is_left_where_all_is_finished(told):
    assert told.asked(folds="0", slurm=True) == []
    assert "# 0 trainings of runs/one, beside 3 that are finished." in told.script
    assert "SBATCH" not in told.script


def test_the_first_stage_of_a_run_may_be_this_one(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands(Commands.of(run=Path("runs/new"), data=people, preset="small", slurm=True))
    assert "# 15 trainings of runs/new, beside 0 that are finished." in capsys.readouterr().out
    assert (tmp_path / "runs/new/run.json").is_file()


def test_a_fold_that_is_left_out_is_not_trained(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = commands(Commands.of(run=Path("runs/new"), data=people, preset="small", leave_out=2))
    assert found == {"trainings": 12, "finished": 0}
    assert "--folds 2" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gpus": 2, "slurm": True}, "--gpus and --slurm are two ways to train; give one of them."),
        ({"gpus": 2, "processes": 2}, "--gpus gives each training one GPU, and --processes wants more for each"),
        ({"machines": "a,,b"}, "a name is blank; give names"),
        ({"machines": "a,b,a"}, "a is named twice"),
        ({"machines": "a,-oProxyCommand=x"}, "-oProxyCommand=x is no name"),
        ({"folds": "7"}, "FOLDS=7"),
        ({"run": Path("runs/none")}, "there is no run runs/none yet"),
        ({"flip": True}, "there is no setting flip"),
    ],
)
def test_what_cannot_be_is_told(copy, settings, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        commands(Commands.of(**({"run": copy.run} | settings)))
    assert not Path("runs/none").exists()


def test_a_name_that_would_end_a_line_is_refused(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'runs/a\\nrm b' cannot stand in a script"):
        commands(Commands.of(run=Path("runs/a\nrm b"), data=people, preset="small"))


def test_a_run_may_be_called_like_a_network(told):
    told.run.rename("mask")
    told.run = Path("mask")
    assert [parse("train", words[1:])[1].run for *_, words in told.asked(folds="1")] == [Path("mask")] * 3


def test_a_setting_that_no_network_of_the_system_knows_is_told(copy):
    with pytest.raises(UserError, match="has no setting --rare-ages"):
        commands(Commands.of(run=copy.run, system="joint", rare_ages=0.5))


@pytest.mark.slow
def test_two_gpus_train_a_run_by_the_commands(copy, tmp_path):
    """Real trainings: processes on one processor stand for those on GPUs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    given = ["--run", "runs/one", "--gpus", "2", "--folds", "0,1", "--threads", "1", "--epochs", "0.5"]
    told = subprocess.run(
        [sys.executable, "-m", "pipeline", "commands", *given], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    (tmp_path / "jobs.sh").write_text(told.stdout)
    done = subprocess.run(["bash", "jobs.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("mask", "gender", "age"):
        assert is_finished(copy.run / task / "fold1")
        assert begun_fold(copy.run / task / "fold1").settings.backbone == (
            begun_fold(copy.run / task / "fold0").settings.backbone
        )
