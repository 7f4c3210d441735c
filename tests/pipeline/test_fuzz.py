"""2,000 mutated photos, EXIF blocks, and tables, JSON and safetensors files each: a sentence or an answer, no fault.

Each chunk is a process of its own: one that crashes or hangs is caught, and named with its seed. To replay one:
`python tests/pipeline/fuzzing.py photos SEED 1 FOLDER`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from models.errors import UserError
from pipeline.prediction.labelled import labelled_predictions
from pipeline.prediction.tables import COLUMNS

ROOT = Path(__file__).parents[2]
CHUNK = 250
CHUNK_SECONDS = 900
"""More than a chunk takes on a busy machine; a file that hangs costs so much and is then named."""


def fuzz(kind: str, first: int, folder: Path, count: int = CHUNK) -> dict[str, int]:
    """The outcomes of a chunk of seeds, counted. Fails naming the seeds that are at fault."""
    command = [sys.executable, str(ROOT / "tests/pipeline/fuzzing.py"), kind, str(first), str(count), str(folder)]
    room = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=os.environ | room, capture_output=True, text=True, timeout=CHUNK_SECONDS, cwd=folder.parent
        )
    except subprocess.TimeoutExpired as late:
        lines = (late.stdout or b"").decode().splitlines() or ["no seed"]
        pytest.fail(f"{kind}: hangs at {lines[-1]}")
    faults = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("FAULT")]
    assert faults == []
    *rest, last = done.stdout.splitlines() or [""]
    assert last.startswith("OUTCOMES"), f"{kind}: ends with status {done.returncode} at {rest[-1:]}: {done.stderr}"
    outcomes = json.loads(last.removeprefix("OUTCOMES"))
    assert sum(outcomes.values()) == count
    return outcomes


@pytest.mark.slow
@pytest.mark.timeout(2 * CHUNK_SECONDS)
@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_mutated_photos(tmp_path, first):
    outcomes = fuzz("photos", first, tmp_path / "photos")
    assert min(outcomes.get(outcome, 0) for outcome in ("decoded", "refused")) > CHUNK / 10


@pytest.mark.slow
@pytest.mark.timeout(2 * CHUNK_SECONDS)
@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_mutated_exif_blocks(tmp_path, first):
    """No photo is refused that OpenCV decodes."""
    outcomes = fuzz("exif", first, tmp_path / "exif")
    assert min(outcomes.get(outcome, 0) for outcome in ("decoded", "turned")) > CHUNK / 30
    assert outcomes.get("refused", 0) < CHUNK / 10


def test_some_mutated_exif_blocks(tmp_path):
    assert fuzz("exif", 10_000, tmp_path / "exif", 60)["turned"] > 0


@pytest.mark.slow
@pytest.mark.timeout(2 * CHUNK_SECONDS)
@pytest.mark.parametrize("first", range(0, 2000, CHUNK))
def test_mutated_tables_json_and_weights(tmp_path, first):
    outcomes = fuzz("files", first, tmp_path / "files")
    assert outcomes.get("refused", 0) > CHUNK / 4
    assert outcomes.get("read", 0) > CHUNK / 50


# --- What it found ---


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [("age", "2y", "not a number"), ("mask", "0.5", "mask other than"), ("gender", "x", "not a number")],
)
def test_a_label_among_the_validation_answers_that_is_none(column, value, told):
    row = {"photo": "a.jpg", "person": "a", "fold": 0, "mask": "0", "gender": "1", "age": "30"}
    table = pd.DataFrame([row | dict(zip(COLUMNS, (0.5, 0.25, 0.25, 0.5, 31.0), strict=True))])
    assert labelled_predictions(table).age == [30]
    with pytest.raises(UserError, match=told):
        labelled_predictions(table.assign(**{column: value}))
