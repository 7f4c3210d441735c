"""Ten photos do not wait for what is not needed: what stages import, and how the program ends."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from pipeline.__main__ import main
status = main({words!r})
print("IMPORTED", *[name for name in {heavy!r} if name in sys.modules])
sys.exit(status)
"""


def python(code: str, folder: Path, **more) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, **more
    )


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["calibrate", "--prior", "0.3,0.3,0.4"], ("torch", "timm", "cv2", "sklearn", "scipy.stats", "scipy.optimize")),
        (["submit"], ("torch", "timm", "cv2", "sklearn", "scipy.stats", "scipy.optimize")),
        (["predict"], ("torch", "timm")),  # what was predicted stands
        (["train", "age"], ("torch", "timm")),
    ],
    ids=lambda given: given[0],
)
def test_a_stage_imports_what_it_needs(copy, words, heavy):
    told = python(RUN.format(words=[*words, "--run", str(copy.run)], heavy=heavy), Path.cwd())
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "IMPORTED"


@pytest.mark.parametrize(
    ("commands", "status", "said"),
    [
        ([["recipes"], ["submit", "--run", "nowhere"], ["recipes"]], 2, 1),
        ([["recipes"], ["recipes"]], 0, 2),
        ([], 0, 0),
    ],
)
def test_stages_in_one_process_end_with_the_first_that_fails(tmp_path, commands, status, said):
    told = python(f"from pipeline.__main__ import run_stages; run_stages({commands!r})", tmp_path)
    assert told.returncode == status, told.stderr
    assert told.stdout.count("note-three-heads") == said


def test_the_end_is_quick_and_nothing_is_lost(tmp_path):
    code = (
        "import atexit, sys\n"
        "from pipeline.__main__ import leave\n"
        "class Slow:\n"
        "    def __del__(self): print('taken apart')\n"
        "slow = Slow()\n"
        "atexit.register(print, 'called at the end')\n"
        "print('x' * 200_000)\n"
        "print('told', file=sys.stderr)\n"
        "leave(3)\n"
    )
    told = python(code, tmp_path)
    assert told.returncode == 3
    assert told.stdout == "x" * 200_000 + "\ncalled at the end\n"
    assert told.stderr == "told\n"


@pytest.mark.parametrize(
    "begin",
    [
        "import threading; threading.Thread(target=lambda: (time.sleep(0.5), print('worked on'))).start()",
        "import multiprocessing; multiprocessing.Process(target=work).start()",
        "import joblib; list(joblib.Parallel(2)(joblib.delayed(abs)(i) for i in range(4))); print('worked on')",
    ],
    ids=["thread", "process", "joblib"],
)
def test_what_is_at_work_is_waited_for(tmp_path, begin):
    code = (
        "import sys, time\n"
        "from pipeline.__main__ import leave\n"
        "def work():\n"
        "    time.sleep(0.5)\n"
        "    print('worked on', flush=True)\n"
        f"{begin}\n"
        "leave(3)\n"
    )
    told = python(code, tmp_path, timeout=60)
    assert (told.returncode, told.stdout) == (3, "worked on\n")


def test_a_reader_that_has_gone_is_no_traceback(tmp_path):
    code = (
        "import os, sys\n"
        "from pipeline.__main__ import leave\n"
        "print('x')\n"
        "reading, writing = os.pipe()\n"
        "os.close(reading)\n"
        "os.dup2(writing, 1)\n"
        "leave(0)\n"
    )
    told = python(code, tmp_path)
    assert (told.returncode, told.stderr) == (1, "")


def test_a_full_disk_under_a_log_is_told_in_a_sentence(tmp_path):
    with Path("/dev/full").open("w") as full:
        code = "import sys\nfrom pipeline.__main__ import leave\nprint('x' * 10)\nleave(0)\n"
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        told = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert told.returncode == 1
    assert told.stderr == "face18: what was told could not be written: No space left on device.\n"


def test_a_profile_is_told_at_the_end(tmp_path):
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    command = [sys.executable, "-m", "cProfile", "-m", "pipeline", "recipes"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "function calls" in told.stdout
