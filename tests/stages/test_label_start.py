"""A run keeps its networks converted: single photos are labelled without torch, the same, and never by others."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.prediction import converted
from pipeline.run.fold_records import FinishedFold
from pipeline.runtime import store
from pipeline.stages.label import Label, label

COLUMNS = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]
FOLDS = [Path("runs/one") / task / "fold0" for task in ("mask", "gender", "age")]
FILES = (converted.RECORD, converted.MODEL, converted.WEIGHTS)
LOADED = """
import json, sys
from pipeline.__main__ import main
status = main(["label", *sys.argv[1:], "--run", "runs/one", "--json", "--threads", "1"])
print(json.dumps([status, [name for name in ("torch", "timm", "albumentations") if name in sys.modules]]))
"""


@pytest.fixture
def photos(copy):
    """Eval photos of a run of its own, which keeps nothing converted yet."""
    for fold in FOLDS:
        for name in FILES:
            (fold / name).unlink(missing_ok=True)
    return [str(copy.data / "eval/images" / name) for name in pd.read_csv(copy.data / "eval/info.csv")["ImageID"]]


def labelled(photos, capsys):
    label(Label.of(run=Path("runs/one"), photos=tuple(photos), json=True, threads=1))
    printed = capsys.readouterr()
    return pd.DataFrame(map(json.loads, printed.out.splitlines())), printed.err


def kept():
    return {fold / name: (fold / name).stat().st_mtime_ns for fold in FOLDS for name in FILES if (fold / name).exists()}


def test_the_kept_networks_say_what_torch_says(photos, capsys):
    first, told = labelled(photos, capsys)
    assert told == "label: the networks are kept converted in runs/one; the next call answers sooner\n"
    assert len(kept()) == 9
    before = kept()
    again, told = labelled(photos, capsys)
    assert told == ""
    assert kept() == before
    assert again["label"].tolist() == first["label"].tolist()
    assert np.abs(again[COLUMNS] - first[COLUMNS]).to_numpy().max() < 1e-4
    submission = pd.read_csv("runs/one/submission.csv")["ans"]
    assert again["label"].tolist() == submission.tolist()


def test_they_answer_without_torch(photos, capsys):
    first, _ = labelled(photos[:3], capsys)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *photos[:3]], capture_output=True, text=True, cwd=Path.cwd(),
        env={"PYTHONPATH": str(Path(converted.__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    *rows, end = done.stdout.splitlines()
    assert json.loads(end) == [0, []], done.stderr
    assert [json.loads(row)["label"] for row in rows] == first["label"].tolist()


@pytest.mark.parametrize("damage", ["other weights", "model", "record", "older"])
def test_others_than_the_runs_are_made_again(photos, damage):
    fold = FOLDS[2]
    finished = [FinishedFold.read(fold)]
    converted.keep_converted(finished)
    assert converted.converted(finished, 1) is not None
    if damage == "model":
        (fold / converted.MODEL).write_text("<net/>")
    elif damage == "record":
        (fold / converted.RECORD).write_text("{")
    else:
        made = store.read_json(fold / converted.RECORD)
        other = {"openvino": "2020.1"} if damage == "older" else {"network": ["other", "other"]}
        store.write_json(fold / converted.RECORD, made | other)
    assert converted.converted(finished, 1) is None
    converted.keep_converted(finished)
    assert converted.converted(finished, 1) is not None


def test_where_nothing_can_be_kept_labels_are_no_worse(photos, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "runs/one")

    monkeypatch.setattr(store, "replacing", refuse)
    found, told = labelled(photos[:3], capsys)
    assert len(found) == 3
    assert told.startswith("label: the networks could not be kept converted (")
    assert told.endswith("); labels are no worse\n")
    assert kept() == {}


def test_a_network_that_was_refused_is_not_tried_again(photos, capsys, monkeypatch):
    tried = []

    def odd(module, size):
        tried.append(size)
        raise RuntimeError("an operation that OpenVINO has not")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.prediction.engines.openvino_model", odd)
        first, told = labelled(photos[:3], capsys)
        assert "could not be kept converted (an operation that OpenVINO has not); labels are no worse" in told
        assert len(tried) == 1
        again, told = labelled(photos[:3], capsys)
        assert (told, len(tried)) == ("", 1)
        assert again.equals(first)
    record = store.read_json(FOLDS[0] / converted.RECORD)
    store.write_json(FOLDS[0] / converted.RECORD, record | {"openvino": "2020.1"})  # another one may be able to
    assert "the networks are kept converted" in labelled(photos[:3], capsys)[1]


def test_a_mirror_image_is_taken_into_the_mean(copy, photos, capsys):
    folds = [FinishedFold.read(fold) for fold in FOLDS]
    converted.keep_converted(folds)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), np.uint8)
    for one, both in zip(converted.converted(folds, 1), converted.converted(folds, 1, flip=True), strict=True):
        mean = (one.predict(pixels) + one.predict(np.ascontiguousarray(pixels[:, :, ::-1]))) / 2
        assert both.predict(pixels) == pytest.approx(mean, abs=1e-6)
        assert both.columns == one.columns
        assert both.view.size == (64, 48)
