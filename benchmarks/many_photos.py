"""A million photos in tar shards predicted by one process and by two: seconds, memory, and whether bytes differ.

    python benchmarks/many_photos.py --photos 1000000 --shards 100

Small photos, 500 of them again and again under names of their own, and networks that hardly cost anything, so that
what is around them shows: the table, reading tars, chunks, locks, merging. A process has one thread for its networks
and one to decode, and one core for both. Prints one JSON document: for each number of processes the seconds of the
first and the last tenth of the photos, of the merge and of the whole, and the memory of the first process on its way
and at its highest; and how much faster two are than one.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from measures import hardware
from PIL import Image

from pipeline.synthetic import data_set

RUN = Path("runs/tiny")
NETWORKS = {"mask": "test_efficientnet", "gender": "test_efficientnet", "age": "test_convnext"}
SIZE = ["--height", "32", "--width", "32"]
DISTINCT = 500
LOOK = 0.5
"""Seconds between two looks at what the processes have done."""


def main() -> None:
    """Draws people, trains, writes tars, and predicts them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    told: dict[str, Any] = {"hardware": hardware(), "photos": given.photos, "shards": given.shards}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        data_set.draw(Path("people"), people=60, eval_people=80, seed=3, processes=2)
        for task, backbone in NETWORKS.items():
            words = [
                "--data",
                "people",
                "--preset",
                "small",
                "--weights",
                "none",
                "--faces",
                "off",
                "--backbone",
                backbone,
            ]
            stage("train", task, *words, *SIZE, "--epochs", "1", "--optimizer", "adamw", "--lr", "0.003").wait()
        write_shards(Path("shards"), given.photos, given.shards)
        digests = set()
        for processes in given.processes:
            told[f"{processes} processes"] = watched(given.photos, processes)
            digests.add(told[f"{processes} processes"].pop("digest"))
        told["same bytes"] = len(digests) == 1
        first, *others = (told[f"{n} processes"]["seconds of predicting"] for n in given.processes)
        told["times faster"] = [round(first / other, 2) for other in others]
    print(json.dumps(told, indent=1))


def stage(name: str, *words: str, cores: int | None = None) -> subprocess.Popen:
    """A stage of the run that begins, on so many cores."""
    command = [sys.executable, "-m", "pipeline", name, *words, "--run", str(RUN)]
    own = [] if cores is None else ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    return subprocess.Popen([*own, *command], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=sys.stderr)


def write_shards(folder: Path, photos: int, shards: int) -> None:
    """So many small photos in so many tars; those of one shard are not those of the next in order."""
    folder.mkdir()
    contents = []
    for path in sorted(Path("people/eval/images").iterdir())[:DISTINCT]:
        Image.open(path).resize((48, 64)).save(file := io.BytesIO(), "JPEG")
        contents.append(file.getvalue())
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:04d}.tar", "w") as tar:
            for number in range(photos * shard // shards, photos * (shard + 1) // shards):
                member = tarfile.TarInfo(f"{number:08d}.jpg")
                content = contents[(number * 7 + shard) % len(contents)]
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def watched(photos: int, processes: int) -> dict[str, Any]:
    """Predict all photos anew, and look at chunks and memory in the meantime."""
    place = RUN / "eval-shards"
    for left in (*place.glob("done/predict.json"), *place.glob("predictions.csv")):
        left.unlink()
    words = ["--eval", "shards/*.tar", "--engine", "openvino", "--threads", "1", "--processes", str(processes)]
    started, done, seen, most = time.monotonic(), stage("predict", *words, cores=processes), [(0.0, 0, 0)], 0
    while done.poll() is None:
        time.sleep(LOOK)
        chunks = sum(1 for _ in place.glob("chunks-*/*.json"))
        seen.append((time.monotonic() - started, chunks, memory(done.pid, "VmRSS")))
        most = max(most, memory(done.pid, "VmHWM"))
    if done.returncode:
        raise SystemExit(done.returncode)
    return summed(photos, seen, time.monotonic() - started, most) | {
        "digest": hashlib.sha256((place / "predictions.csv").read_bytes()).hexdigest()
    }


def memory(process: int, what: str) -> int:
    """MB of a process; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(what)), 0)


def summed(photos: int, seen: list[tuple[float, int, int]], whole: float, most: int) -> dict[str, Any]:
    """What was seen, (seconds, chunks, MB) each time, in a few numbers."""
    count = max(chunks for _, chunks, _ in seen)

    def at(share: float) -> tuple[float, int]:
        """Seconds and MB when so many chunks were first whole."""
        return next((seconds, used) for seconds, chunks, used in seen if chunks >= max(1, share * count))

    last = max(seconds for seconds, chunks, _ in seen if chunks)
    return {
        "seconds before the first chunk": round(at(0)[0], 1),
        "seconds of the first tenth": round(at(0.1)[0] - at(0)[0], 1),
        "seconds of the last tenth": round(at(1)[0] - at(0.9)[0], 1),
        "seconds of predicting": round(at(1)[0] - at(0)[0], 1),
        "seconds from the last chunk to the merged table": round(last - at(1)[0], 1),
        "seconds in all": round(whole, 1),
        "photos a second": round(photos / (at(1)[0] - at(0)[0])),
        "MB at a tenth, half, nine tenths": [at(share)[1] for share in (0.1, 0.5, 0.9)],
        "MB at most": most,
    }


if __name__ == "__main__":
    main()
