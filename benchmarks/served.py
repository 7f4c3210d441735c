"""How fast a server answers beside predict, and what its memory does: python benchmarks/served.py --run runs/x photos

Clients ask POST /label of a server of their own on loopback, one photo a request, and the same photos are labelled from
their files by the same engine (`label`, in a process of its own), in turns. The rate of a turn is photos a second
between the first request and the last reply, or of label's work without its start.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

FROM_FILES = """
import json, sys, time
from pathlib import Path
from pipeline.run.folder import open_run
from pipeline.run.settings import SystemStage
from pipeline.serving.labeller import Labeller
import joblib
run = open_run(SystemStage.of(run=Path(sys.argv[1])), make=False)
labeller = Labeller.of_run(run, run.system(SystemStage.of()), joblib.cpu_count())
photos = json.load(sys.stdin)
labeller.label(photos[:32], quiet=True)
start = time.perf_counter()
said = labeller.label(photos, quiet=True)
print(json.dumps({"seconds": time.perf_counter() - start, "labels": said.photos["label"].tolist()}))
"""


def main() -> None:
    """Runs the turns and prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    found = sorted(path for path in given.photos.rglob("*") if path.is_file() and not path.name.startswith("."))
    photos = [str(path) for path in random.Random(0).choices(found, k=given.requests)]
    distinct = list(dict.fromkeys(photos))
    server = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", "--run", str(given.run), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    turns = []
    try:
        told = re.search(r":(\d+) answers", server.stdout.readline())
        if told is None:
            sys.exit(server.wait())  # it said why
        port = int(told[1])
        ask_all(port, photos[:64], given.clients)
        for _ in range(given.turns):
            before = memory(server.pid)
            seconds, labels = ask_all(port, photos, given.clients)
            after = memory(server.pid)
            done = subprocess.run(
                [sys.executable, "-c", FROM_FILES, str(given.run)],
                input=json.dumps(distinct),
                capture_output=True,
                text=True,
                check=True,
            )
            files = json.loads(done.stdout)
            wanted = dict(zip(distinct, files["labels"], strict=True))
            turns.append(
                {
                    "served": round(len(photos) / seconds, 1),
                    "from_files": round(len(distinct) / files["seconds"], 1),
                    "ratio": round(len(photos) / seconds * files["seconds"] / len(distinct), 3),
                    "other_labels": sum(wanted[photo] != label for photo, label in zip(photos, labels, strict=True)),
                    "MB_before": before,
                    "MB_after": after,
                }
            )
            print(json.dumps(turns[-1]), file=sys.stderr)
    finally:
        server.terminate()
        server.wait()
    ratios = sorted(turn["ratio"] for turn in turns)
    print(
        json.dumps(
            {"clients": given.clients, "requests": given.requests, "ratio": ratios[len(ratios) // 2], "turns": turns}
        )
    )


def ask_all(port: int, photos: list[str], clients: int) -> tuple[float, list[int]]:
    """Every photo asked once by some of the clients; seconds, and the labels in order. Raises on any other reply."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(photos)):
        todo.put(number)
    content = {photo: Path(photo).read_bytes() for photo in photos}
    labels: list[int | None] = [None] * len(photos)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return connection.close()
            connection.request("POST", "/label", content[photos[number]], {"Content-Type": "image/jpeg"})
            reply = connection.getresponse()
            told = json.loads(reply.read())
            if reply.status == 200:
                labels[number] = told["photos"][0]["label"]

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if None in labels:
        raise SystemExit(f"{labels.count(None)} of {len(labels)} requests had no label")
    return seconds, labels


def memory(process: int) -> int:
    """Megabytes that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)


if __name__ == "__main__":
    main()
