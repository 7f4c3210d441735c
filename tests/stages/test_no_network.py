"""Nothing but a download of weights opens a connection: every stage runs with sockets forbidden."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_runs import SMALL, TINY

from pipeline.run.train_settings import Train

ROOT = Path(__file__).parents[2]
FORBIDDEN = """
import sys

def refuse(event, given):
    if event in ("socket.connect", "socket.bind", "socket.sendto") and isinstance(given[1], tuple):
        raise SystemExit(f"SOCKET {event} {given[1]}")
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        raise SystemExit(f"SOCKET {event} {given[0]}")

sys.addaudithook(refuse)
from pipeline.__main__ import main
"""
STAGES = """
for stage in {stages!r}:
    status = main(stage)
    if status:
        sys.exit(status)
print("DONE")
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment)


def test_the_guard_sees_a_connection(tmp_path):
    told = run(FORBIDDEN + "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')", tmp_path)
    assert told.returncode == 1
    assert "SOCKET" in told.stderr


def test_no_stage_opens_a_connection_or_writes_into_the_home_folder(tmp_path):
    (tmp_path / "work").mkdir()
    trains = []
    for task, network in TINY.items():
        trains.append(["train", *Train.of(task=task, run=Path("runs/x"), **(SMALL | network)).words()])
    stages = [
        ["data", "--folder", "people", "--people", "10", "--eval-people", "10"],
        ["prepare", "--run", "runs/x", "--data", "people"],
        *trains,
        ["predict", "--run", "runs/x", "--threads", "1", "--engine", "openvino"],
        ["calibrate", "--run", "runs/x", "--prior", "0.4,0.3,0.3"],
        ["submit", "--run", "runs/x"],
        ["score", "--run", "runs/x"],
    ]
    code = "import os\nos.chdir('work')\n" + FORBIDDEN + STAGES.format(stages=stages)
    told = run(code, tmp_path)
    assert told.stdout.endswith("DONE\n"), told.stderr
    assert "by openvino" in told.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
