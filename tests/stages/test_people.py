"""Runs whose eval photos are of known people: one gender and one age band a person, however they are named."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.export import Export, export
from pipeline.stages.predict import Predict, predict
from pipeline.stages.submit import submit

PRIOR = "0.4,0.3,0.3"


@pytest.fixture
def folders(copy):
    """The eval photos of a run, in a folder of their person each; one of them is no photo."""
    key = store.read_csv(copy.data / "key.csv")
    for name, person in zip(key["ImageID"], key["person"], strict=True):
        Path("party", str(person)).mkdir(parents=True, exist_ok=True)
        shutil.copy(copy.data / "eval/images" / name, Path("party", str(person)))
    broken = next(path for path in sorted(Path("party").rglob("*.*")))
    broken.write_bytes(b"no photo")
    predict(Predict.of(run=copy.run, eval=Path("party"), threads=1))
    return broken


def labelled(copy, **settings):
    calibrate(Calibrate.of(run=copy.run, eval=Path("party"), prior=PRIOR, **settings))
    submit(EvalStage.of(run=copy.run, eval=Path("party")))
    place = copy.run / "eval-party"
    return store.read_csv(place / "labels.csv"), store.read_csv(place / "submission.csv")


def by_folder(table):
    return table.groupby(table["photo"].str.split("/").str[0])


def test_a_folder_is_a_person(copy, folders):
    alone, _ = labelled(copy)
    table, submission = labelled(copy, people="folders")
    assert max(by_folder(alone)["gender"].nunique().max(), by_folder(alone)["band"].nunique().max()) > 1
    for column in ("gender", "band", "age_years", "gender_female"):
        assert by_folder(table)[column].nunique().max() == 1
    assert by_folder(table).size().min() >= 5
    masks = ["photo", "mask", "mask_worn", "mask_wrong", "mask_none"]
    assert table[masks].equals(alone[masks])
    report = store.read_json(copy.run / "eval-party/combiner.json")["report"]
    assert report["pooled"]["people"] == by_folder(table).ngroups
    labels = submission.set_index("photo")["ans"]
    assert labels[table["photo"]].tolist() == table["label"].tolist()
    kept, _ = labelled(copy)  # it is remembered
    assert kept.equals(table)
    again, _ = labelled(copy, people="off")
    assert again.equals(alone)


def test_a_photo_that_cannot_be_decoded_has_its_persons_gender_and_band(copy, folders, capsys):
    table, submission = labelled(copy, people="folders")
    assert "get their person's gender and age band, where that is known, or the most" in capsys.readouterr().out
    missing = submission[~submission["photo"].isin(table["photo"])]
    assert missing["photo"].tolist() == [str(folders.relative_to("party"))]
    theirs = table[table["photo"].str.startswith(f"{folders.parent.name}/")]["label"] % 6
    assert missing["ans"].item() % 6 == theirs.iloc[0]
    assert missing["ans"].item() // 6 == (table["label"] // 6).mode().iloc[0]


def test_persons_that_a_table_names_are_known_by_themselves(copy):
    """predictions.csv holds them where photos.csv does; a photo of nobody is labelled for itself."""
    place = copy.run
    predictions = store.read_csv(place / "predictions.csv")
    key = store.read_csv(copy.data / "key.csv").set_index("ImageID")["person"]
    names = predictions["photo"].str.rsplit("/", n=1).str[-1]
    predictions["person"] = names.map(key).where(predictions.index % 9 > 0)
    store.write_csv(place / "predictions.csv", predictions)
    record = store.read_json(place / "done/predict.json")
    record["wrote"]["predictions.csv"] = store.file_fingerprint(place / "predictions.csv")
    store.write_json(place / "done/predict.json", record)
    calibrate(Calibrate.of(run=copy.run, prior=PRIOR))
    submit(EvalStage.of(run=copy.run))
    table = store.read_csv(place / "labels.csv")
    assert list(table.columns[:6]) == ["photo", "person", "label", "mask", "gender", "band"]
    assert table["person"].eq("").sum() == predictions["person"].isna().sum() > 0
    assert table[table["person"].ne("")].groupby("person")["age_years"].nunique().max() == 1
    years = predictions.set_index("photo")["age_years"]
    nobody = table[table["person"].eq("")]
    assert nobody["age_years"].tolist() == pytest.approx(years[nobody["photo"]].tolist(), abs=1e-6)


def test_single_photos_are_asked_about_by_thresholds_of_photos(copy, folders, capsys):
    """Pooled ages spread less than those of photos, and thresholds of the former suit the latter badly."""
    before = store.read_json(copy.run / "combiner.json")["thresholds"]
    party = copy.run / "eval-party"
    labelled(copy, people="folders")
    for name in ("combiner.json", "held_out.csv", "held_out_alone.csv", "predictions.csv", "settings.json"):
        shutil.copy(party / name, copy.run)
    shutil.copytree(party / "done", copy.run / "done", dirs_exist_ok=True)
    assert store.read_json(copy.run / "combiner.json")["thresholds"] != before
    capsys.readouterr()
    photos = [str(path) for path in sorted((copy.data / "eval/images").iterdir())]
    assert main(["label", *photos, "--run", str(copy.run), "--threads", "1", "--json"]) == 0
    rows = pd.DataFrame(map(json.loads, capsys.readouterr().out.splitlines()))
    low, high = store.read_json(copy.run / "combiner.json")["alone"]["thresholds"]
    bands = (rows["age_years"] >= low).astype(int) + (rows["age_years"] >= high)
    assert rows["label"].mod(3).tolist() == bands.tolist()
    folder = Path(export(Export.of(run=copy.run))["folder"])
    assert store.read_json(folder / "model.json")["thresholds"] == [low, high]
    card = (folder / "MODEL_CARD.md").read_text()
    held = store.read_csv(copy.run / "held_out_alone.csv")
    assert f"| all | all photos | {len(held)} |" in card


def test_folders_that_are_none_are_told(copy, capsys):
    with pytest.raises(UserError, match="all 70 eval photos lie in eval/images; bring a folder for each person"):
        calibrate(Calibrate.of(run=copy.run, people="folders"))
    assert main(["calibrate", "--run", str(copy.run), "--people", "folder"]) == 2
    assert "--people folder: it must be one of auto, folders or off" in capsys.readouterr().err
