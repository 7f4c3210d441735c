"""An exported run labels photos as submit does, by one file that needs nothing of this project."""

import hashlib
import importlib
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_runs import SMALL

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.images.decode import decode
from pipeline.images.framing import View, fit
from pipeline.prediction import trained
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.serving import exported
from pipeline.serving.bundle import portable
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.export import Export, export
from pipeline.stages.predict import Predict, predict
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train

COLUMNS = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]
ALONE = """
import runpy, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pipeline", "models", "torch", "timm", "pandas", "PIL", "scipy", "albumentations"):
            raise AssertionError(f"label.py asks for {name}")
sys.meta_path.insert(0, Refused())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def label_alone(folder, *words):
    """label.py of a folder, where nothing of this project can be imported, nor what it stands on."""
    return subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(folder / "label.py"), *map(str, words)], capture_output=True, text=True
    )


@pytest.fixture
def folder(copy):
    return Path(export(Export.of(run=copy.run))["folder"])


def test_it_says_what_submit_says(copy, folder):
    done = label_alone(folder, copy.data / "eval/images", "--json")
    assert done.returncode == 0, done.stderr
    rows = pd.DataFrame(map(json.loads, done.stdout.splitlines()))
    rows.index = [Path(photo).name for photo in rows["photo"]]
    submission = store.read_csv(copy.run / "submission.csv").set_index("ImageID")
    assert rows["label"].reindex(submission.index).tolist() == submission["ans"].tolist()
    predictions = store.read_csv(copy.run / "predictions.csv").groupby("photo")[COLUMNS].mean()
    predictions.index = [Path(photo).name for photo in predictions.index]
    off = (rows[COLUMNS] - predictions.loc[rows.index]).abs().max()
    assert off[:-1].max() < 1e-4
    assert off["age_years"] < 1e-2


def test_folds_are_averaged(copy):
    made = store.read_json(copy.run / "age/fold0/settings.json")["settings"]
    given = {name: made[name] for name in ("backbone", "backbone_options")}
    train(Train.of(task="age", run=copy.run, folds="1", **(SMALL | given)))
    train(Train.of(task="age", run=copy.run, folds="2", **(SMALL | given | {"height": 72})))
    predict(Predict.of(run=copy.run, threads=1, flip=True))
    calibrate(Calibrate.of(run=copy.run))
    submit(EvalStage.of(run=copy.run))
    folder = Path(export(Export.of(run=copy.run))["folder"])
    model = exported.ExportedModel(folder, 1)
    assert {made["file"]: made["folds"] for made, _ in model.networks} == {
        "mask-fold0.onnx": 1,
        "gender-fold0.onnx": 1,
        "age-fold0-1.onnx": 2,
        "age-fold2.onnx": 1,
    }
    assert all(made["flip"] for made, _ in model.networks)
    names = pd.read_csv(copy.data / "eval/info.csv")["ImageID"]
    rows = list(model.label([copy.data / "eval/images" / name for name in names]))
    assert [row["label"] for row in rows] == store.read_csv(copy.run / "submission.csv")["ans"].tolist()
    years = store.read_csv(copy.run / "predictions.csv").groupby("photo", sort=False)["age_years"].mean()
    assert [row["age_years"] for row in rows] == pytest.approx(years.tolist(), abs=1e-2)


def test_what_is_written_is_known_by_its_digest(folder):
    about = json.loads((folder / "model.json").read_text())
    assert set(about["files"]) == {path.name for path in folder.iterdir()} - {"model.json"}
    for name, digest in about["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_card_tells_of_people_held_out(copy, folder):
    card = (folder / "MODEL_CARD.md").read_text()
    held = store.read_csv(copy.run / "held_out.csv")
    right = (held["label"] == held["cross_fitted"]).mean()
    assert f"| all | all photos | {len(held)} |" in card
    assert f"{right:.1%} (" in card
    report = store.read_json(copy.run / "combiner.json")["report"]
    assert f"macro-F1 {report['expected']['macro_f1']:.3f}" in card
    assert "## Limits" in card


def test_photos_that_are_none_and_folders_that_are_changed(copy, folder, tmp_path):
    (tmp_path / "no.jpg").write_text("no photo")
    photo = next((copy.data / "eval/images").iterdir())
    done = label_alone(folder, tmp_path / "no.jpg", photo, tmp_path / "gone.jpg")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{photo}: ")
    assert done.stderr.splitlines() == [f"{tmp_path / name}: no photo" for name in ("no.jpg", "gone.jpg")]
    (folder / "age-fold0.onnx").write_bytes(b"other")
    done = label_alone(folder, photo)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("age-fold0.onnx is not what export wrote; export the run again.\n")
    (folder / "model.json").unlink()
    assert "is no folder that export wrote" in label_alone(folder, photo).stderr


def test_a_network_that_is_exported_otherwise_is_refused(copy, monkeypatch):
    whole = trained.trained_network

    def shaken(fold):
        task, network = whole(fold)
        calls = []
        predicted = task.predict
        task.predict = lambda logits: predicted(logits) + 0.01 * (calls.append(0) or len(calls) == 1)
        return task, network

    monkeypatch.setattr("pipeline.serving.export.trained_network", shaken)
    with pytest.raises(UserError, match=r"^mask fold 0: the exported network's mask_\w+ is off by 0\.01"):
        export(Export.of(run=copy.run))
    assert not (copy.run / "export").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--folder", "people/export"],
            "--folder people/export lies in the data set, where nothing is written; name another folder.",
        ),
        (["--folder", "people/key.csv"], "--folder people/key.csv is not a folder; name one for the export."),
        (
            ["--run", "runs/none"],
            "there is no run runs/none yet; train it first (make train-mask train-gender train-age).",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_told(copy, words, sentence, capsys):
    assert main(["export", *(["--run", "runs/one"] if "--run" not in words else []), *words]) == 2
    assert capsys.readouterr().err == f"face18: {sentence}\n"


def test_without_the_packages_it_is_told(copy, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.stages.export.find_spec", lambda name: None)
    assert main(["export", "--run", str(copy.run)]) == 2
    told = "an export needs onnx and onnxruntime; run make setup, or pip install onnx onnxruntime."
    assert capsys.readouterr().err == f"face18: {told}\n"


def test_a_rival_without_years_is_refused(copy):
    train(Train.of(task="joint", run=copy.run, backbone="test_efficientnet", **SMALL))
    predict(Predict.of(run=copy.run, threads=1, system="joint"))
    calibrate(Calibrate.of(run=copy.run, system="joint"))
    with pytest.raises(UserError, match=r"^the system joint predicts no years"):
        export(Export.of(run=copy.run, system="joint"))


def test_label_takes_a_folder_in_place_of_a_run(copy, folder, capsys):
    photos = [str(copy.data / "eval/images" / name) for name in pd.read_csv(copy.data / "eval/info.csv")["ImageID"]]
    broken = Path("broken.jpg")
    broken.write_text("no photo")
    capsys.readouterr()
    assert main(["label", *photos, "--model", str(folder), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == store.read_csv(copy.run / "submission.csv")["ans"].tolist()
    assert main(["label", photos[0], str(broken), "--model", str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith(photos[0])
    assert "of 2 photos 1 cannot be decoded" in printed.err
    assert main(["label", photos[0], "--model", str(folder), "--run", "runs/one"]) == 2
    assert capsys.readouterr().err == f"face18: --model {folder} says what labels them; leave out --run.\n"
    assert main(["label", photos[0], "--model", "people"]) == 2
    assert "people is no folder that export wrote" in capsys.readouterr().err


def test_photos_of_other_kinds_are_read_as_ours_are(tmp_path):
    """Transparent ones lie on white, turned ones stand upright."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (6, 5, 4), np.uint8), (50, 60), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "clear.png")
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels[:, :, :3]).convert("CMYK").save(tmp_path / "ink.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[:, :, :3]).save(tmp_path / "turned.jpg", exif=turned)
    for name in ("clear.png", "grey.png", "ink.jpg", "turned.jpg"):
        ours, theirs = decode(tmp_path / name).pixels, exported.read_photo(tmp_path / name)
        assert theirs.shape == ours.shape
        assert np.abs(theirs.astype(int) - ours).max() <= 1, name


def test_what_is_no_photo_ends_nothing(tmp_path):
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(header + struct.pack(">I", zlib.crc32(header[12:])))
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("bomb.png", "pipe.jpg", "gone.jpg"):
        assert exported.read_photo(tmp_path / name) is None


def test_a_run_that_predicted_in_bfloat16_is_refused(copy):
    record = store.read_json(copy.run / "done/predict.json")
    record["metrics"]["engine"] = "openvino-bfloat16"
    store.write_json(copy.run / "done/predict.json", record)
    with pytest.raises(UserError, match="to predictions in bfloat16, and exported networks predict in float32"):
        export(Export.of(run=copy.run))


def test_a_folder_with_other_things_stays_as_it_is(copy, folder):
    other = Path("other")
    other.mkdir()
    (other / "label.py").write_text("mine")
    with pytest.raises(UserError, match=r"^--folder other holds other things \(label\.py\); name an empty folder\.$"):
        export(Export.of(run=copy.run, folder=other))
    assert (other / "label.py").read_text() == "mine"
    (other / "model.json").write_text('{"mine": true}')
    with pytest.raises(UserError, match="holds other things"):
        export(Export.of(run=copy.run, folder=other))
    (folder / "age-fold4.onnx").write_bytes(b"of an earlier export")
    export(Export.of(run=copy.run))
    assert not (folder / "age-fold4.onnx").exists()


def test_pictures_are_drawn_of_photos_as_they_are_named(copy, folder, capsys):
    shutil.copy(next((copy.data / "eval/images").iterdir()), Path("one.jpg"))
    assert main(["label", "./one.jpg", "--model", str(folder), "--draw", "drawn"]) == 0
    assert Path("drawn/one.jpg").is_file()
    assert "./one.jpg" in capsys.readouterr().out
    Path("torn.jpg").write_text("no photo")
    assert main(["label", "torn.jpg", "--model", str(folder), "--draw", "drawn"]) == 2
    assert "of 1 photos 1 cannot be decoded" in capsys.readouterr().err


@pytest.mark.parametrize("about", ["[]", "{}", '{"format": 99}', '{"format": 2, "files": {}, "networks": [{}]}'])
def test_what_is_no_export_is_told_in_a_sentence(tmp_path, about):
    (tmp_path / "model.json").write_text(about)
    with pytest.raises(ValueError, match=f"^{tmp_path} (is no folder that export|was written by another)"):
        exported.ExportedModel(tmp_path)


def test_the_portable_file_is_made_of_our_lines(tmp_path, monkeypatch):
    text = portable(0.25)
    asked = [line.split()[1] for line in text.splitlines() if line.startswith(("from ", "import "))]
    assert not {name.split(".")[0] for name in asked} & {"pipeline", "models", "torch"}
    assert portable(0.25) == text
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    (tmp_path / "portable_label.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    alone = importlib.import_module("portable_label")
    box = (10, 10, 30, 40)
    assert np.array_equal(alone.fit(pixels, (64, 48, 0.25), box), fit(pixels, View(64, 48), box))
