"""Whole runs with tiny networks in forked children, for faults to be put into, and what must be left of them."""

import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/stages")]

import pandas as pd
import torch
from tiny_runs import TINY, inside

from pipeline.__main__ import main
from pipeline.combiner import threshold_combiner  # noqa: F401 (a child must not import these again)
from pipeline.prediction import ensemble, in_chunks  # noqa: F401
from pipeline.synthetic import data_set
from pipeline.training import trainer  # noqa: F401

RUN = Path("runs/one")
SWIN = '{"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}'
NETWORKS = {
    "mask": TINY["mask"] | {"threads": 2},  # a third augments
    "gender": TINY["gender"] | {"backbone_options": SWIN, "threads": 1},
    "age": TINY["age"] | {"threads": 1},
}
SETTINGS = {
    "preset": "small",
    "epochs": 2,
    "batch_size": 28,
    "height": 64,
    "width": 48,
    "checkpoint_steps": 3,
}
LEFT_BY = {
    "predict": ["predictions.csv", "bad_photos.csv", "done/predict.json"],
    "calibrate": ["combiner.json", "done/calibrate.json"],
    "submit": ["submission.csv", "done/submit.json"],
}
"""What the stages after training leave, in their order."""
PATIENCE = 300.0
"""Seconds until a run counts as hanging."""


def commands(data: Path) -> list[tuple[str, list[str]]]:
    """The commands of a run in order, each with its stage."""
    run = ["--run", str(RUN)]
    trained = []
    for task, network in NETWORKS.items():
        given = [
            part
            for k, v in (network | SETTINGS).items()
            for part in (f"--{k.replace('_', '-')}", v if isinstance(v, str) else json.dumps(v))
        ]
        trained.append(("train", ["train", task, *run, "--data", str(data), *given]))
    return [
        *trained,
        ("predict", ["predict", *run, "--threads", "1"]),
        ("calibrate", ["calibrate", *run, "--prior", "0.4,0.3,0.3"]),
        ("submit", ["submit", *run]),
    ]


def in_child(
    home: Path, data: Path, enter: Callable[[str], None], report: Callable[[], object], kill_at: bytes
) -> tuple[str, int]:
    """Give all commands in a forked child, until one fails; what they print is added to home/log.txt.

    enter: told the stage that begins. report: what the child tells at its end. kill_at: kill it when it says so.
    Returns what it told last, and its exit status or minus its signal.
    """
    tells, tell = os.pipe()
    child = os.fork()
    if not child:
        _child(home, data, enter, report, tell)
    os.close(tell)
    with os.fdopen(tells, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], PATIENCE)
        told = pipe.readline() if ready else b""
        if not ready or told == kill_at:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return told.decode().strip(), os.waitstatus_to_exitcode(status)


def _child(home: Path, data: Path, enter: Callable[[str], None], report: Callable[[], object], tell: int) -> None:
    status = 1
    try:
        sys.stdout = sys.stderr = (home / "log.txt").open("a", buffering=1)
        torch.set_num_threads(1)
        in_chunks.PHOTOS_PER_CHUNK = 16
        say.to = tell
        with inside(home):
            for stage, arguments in commands(data):
                enter(stage)
                status = main(arguments)
                if status:
                    break
        say(json.dumps(report()))
    except BaseException:  # of whatever kind: the parent reads it in the log
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def say(line: str) -> None:
    """Tell the parent a line."""
    os.write(say.to, f"{line}\n".encode())


def wait_to_be_killed() -> None:
    say("here")
    time.sleep(PATIENCE)


def predictions(run: Path) -> dict[str, bytes]:
    """The files of a run whose bytes are promised; of the logs, all but the seconds."""
    paths = [path for path in run.rglob("*") if path.suffix in (".csv", ".safetensors", ".json")]
    found = {str(path.relative_to(run)): path.read_bytes() for path in paths if path.parent.name != "done"}
    for name in [name for name in found if name.endswith("log.csv")]:
        found[name] = pd.read_csv(run / name).drop(columns="seconds").to_csv().encode()
    return found


def left_over(run: Path) -> list[str]:
    """What a finished run must not hold: unfinished files, checkpoints, parts."""
    return [str(p.relative_to(run)) for pattern in (".*.part", "resume-*", "chunks-*") for p in run.rglob(pattern)]


def _nothing(*_: object) -> None:
    """What a run without a fault is told, and tells."""


class Home:
    """A folder for runs, with people to learn from and an uninterrupted run to compare with.

    enter and report: of that run, as of `in_child`; told: what it told at its end.
    """

    def __init__(self, home: Path, enter: Callable[[str], None] = _nothing, report: Callable[[], object] = _nothing):
        self.home, self.data = home, home / "people"
        data_set.draw(self.data, people=40, eval_people=10, seed=3, processes=1)
        self.whole = self.folder("whole")
        self.told = self.resume(self.whole, enter, report)
        self.expected = predictions(self.whole / RUN)

    def folder(self, name: str, before: str | None = None) -> Path:
        """A new folder for a run: empty, or as it is before a stage, or before one specialist alone is trained."""
        folder = self.home / name
        if before is None:
            folder.mkdir()
            return folder
        shutil.copytree(self.whole, folder)
        (folder / "log.txt").unlink()
        if before in NETWORKS:
            shutil.rmtree(folder / RUN / before)
        stages = list(LEFT_BY)
        for stage in stages[0 if before in NETWORKS else stages.index(before) :]:
            for left in LEFT_BY[stage]:
                (folder / RUN / left).unlink()
        return folder

    def resume(
        self, folder: Path, enter: Callable[[str], None] = _nothing, report: Callable[[], object] = _nothing
    ) -> str:
        """Give all commands, again or for the first time; raises AssertionError when one fails."""
        told, status = in_child(folder, self.data, enter, report, b"")
        if status:
            raise AssertionError(f"the same command failed:\n{(folder / 'log.txt').read_text()}")
        return told

    def differences(self, folder: Path) -> list[str]:
        """What is not as in the uninterrupted run."""
        found = predictions(folder / RUN)
        other = sorted(n for n in found.keys() | self.expected if found.get(n) != self.expected.get(n))
        return [*other, *left_over(folder / RUN)]

    def fault_after(self, folder: Path) -> str:
        """Resume a run that was disturbed; what went wrong, or nothing, and then its folder goes."""
        try:
            self.resume(folder)
        except AssertionError as failure:
            return str(failure)
        wrong = self.differences(folder)
        if not wrong:
            shutil.rmtree(folder)
        return ", ".join(wrong)
