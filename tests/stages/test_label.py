"""Single photos labelled by a trained run: what submit says of the same photos, and what is told of others."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import finish, inside, train_tiny

from models.errors import UserError
from models.labels import NAMES
from pipeline.__main__ import main
from pipeline.prediction.label_tables import LABEL_COLUMNS
from pipeline.runtime import store
from pipeline.serving.labeller import Labeller
from pipeline.stages.label import Label, label, table


@pytest.fixture(scope="module")
def asked(done) -> list[str]:
    """The eval photos in the order of the submission."""
    names = pd.read_csv(done.data / "eval/info.csv")["ImageID"]
    return [str(done.data / "eval/images" / name) for name in names]


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_labels_are_those_of_the_submission(done, asked, capsys):
    with inside(done.home):
        label(Label.of(run=Path("runs/one"), photos=tuple(asked), json=True, threads=1))
    told = lines(capsys)
    assert [row["photo"] for row in told] == asked
    submission = pd.read_csv(done.run / "submission.csv")
    assert [row["label"] for row in told] == submission["ans"].tolist()
    assert [f"{row['mask']}, {row['gender']}, {row['band']}" for row in told] == [NAMES[n] for n in submission["ans"]]
    predictions = pd.read_csv(done.run / "predictions.csv")
    columns = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]
    wanted = predictions.groupby("photo")[columns].mean()
    wanted.index = [Path(name).name for name in wanted.index]
    for row in told:
        assert [row[c] for c in columns] == pytest.approx(wanted.loc[Path(row["photo"]).name].tolist(), abs=1e-4)


def test_a_few_photos_are_labelled_as_all_are(done, asked, capsys):
    with inside(done.home):
        label(Label.of(run=Path("runs/one"), photos=(asked[3], asked[1], asked[3]), json=True, threads=1))
    told = lines(capsys)
    assert [row["photo"] for row in told] == [asked[3], asked[1]]  # once each
    assert [row["label"] for row in told] == pd.read_csv(done.run / "submission.csv")["ans"].iloc[[3, 1]].tolist()


def test_lines_are_printed_while_photos_are_labelled(done, asked, tmp_path, capsys, monkeypatch):
    """Those of the first photos stand before the last ones are looked at."""
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    monkeypatch.setattr("pipeline.stages.label.TURN", 4)
    printed, whole = [], Labeller.label

    def watched(self, photos, quiet):
        printed.append(len(lines(capsys)))
        return whole(self, photos, quiet)

    monkeypatch.setattr(Labeller, "label", watched)
    words = ["label", str(tmp_path / "broken.jpg"), *asked[:9], "--run", "runs/one", "--threads", "1", "--json"]
    with inside(done.home):
        assert main(words) == 2
    told = capsys.readouterr()
    assert printed == [0, 3, 4]
    assert len(told.out.splitlines()) == 2
    assert "of 10 photos 1 cannot be decoded" in told.err


def test_a_folder_and_a_list_name_photos_too(done, asked, capsys, monkeypatch):
    with inside(done.home):
        label(Label.of(run=Path("runs/one"), photos=(str(done.data / "eval/images"),), json=True, threads=1))
        by_folder = {row["photo"]: row["label"] for row in lines(capsys)}
        told = io.BytesIO("\n".join([asked[0], *asked[1:3]]).encode() + b"\r\n\n")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(told))
        label(Label.of(run=Path("runs/one"), photos=("-",), json=True, threads=1))
    by_list = {row["photo"]: row["label"] for row in lines(capsys)}
    assert set(by_folder) == set(asked)
    assert by_list == {photo: by_folder[photo] for photo in asked[:3]}


def test_the_table_is_read_by_people(done, asked, capsys):
    with inside(done.home):
        assert main(["label", asked[0], asked[1], "--run", "runs/one", "--threads", "1"]) == 0
    printed = capsys.readouterr()
    head, *rows = printed.out.splitlines()
    assert head.split() == ["photo", "label", "mask", "gender", "age", "band", "years"]
    assert len(rows) == 2
    first = pd.read_csv(done.run / "submission.csv")["ans"][0]
    mask, gender, band = NAMES[first].split(", ")
    assert rows[0].startswith(asked[0])
    assert f" {first} " in rows[0]
    assert f"{mask} " in rows[0]
    assert f"{gender} " in rows[0]
    assert f"  {band}  " in rows[0]
    assert "bands go by the thresholds" in printed.err


def test_photos_that_cannot_be_decoded_are_named_after_the_others(done, asked, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    with inside(done.home):
        words = ["label", str(tmp_path / "broken.jpg"), asked[0], "--run", "runs/one", "--threads", "1", "--json"]
        assert main(words) == 2
    told = capsys.readouterr()
    assert [json.loads(line)["photo"] for line in told.out.splitlines()] == [asked[0]]
    assert "of 2 photos 1 cannot be decoded and have no label:\n" in told.err
    assert "broken.jpg': it begins like a JPEG" in told.err
    for more in ([], ["--json"]):
        with inside(done.home):
            assert main(["label", str(tmp_path / "broken.jpg"), "--run", "runs/one", "--threads", "1", *more]) == 2
        told = capsys.readouterr()
        assert "of 1 photos 1 cannot" in told.err
        assert told.out == ""


def test_names_as_shells_and_find_write_them(done, asked, tmp_path, monkeypatch, capsys):
    """With dashes, dots and odd signs; JSON names each as it was named."""
    run = done.run.resolve()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(done.home / "data")
    names = ["-hello.jpg", "--run.jpg", "./a b.jpg", "line\u2028end.jpg"]
    for name in names:
        shutil.copy(asked[0], name)
    words = ["label", names[0], names[2], names[3], "--run", str(run), "--threads", "1", "--json", "--", names[1]]
    assert main(words) == 0
    assert [row["photo"] for row in lines(capsys)] == [names[0], names[2], names[3], names[1]]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names[3].encode()), encoding="ascii"))
    assert main(["label", "-", "--run", str(run), "--threads", "1", "--json"]) == 0
    assert [row["photo"] for row in lines(capsys)] == [names[3]]
    assert main(["label", "--photos", "x.jpg", "--run", str(run)]) == 2
    assert "perhaps you mean --photos" not in capsys.readouterr().err


def test_how_certain_is_said_of_the_answer_that_is_told():
    """A rival's labels are corrected for the mix, and may differ from its likeliest attribute."""
    row = {"photo": "a", "label": 3, "mask": "worn", "gender": "female", "band": "under 30", "gender_female": 0.25}
    (_, told) = table(pd.DataFrame([row | {"mask_worn": 0.4, "mask_wrong": 0.5, "mask_none": 0.1}]))
    assert told.split() == ["a", "3", "worn", "40%", "female", "25%", "under", "30"]


