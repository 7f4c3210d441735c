"""Has several processes predict the same photos and kills some at random moments: `make test-faults`.

Each try starts two or three processes together, kills all of them, or all but one, at moments drawn from the seed and
its number, and looks at the bytes that are left: python tests/faults/sharing.py --seed 7 --only 13 replays one, as far
as a kernel lets it.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from whole_runs import PATIENCE, RUN, Home, inside

from pipeline.__main__ import main as stage
from pipeline.prediction import in_chunks

PHOTOS_PER_CHUNK = 4
"""Of 70 photos: 18 chunks."""
COMMAND = ["predict", "--run", str(RUN), "--threads", "1"]


def begin(folder: Path) -> int:
    """A forked child that predicts; returns its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sys.stdout = sys.stderr = (folder / "log.txt").open("a", buffering=1)
        torch.set_num_threads(1)
        in_chunks.PHOTOS_PER_CHUNK, in_chunks.LOOK = PHOTOS_PER_CHUNK, 0.02
        with inside(folder):
            status = stage(COMMAND)
    except BaseException:  # of whatever kind: the parent reads it in the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def end(child: int) -> int:
    """Its exit status, or minus its signal; it is killed where it hangs."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def undisturbed(home: Home, processes: int, name: str) -> tuple[bytes, float]:
    """The predictions that so many processes make together, and the seconds they take."""
    folder, started = home.folder(name, "predict"), time.monotonic()
    children = [begin(folder) for _ in range(processes)]
    if any([end(child) for child in children]):
        raise AssertionError((folder / "log.txt").read_text())
    made = (folder / RUN / "predictions.csv").read_bytes()
    shutil.rmtree(folder)
    return made, time.monotonic() - started


def disturbed(home: Home, number: int, seed: int, expected: bytes, seconds: float) -> str:
    """Kill processes that predict together, and let those left end, or another; what went wrong, or nothing."""
    rng, folder = np.random.default_rng((seed, number)), home.folder(f"try-{number}", "predict")
    processes = int(rng.integers(2, 4))
    left = int(rng.integers(2))  # all killed, and the command is given again; or all but one
    children, started = [begin(folder) for _ in range(processes)], time.monotonic()
    for moment, child in zip(np.sort(rng.uniform(0, seconds, processes - left)), children[left:], strict=True):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        os.kill(child, signal.SIGKILL)
    statuses = [end(child) for child in children]
    if not left:
        statuses.append(end(begin(folder)))
    wrong = [f"ended with {status}" for status in statuses if status not in (0, -signal.SIGKILL)]
    place = folder / RUN
    made = (place / "predictions.csv").read_bytes() if (place / "predictions.csv").is_file() else b""
    wrong += [] if made == expected else ["other bytes"]
    wrong += [
        f"{path.name} is left" for name in (".*.part", "chunks-*", "predicting.json") for path in place.glob(name)
    ]
    if wrong:
        return f"{', '.join(wrong)}\n{(folder / 'log.txt').read_text()}"
    shutil.rmtree(folder)
    return ""


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--kills", type=int, default=50)
    reader.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    reader.add_argument("--only", type=int, help="replay this one")
    given = reader.parse_args()
    print(f"{given.kills} tries, seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        made = [undisturbed(home, processes, f"by-{processes}") for processes in (1, 2, 3)]
        (expected, seconds), *others = made
        if any(bytes_ != expected for bytes_, _ in others):
            print("1, 2 and 3 processes give other bytes")
            return 1
        print(f"1, 2 and 3 processes give the same {len(expected)} bytes, in {seconds:.1f} s alone", flush=True)
        good, bad = 0, 0
        for number in range(given.kills):
            if given.only not in (None, number):
                continue
            wrong = disturbed(home, number, given.seed, expected, seconds)
            good, bad = good + (not wrong), bad + bool(wrong)
            if wrong:
                print(f"try {number}: {wrong}", flush=True)
        print(f"{good} of {good + bad} byte-identical, every photo once")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
