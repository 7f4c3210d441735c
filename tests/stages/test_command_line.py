"""python -m pipeline and make, as a user meets them."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import SMALL, TINY

from pipeline import __main__ as command_line
from pipeline.__main__ import STAGES, main
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.run.train_settings import Train
from pipeline.runtime import store
from pipeline.training import trainer

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "pandas", "numpy", "timm", "sklearn", "albumentations")


def python(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options
    )


@pytest.mark.parametrize("stage", ["", *STAGES])
def test_help_reads_well_and_imports_nothing_heavy(stage):
    script = (
        "import sys\nfrom pipeline.__main__ import main\n"
        "try:\n main(sys.argv[1:])\n"
        f"finally:\n sys.stderr.write('HEAVY ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    told = python("-c", script, *([stage] if stage else []), "--help")
    assert told.stderr.strip().endswith("HEAVY")
    assert "None" not in told.stdout
    for word in (stage or "submit", "--help"):
        assert word in told.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bake"], "there is no stage bake"),
        (["train", "age", "--folds", "7"], "FOLDS=7"),
        (["train", "age", "--folds", "²"], "FOLDS=²: say all, or numbers from 0 to 4"),
        (["train", "age", "--folds", "10", "--held-out", "0.1"], "FOLDS=10: say all, or numbers from 0 to 9"),
        (["train", "age", "--held-out", "0.3"], "--held-out 0.3: it must be one of 0.2, 0.1 or 0.05"),
        (
            ["train", "age", "--split", "foto"],
            "--split foto: it must be one of person or photo; perhaps you mean photo",
        ),
        (["train", "age", "--recipe", "note-swins"], "--recipe note-swins: there is no such recipe; perhaps you mean"),
        (["prepare", "--recipe", "note-swins"], "--recipe note-swins: there is no such recipe; perhaps you mean"),
        (["train", "age", "--recipe", "note-swin"], "the recipe note-swin has no network age; it trains joint"),
        (
            ["train", "mask", "--age-loss", "l1"],
            "train mask has no setting --age-loss; train age and multihead have it",
        ),
        (["train", "age", "--epochs", "0"], "--epochs 0: it must be above 0"),
        (
            ["train", "mask", "--loss", "focall"],
            "--loss focall: it must be one of cross_entropy, focal or soft_f1; perhaps",
        ),
        (["train", "mask", "--age-head", "bands"], "train mask has no setting --age-head"),
        (["train", "age", "--seed", "-1"], "--seed -1: it must be from 0 to 1000000000000000"),
        (["train", "age", "--warmup", "1.5"], "--warmup 1.5: it must be from 0 to 1"),
        (["train", "age", "--backbone-options", "{"], "--backbone-options"),
        (["prepare", "--data", "nowhere"], "nowhere"),
        (["predict", "--run", "runs/none"], "there is no run runs/none"),
        (["calibrate", "--run", "runs/none", "--prior", "x"], "--prior x: say auto, train, estimate, or"),
        (["check", "compare", "--", "--", "--systems", "joint-swim"], "perhaps you mean joint-swin"),
        (["check", "submit", "--", "--", "--epochs", "5"], "make submit has no setting --epochs; train, train-mask, "),
        (
            ["check", "train-mask", "--", "--", "--age-loss", "l1"],
            "no setting --age-loss; train-age and train-multihead have it",
        ),
        (
            ["check", "train-age", "--", "--", "--optimizer", "adamm"],
            "muon, adamw, adam or radam; perhaps you mean adam",
        ),
        (["check", "train-age", "--", "--", "--epochs", "inf"], "--epochs inf: it must be above 0"),
        (["check", "help", "--", "--", "--epochs", "5"], "make help takes no ARGS"),
        (["check", "calibrate", "--", "--", "--bogusness", "5"], "no stage has it"),
        (["check", "train-age", "--", "--", "--epoch", "5"], "no setting --epoch; perhaps you mean --epochs"),
        (["check", "calibrate", "--", "--", "--prior", "0.5,0.5"], "the prior needs three shares"),
        (
            ["check", "submit", "--", "--preset", "medium", "--"],
            "--preset medium: it must be one of lite, small, base or large",
        ),
        (
            ["check", "submit", "--", "--system", "join", "--"],
            "--system join: it must be one of specialists, joint or multihead; perhaps",
        ),
        (["check", "train-age", "--", "--threads", "0", "--"], "--threads 0: it must be 1 or more"),
        (["train", "age", "--workers", "-1"], "--workers -1: it must be 0 or more"),
        (["train", "age", "--checkpoint-seconds", "0"], "--checkpoint-seconds 0: it must be above 0"),
        (["predict", "--threads", "-2"], "--threads -2: it must be 1 or more"),
        (["compare", "--times", "0"], "--times 0: it must be 1 or more"),
        (["score", "--bogus"], "score has no setting --bogus; python -m pipeline score --help lists them"),
        (["score", "--bogus=1"], "score has no setting --bogus"),
        (["train", "age", "--epoch", "5"], "train has no setting --epoch; perhaps you mean --epochs"),
        (["train", "age", "--epochs"], "--epochs: its value is missing"),
        (["train", "age", "--epochs", "--plan"], "--epochs: its value is missing"),
        (["train", "age", "--epochs", "five"], "--epochs five: it must be a number."),
        (["train", "age", "--epochs", "None"], "--epochs None: it must be a number."),
        (["train", "age", "--batch-size", "1.5"], "--batch-size 1.5: it must be a whole number."),
        (["train", "age", "--plan=yes"], "--plan: it takes no value; say --plan alone"),
        (["train"], "train trains one network: mask, gender, age, joint or multihead, and nothing was named"),
        (["train", "hair"], "train trains one network: mask, gender, age, joint or multihead, not hair"),
        (["train", "mask", "age"], "not mask age"),
        (["prepare", "faces"], "prepare does not know what to do with faces; settings begin with two dashes"),
        (
            ["predict", "--eval", "s/a.tar", "s/b.tar"],
            "predict does not know what to do with s/b.tar; put a pattern in quotes, as --eval 'shards/*.tar'",
        ),
        (["prepare", "--crop", "x"], "--crop x: it must be a number."),
        (["prepare", "--preset", "None"], "--preset None: it must be one of"),
        (["prepare", "--data", "~/nowhere"], str(Path.home() / "nowhere")),
    ],
)
def test_mistakes_get_one_sentence_and_status_2(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.startswith("face18: ")
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("runs/*/*/fold*"))


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EFBIG, "disk is full"),
     (errno.EIO, "disk reports an error"), (errno.ESTALE, "disk reports an error"),
     (errno.EACCES, "may not be written"), (errno.EROFS, "may not be written"),
     (errno.ENOENT, "not there any more")],
)  # fmt: skip
def test_what_the_system_refuses_gets_one_sentence_and_status_2(number, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs/one").mkdir(parents=True)

    def refuse(_):
        raise OSError(number, os.strerror(number), "runs/one/run.json")

    monkeypatch.setattr(command_line, "parse", lambda *_: (refuse, None))
    assert main(["prepare"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("face18: runs/one/run.json: ")
    assert told in line


def test_a_python_without_the_packages_gets_one_sentence(tmp_path):
    told = python("-S", "-m", "pipeline", "recipes", "--help")
    assert told.returncode == 0  # what is only told needs none
    told = python("-S", "-m", "pipeline", "prepare", "--run", str(tmp_path / "run"))
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert re.search(r"the package \w+ is not installed", line)
    assert "make setup" in line


def test_a_folder_that_is_not_there_leaves_no_run_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "--data", "nowhere"]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_check_records_what_stages_before_the_named_goal_must_know(people, tmp_path, capsys):
    """make gives ARGS to the named goals alone, but a run's own settings concern every stage."""
    run = tmp_path / "run"
    shared = ["--run", str(run), "--data", str(people), "--threads", "1"]
    assert main(["check", "submit", "--", *shared, "--", "--held-out", "0.1", "--skip-bad-photos"]) == 0
    assert open_run(RunStage.of(run=run)).folds == 10
    assert open_run(RunStage.of(run=run)).skip_bad_photos
    store.write_json(run / "age/fold0/settings.json", {})  # a training has begun
    assert main(["check", "submit", "--", *shared, "--", "--held-out", "0.2"]) == 2
    assert "was trained with held-out 0.1, not 0.2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["calibrate", "--", "--", "--prior", "train"], ["submit", "--", "--eval", "x", "--", "--crop", "0.5"],
     ["score", "--", "--", "--crop", "0.5"], ["clean", "submit", "--", "--preset", "base", "--"]],
)  # fmt: skip
def test_check_makes_no_run_where_no_stage_would(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", *words]) == 0
    assert not list(tmp_path.iterdir())


def test_check_accepts_what_every_goal_knows():
    assert main(["check", "train-mask", "train-age", "--", "--run", "runs/one", "--", "--epochs", "5", "--lr=0.1"]) == 0


def tiny(task: str, data: Path) -> list[str]:
    settings = {"run": Path("runs/one"), "data": data, "preset": "small"} | TINY[task] | SMALL | {"epochs": 3}
    return ["-m", "pipeline", "train", *Train.of(task=task, **settings).words()]


@pytest.mark.slow  # the same kill, without starting Python anew, is in tests/faults
def test_a_killed_run_goes_on_to_the_same_bytes(people, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert python(*tiny("age", people), cwd=tmp_path / "whole", env=environment).returncode == 0
    log = tmp_path / "killed/runs/one/age/fold0/log.csv"
    process = subprocess.Popen([sys.executable, *tiny("age", people)], cwd=tmp_path / "killed", env=environment)
    while not log.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fold = log.parent
    assert list(fold.glob("resume-*.pt"))
    assert not (fold / "validation.csv").is_file()
    again = python(*tiny("age", people), cwd=tmp_path / "killed", env=environment)
    assert "goes on at step" in again.stdout
    for name in ("weights.safetensors", "validation.csv"):
        assert (fold / name).read_bytes() == (tmp_path / "whole/runs/one/age/fold0" / name).read_bytes()
    assert not list(fold.glob("resume-*.pt"))


def test_two_trainings_of_one_fold_are_kept_apart(people, tmp_path, monkeypatch, capsys):
    train_step, statuses = trainer.Trainer.train_step, []

    def begin_again(*given):
        if not statuses:
            statuses.append(main(tiny("age", people)[2:]))
        train_step(*given)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer.Trainer, "train_step", begin_again)
    assert main(tiny("age", people)[2:]) == 0
    assert statuses == [2]
    assert str(os.getpid()) in capsys.readouterr().err


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ARGS"))}  # of make test
    return subprocess.run(["make", *arguments], capture_output=True, text=True, cwd=cwd, env=own)


def test_plain_make_lists_every_target_without_an_environment(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    told = make(cwd=tmp_path)
    assert told.returncode == 0
    targets = (
        "setup data prepare train train-mask train-gender train-age predict calibrate submit score recipes "
        "compare test test-slow test-faults bench gpu-check"
    )
    for target in [*targets.split(), "lint", "clean"]:
        assert f"  {target} " in told.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_side_by_side_gives_the_bytes_of_one_after_another(people, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    goals, venv = ["train-mask", "train-gender", "train-age"], sys.prefix
    for name in ("-j1", "-j3"):
        (tmp_path / name).mkdir()
        for file in ("pyproject.toml", "constraints.txt"):
            (tmp_path / name / file).symlink_to(ROOT / file)
        told = subprocess.run(
            ["make", name, "-f", ROOT / "Makefile", "-o", f"{venv}/face18.txt", *goals, f"DATA={people}",
             "RUN=runs/one", "THREADS=1", f"VENV={venv}", "ARGS=--epochs 1 --height 64 --width 48"],
            cwd=tmp_path / name, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
    for task in ("mask", "gender", "age"):
        for file in ("weights.safetensors", "validation.csv"):
            serial, beside = (tmp_path / name / "runs/one" / task / "fold0" / file for name in ("-j1", "-j3"))
            assert serial.read_bytes() == beside.read_bytes()


def test_make_passes_on_only_what_the_user_set(tmp_path):
    data, run = tmp_path / "my photos", tmp_path / "run"
    data.mkdir()
    plain = make("-n", "submit", f"VENV={sys.prefix}", "BESIDE=").stdout
    assert "--" not in "".join(line for line in plain.splitlines() if "pipeline train" in line)
    full = make(
        "-n",
        "submit",
        f"VENV={sys.prefix}",
        f"DATA={data}",
        f"RUN={run}",
        "PRESET=base",
        "FOLDS=all",
        "RECIPE=note-specialists",
        "FACES=auto",
        "THREADS=1",
        "BESIDE=",
    ).stdout
    trains = [line for line in full.splitlines() if "pipeline train" in line]
    assert len(trains) == 3
    for line in trains:
        assert '--recipe "note-specialists"' in line
        for part in (
            '--faces "auto"',
            f'--data "{data}"',
            f'--run "{run}"',
            '--preset "base"',
            '--folds "all"',
            '--threads "1"',
        ):
            assert part in line
    assert "pipeline data" not in full


def test_by_several_processes_networks_train_one_after_the_other():
    lines = make("-n", "train", f"VENV={sys.prefix}", "NPROC=2", "FOLDS=all").stdout.splitlines()
    trains = [line for line in lines if "pipeline train" in line]
    assert len(trains) == 3
    assert all('--processes "2"' in line for line in trains)
    assert not any("--share" in line for line in lines)
    beside = make("-n", "train", f"VENV={sys.prefix}", "NPROC=2", "BESIDE=3").stdout
    assert beside.count('--share "3"') == 3
    checked = make("-n", "train-age", f"VENV={sys.prefix}", "NPROC=2", "ARGS=--epochs 5").stdout
    assert 'pipeline check train-age -- --processes "2" -- --epochs 5' in checked


def test_two_train_at_a_time_the_longest_first():
    """Three of which one takes half of all the work would leave cores idle at its end."""
    gpu = [name for pattern in ("nvidia[0-9]*", "kfd", "dxg") for name in Path("/dev").glob(pattern)]
    beside = () if not gpu else ("BESIDE=2",)
    lines = make("-n", "train", f"VENV={sys.prefix}", *beside).stdout.splitlines()
    trains = [line for line in lines if "pipeline train" in line]
    assert [line.split("pipeline train ")[1].split()[0] for line in trains] == ["age", "gender", "mask"]
    assert all('--share "2"' in line for line in trains)
    assert any("-j2" in line for line in lines)


def test_a_variable_that_make_does_not_know_is_refused():
    told = make("-n", "submit", "PRESETS=base")
    assert told.returncode == 2
    assert "there is no setting PRESETS=" in told.stderr


def test_args_reach_the_named_goals_alone():
    told = make("-n", "train-age", f"VENV={sys.prefix}", "ARGS=--epochs 5").stdout.splitlines()
    assert all("--epochs" not in line for line in told if "pipeline prepare" in line)
    assert any("train age" in line and "--epochs 5" in line for line in told)
    assert any("pipeline check train-age --  -- --epochs 5" in line for line in told)


def test_the_three_train_side_by_side_unless_told_otherwise():
    together = make("-n", "submit", f"VENV={sys.prefix}", "BESIDE=3", "ARGS=--prior train").stdout
    assert "-j3" in together
    assert together.count('--share "3"') == 3
    assert "TTY_INTERACTIVE=0" in together
    assert [line for line in together.splitlines() if "--prior" in line and "pipeline submit" not in line] == [
        f'"{sys.prefix}/bin/python" -m pipeline check submit --  -- --prior train'
    ]
    apart = make("-n", "submit", f"VENV={sys.prefix}", "BESIDE=").stdout
    assert "-j" not in apart
    assert "--share" not in apart
    assert apart.count("pipeline train ") == 3
    given = make("-n", "-j2", "train", f"VENV={sys.prefix}", "BESIDE=3", "ARGS=--epochs 5")
    assert "-j3" not in given.stdout  # the user's own number of jobs holds
    assert given.stderr == ""
    assert given.stdout.count("--epochs 5") == 4  # the check and the three


def test_eval_trains_nothing():
    told = make("-n", "submit", f"VENV={sys.prefix}", "EVAL=folder", "RUN=runs/x").stdout
    assert "pipeline predict" in told
    for stage in ("data", "prepare", "train", "score"):
        assert f"pipeline {stage}" not in told
    told = make("-n", "submit", f"VENV={sys.prefix}", "EVAL=my shards/*.tar", "RUN=runs/x").stdout
    assert told.count('--eval "my shards/*.tar"') == 5