def test_a_name_cannot_write_to_the_terminal():
    row = {"photo": "a\x1b[2Jb\n.jpg", "label": 7, "mask": "wrong", "gender": "male", "band": "30 to 59"}
    told = table(pd.DataFrame([row, row | {"photo": "plain name.jpg"}]))
    assert len(told) == 3
    assert "\x1b" not in told[1]
    assert told[2].startswith("plain name.jpg  ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "label needs photos: name some"),
        ([""], "there is no photo ''; name a file"),
        (["nowhere.jpg"], "there is no photo 'nowhere.jpg'; name a file, a folder, or -"),
    ],
)
def test_photos_must_be_named_and_there(done, words, told, capsys):
    with inside(done.home):
        assert main(["label", *words, "--run", "runs/one"]) == 2
    assert told in capsys.readouterr().err


def test_a_run_that_is_not_calibrated_or_was_trained_on_is_told(copy, capsys):
    photo = str(next((copy.data / "eval/images").glob("[!.]*.jpg")))
    train_tiny(copy.run, copy.data, "age", folds="1")
    with pytest.raises(
        UserError, match=r"fitted to other networks or predictions than .* make predict and make calibrate"
    ):
        label(Label.of(run=copy.run, photos=(photo,), threads=1))
    shutil.rmtree(copy.run / "age/fold1")
    record = copy.run / "done/calibrate.json"
    made = store.read_json(record)
    store.write_json(record, made | {"metrics": made["metrics"] | {"predictions": "of another time"}})
    with pytest.raises(UserError, match="fitted to other networks or predictions"):
        label(Label.of(run=copy.run, photos=(photo,), threads=1))
    store.write_json(record, made)
    (copy.run / "combiner.json").unlink()
    with pytest.raises(UserError, match="missing, damaged or was changed; run calibrate again"):
        label(Label.of(run=copy.run, photos=(photo,), threads=1))
    (copy.run / "done/calibrate.json").unlink()
    with pytest.raises(UserError, match=r"has no combiner\.json yet; run make predict and make calibrate first"):
        label(Label.of(run=copy.run, photos=(photo,), threads=1))


def test_a_rival_labels_with_what_it_predicts(copy, capsys):
    tiny = {"backbone": "test_efficientnet", "backbone_options": {}, "height": 64, "width": 48, "batch_size": 16}
    from pipeline.stages.train import Train, train

    train(Train.of(task="joint", run=copy.run, epochs=0.5, threads=1, lr=1e-3, **tiny))
    finish(copy.run, system="joint")
    capsys.readouterr()
    photos = tuple(map(str, sorted((copy.data / "eval/images").glob("[!.]*.jpg"))[:5]))
    label(Label.of(run=copy.run, photos=photos, system="joint", json=True, threads=1))
    told = lines(capsys)
    assert set(told[0]) == {"photo", "label", "mask", "gender", "band", *LABEL_COLUMNS}
    submission = pd.read_csv(copy.run / "joint/submission.csv").set_index("ImageID")["ans"]
    assert np.array_equal([row["label"] for row in told], [submission[Path(row["photo"]).name] for row in told])
    label(Label.of(run=copy.run, photos=photos, system="joint", threads=1))
    assert "%" not in capsys.readouterr().out


def test_pictures_of_the_photos_are_drawn_where_asked(done, asked, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8no photo")
    given = {"run": Path("runs/one"), "threads": 1, "photos": (*asked[:2], str(bad))}
    with inside(done.home):
        with pytest.raises(UserError, match="of 3 photos 1 cannot be decoded"):
            label(Label.of(draw=tmp_path / "pictures", **given))
        assert "2 pictures in" in capsys.readouterr().err
        with pytest.raises(UserError, match="lies in the data set"):
            label(Label.of(draw=done.data / "pictures", **given))
    listed = pd.read_csv(tmp_path / "pictures/pictures.csv")
    assert listed["photo"].tolist() == asked[:2]
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"pictures.csv", *listed["picture"]}
