"""Ends loader processes of whole trainings at random moments, and gives trainings a tiny /dev/shm: `make test-faults`.

A training whose loader process is killed has to say so in one sentence and end with status 2 within seconds; one in a
container with 64 KB of shared memory has to end with the bytes of one that has no loader processes. Neither may leave a
process behind. Each kill is drawn from the seed and its number: --seed 7 --only 13 replays one.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from whole_runs import NETWORKS, ROOT, SETTINGS

from pipeline.synthetic import data_set

PROMPT = 10.0
"""Seconds within which a training has to end."""
PATIENCE = 120.0
"""Seconds for a training to begin, and for a short one to end."""
LONGEST = 4.0
"""Seconds after the loader processes began within which one is killed."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
"""How a loader process ends: mostly as the system does it where memory is full."""
TINY = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'


def command(home: Path, run: str, workers: int, epochs: int) -> list[str]:
    """A training of the tiny mask network."""
    given = NETWORKS["mask"] | SETTINGS | {"epochs": epochs, "workers": workers}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "pipeline", "train", "mask", "--run", run, "--data", str(home / "people"), *words]


def begin(home: Path, words: list[str]) -> subprocess.Popen:
    """Begin a command in a session of its own, by which its processes are known."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        words, cwd=home, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def living(session: int) -> dict[int, int]:
    """The processes of a session that live, each with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, of = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):  # it has gone meanwhile
            continue
        if int(of) == session and state not in "ZX":
            found[int(stat.parent.name)] = int(parent)
    return found


def end(training: subprocess.Popen, seconds: float) -> tuple[str, str] | None:
    """What a training printed and what it complained of, None where it did not end in time and was killed."""
    try:
        return training.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if training.poll() is None:
            os.killpg(training.pid, signal.SIGKILL)
            training.communicate()


def left_by(training: subprocess.Popen) -> str:
    """The processes that an ended training has left, or nothing; they are killed."""
    left = living(training.pid)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return f"processes were left behind: {sorted(left)}" if left else ""


def loaders_of(training: subprocess.Popen, workers: int) -> list[int]:
    """The loader processes of a training, once it has all of them; none where it ended before."""
    until = time.monotonic() + PATIENCE
    while training.poll() is None and time.monotonic() < until:
        found = [pid for pid, parent in living(training.pid).items() if parent == training.pid and _is_loader(pid)]
        if len(found) == workers:
            return sorted(found)
        time.sleep(0.005)
    return []


def _is_loader(pid: int) -> bool:
    """Whether a process ignores SIGTERM, as no other child of a training does."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has gone meanwhile
        return False
    return bool(int(status.partition("SigIgn:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def kill(home: Path, number: int, seed: int) -> str:
    """End a loader process of a training at a moment drawn by the seed; returns what went wrong, or nothing."""
    rng = np.random.default_rng([seed, number])
    workers, how, after = 1 + number % 2, rng.choice(SIGNALS), LONGEST * float(rng.random()) ** 2
    training = begin(home, command(home, f"runs/kill-{seed}-{number}", workers, 100_000))
    loaders = loaders_of(training, workers)
    if not loaders:
        return f"it began no loader processes: {end(training, 0.1)}"
    time.sleep(after)
    os.kill(int(rng.choice(loaders)), how)
    told, what = end(training, PROMPT), f"{signal.Signals(how).name} after {after:.2f} s"
    if told is None:
        return f"{what}: it had not ended {PROMPT:.0f} s later"
    lines = told[1].splitlines()
    if training.returncode != 2 or len(lines) != 1 or "a loader process died of" not in lines[0]:
        return f"{what}: it ended with {training.returncode} and said:\n{told[1]}"
    left = left_by(training)
    return left and f"{what}: {left}"


def tiny_shared_memory() -> list[str] | None:
    """How a command is given a /dev/shm of 64 KB on this machine; None where it allows nobody to."""
    for own in (["unshare", "-m"], ["unshare", "-rm"]):
        begun = [*own, "sh", "-c", TINY, "sh"]
        try:
            if subprocess.run([*begun, "true"], capture_output=True).returncode == 0:
                return begun
        except FileNotFoundError:
            return None
    return None


def in_tiny_shared_memory(home: Path, number: int, seed: int) -> str:
    """Train with a /dev/shm of 64 KB; returns what went wrong, or nothing.

    Where the machine allows no such thing, it must hold nothing there while it trains.
    """
    plain, run, workers = home / "runs/plain", f"runs/tiny-{seed}-{number}", 1 + number % 2
    if not plain.is_dir():
        training = begin(home, command(home, "runs/plain", 0, 2))
        end(training, PATIENCE)
    around = tiny_shared_memory()
    training = begin(home, [*(around or []), *command(home, run, workers, 2)])
    if around is None and (held := [where for pid in loaders_of(training, workers) for where in _held_by(pid)]):
        end(training, 0.1)
        return f"a loader process holds {', '.join(held)}"
    told = end(training, PATIENCE)
    if told is None or training.returncode:
        return f"it ended with {training.returncode} and said:\n{told and told[1]}"
    weights = [(folder / "mask/fold0/weights.safetensors").read_bytes() for folder in (plain, home / run)]
    return left_by(training) or ("" if weights[0] == weights[1] else "its weights are others")


def _held_by(pid: int) -> list[str]:
    """What a process has mapped of /dev/shm."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line.split(maxsplit=5)[-1] for line in maps if " /dev/shm/" in line]


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--loader-kills", type=int, default=20)
    reader.add_argument("--tiny", type=int, default=5, help="trainings with a /dev/shm of 64 KB")
    reader.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    reader.add_argument("--only", type=int, help="replay this kill")
    given = reader.parse_args()
    kills = range(given.loader_kills) if given.only is None else [given.only]
    print(f"{len(kills)} loader processes are killed, seed {given.seed}", flush=True)
    bad, tried = 0, [*((kill, n) for n in kills), *((in_tiny_shared_memory, n) for n in range(given.tiny))]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data_set.draw(home / "people", people=40, eval_people=10, seed=3, processes=1)
        for number, (fault, n) in enumerate(tried, 1):
            wrong = fault(home, n, given.seed)
            bad += bool(wrong)
            if wrong:
                print(f"{fault.__name__} {n}: {wrong}", flush=True)
            if number % 5 == 0:
                print(f"{number} of {len(tried)}", flush=True)
    print(f"{len(tried) - bad} of {len(tried)} trainings ended as they should")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
