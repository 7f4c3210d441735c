"""What prepare, and predict with EVAL, tell and keep of the data they read; and what they refuse for it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.runtime import store
from pipeline.stages.predict import Predict, predict

ROW = ("photo", "person", "mask", "gender", "age", "part")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Ten people with a photo each, two eval photos and a file that is none."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"{i}.jpg", f"p{i}", "none", ("male", "female")[i % 2], 20 + i, "train") for i in range(10)]
    rows += [(f"e{i}.jpg", "", "", "", "", "eval") for i in range(2)]
    (tmp_path / "data").mkdir()
    for i, row in enumerate(rows):
        noise = np.random.default_rng(i).integers(0, 255, (8, 6, 3), np.uint8)
        Image.fromarray(noise).resize((48, 64)).save(tmp_path / "data" / row[0])
    pd.DataFrame(rows, columns=ROW).to_csv(tmp_path / "data/photos.csv", index=False)
    return tmp_path / "data"


def test_prepare_ends_with_what_was_read(root, capsys):
    assert main(["prepare", "--data", "data", "--run", "run"]) == 0
    told = [line.removeprefix("prepare: ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["people", "10", "unknown"] in told
    assert ["photos", "10", "2"] in told
    assert [line for line in told if line[0] in ("men", "women")] == [["men", "5"], ["women", "5"]]
    warnings = [line for line in told if line[0] == "warning:"]
    assert [line[5:7] for line in warnings] == [["mask", "worn,"], ["mask", "wrong,"], ["age", "30"], ["age", "60"]]
    assert told[-1] == warnings[-1]
    kept = store.read_json(Path("run/dataset.json"))
    assert (kept["train"]["people"], kept["train"]["photos"], kept["eval"]["photos"]) == (10, 10, 2)
    assert len(kept["absent"]) == 16
    assert kept["eval"]["genders"] is None


@pytest.mark.parametrize(("one", "other"), [("0.jpg", "1.jpg"), ("0.jpg", "e1.jpg"), ("8.jpg", "3.jpg")])
def test_a_photo_that_would_leak_is_refused_and_the_permission_kept(root, capsys, one, other):
    shutil.copyfile(root / one, root / other)
    told = {}
    for stage in ("prepare", "train"):
        assert main([stage, *(["mask"] if stage == "train" else []), "--data", "data", "--run", "run"]) == 2
        told[stage] = capsys.readouterr().err
        assert all(f"'{photo}'" in told[stage] for photo in (one, other))
        assert "--allow-duplicates" in told[stage]
    assert not Path("run/dataset.json").exists()
    assert main(["prepare", "--run", "run", "--allow-duplicates"]) == 0
    assert "used as allowed (1): " in capsys.readouterr().out
    assert store.read_json(Path("run/run.json"))["allow_duplicates"] is True
    assert store.read_json(Path("run/dataset.json"))["duplicates"] == 1
    assert main(["prepare", "--run", "run"]) == 0, "it is remembered"


def test_boxes_outside_of_train_and_eval_photos_are_told_together(root, capsys):
    names = ["photo", "box_x", "box_y", "box_w", "box_h"]
    boxes = [("0.jpg", 900, 400, 100, 120), ("e1.jpg", 900, 400, 100, 120), ("1.jpg", 9, 9, 20, 20)]
    pd.DataFrame(boxes, columns=names).to_csv(root / "boxes.csv", index=False)
    assert main(["prepare", "--data", "data", "--run", "run", "--preset", "small"]) == 2
    told = capsys.readouterr().err
    assert [line.split(":")[0].strip() for line in told.splitlines()[1:]] == ["boxes.csv row 2", "boxes.csv row 3"]
    assert not Path("data/prepared").exists()


def test_a_folder_given_as_eval_is_told_of(copy, capsys):
    folder = copy.data / "eval/images"
    photos = sorted(folder.glob("[!.]*.*"))
    shutil.copyfile(photos[0], photos[1])
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").touch()
    place = copy.run / "eval-images"
    for _ in ("predicted", "stand"):
        capsys.readouterr()
        predict(Predict.of(run=copy.run, threads=1, eval=folder))
        told = capsys.readouterr().out
        assert f"the same photo twice (1): '{photos[0].name}' = '{photos[1].name}'" in told
        assert f"files and photos left out: 2; they are listed in {place}/left_out.csv; system files: " in told
        assert "labels that no train photo carries" not in told
    assert set(store.read_csv(place / "left_out.csv")["photo"]) == {"broken.jpg", "notes.txt"}
    assert store.read_json(place / "dataset.json")["duplicates"] == 1
    assert not (copy.run / "dataset.json").exists()


def test_boxes_outside_stop_a_prediction(copy, capsys):
    boxes = pd.DataFrame(
        {"photo": [str(p.relative_to(copy.data)) for p in (copy.data / "eval/images").glob("[!.]*.*")]}
    )
    boxes.assign(box_x=900, box_y=400, box_w=99, box_h=99).to_csv(copy.data / "boxes.csv", index=False)
    assert main(["predict", "--run", str(copy.run), "--threads", "1"]) == 2
    assert ": the box (900, 400, 99, 99) lies outside the photo 'eval/images/" in capsys.readouterr().err
