"""Runs whose eval photos are of known people: one gender and one age band a person, however they are named."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.report.run_files import read_run_files
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage, RunStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.export import Export, export
from pipeline.stages.predict import Predict, predict
from pipeline.stages.report import Report, report
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
    assert by_folder(table).size().min() == 7
    assert table["person"].tolist() == table["photo"].str.split("/").str[0].tolist()
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
    assert table["photo"].tolist() == submission["photo"].tolist()
    missing = table[table["age_years"].isna()]
    assert missing["photo"].tolist() == [str(folders.relative_to("party"))]
    known = table[table["age_years"].notna()]
    theirs = known[known["photo"].str.startswith(f"{folders.parent.name}/")]
    assert missing["label"].item() % 6 == theirs["label"].iloc[0] % 6
    assert missing["label"].item() // 6 == (known["label"] // 6).mode().iloc[0]
    assert missing[["gender", "band"]].to_numpy().tolist() == theirs[["gender", "band"]].head(1).to_numpy().tolist()


def test_persons_that_a_table_names_are_known_by_themselves(named):
    """A photo of nobody is labelled for itself."""
    table, submission = store.read_csv(named.run / "labels.csv"), store.read_csv(named.run / "submission.csv")
    assert list(table.columns[:6]) == ["photo", "person", "label", "mask", "gender", "band"]
    assert table["photo"].tolist() == submission["photo"].tolist()
    assert table["label"].tolist() == submission["ans"].tolist()
    persons = store.read_csv(named.data / "photos.csv").set_index("photo")["person"].fillna("")
    assert table["person"].tolist() == persons[table["photo"]].tolist()
    nobody = table["person"].eq("")
    assert nobody.sum() == 8
    assert table[~nobody].groupby("person")[["age_years", "gender", "band"]].nunique().to_numpy().max() == 1
    years = store.read_csv(named.run / "predictions.csv").set_index("photo")["age_years"]
    alone = table[nobody]
    assert alone["age_years"].tolist() == pytest.approx(years[alone["photo"]].tolist(), abs=1e-6)
    report = store.read_json(named.run / "combiner.json")["report"]
    assert report["pooled"]["people"] == 10 + 8
    assert "gender and age are decided for each of 10 eval people" in " ".join(report["notes"])


def test_persons_that_are_named_later_are_known_then(named, capsys):
    """Networks need not predict again."""
    table = pd.read_csv(named.data / "photos.csv", dtype=str)
    whose = table["person"].copy()
    table.loc[table["part"] == "eval", "person"] = ""
    table.to_csv(named.data / "photos.csv", index=False)
    (named.run / "submission.csv").unlink()
    for stage in ("submit", "count"):
        assert main([stage, "--run", str(named.run)]) == 2
        assert "names other persons than the photos do now; run predict again." in capsys.readouterr().err
    assert predict(Predict.of(run=named.run, threads=1))["photos"] == 70
    assert "the predictions about 70 photos stand" in capsys.readouterr().out
    calibrate(Calibrate.of(run=named.run, prior=PRIOR))
    submit(EvalStage.of(run=named.run))
    assert "person" not in store.read_csv(named.run / "labels.csv")
    assert "pooled" not in store.read_json(named.run / "combiner.json")["report"]
    assert not (named.run / "held_out_alone.csv").exists()
    table.assign(person=whose).to_csv(named.data / "photos.csv", index=False)
    predict(Predict.of(run=named.run, threads=1))
    assert "the predictions about 70 photos stand" in capsys.readouterr().out
    calibrate(Calibrate.of(run=named.run, prior=PRIOR))
    submit(EvalStage.of(run=named.run))
    assert store.read_csv(named.run / "labels.csv")["person"].ne("").sum() == 62


def test_a_report_of_people_shows_what_labels_rest_on(named):
    """Ages and genders of people, not of photos, beside the labels of people."""
    report(Report.of(run=named.run))
    run = open_run(RunStage.of(run=named.run), make=False)
    files = read_run_files(run, "specialists", named.run)
    table = store.read_csv(named.run / "labels.csv").set_index("photo")
    seen = files.predictions.set_index("photo")
    assert seen["age_years"].tolist() == pytest.approx(table.loc[seen.index, "age_years"].tolist())
    held = store.read_csv(named.run / "held_out.csv").set_index("photo")
    told = files.told_labels().set_index("photo")
    assert told["age_years"].tolist() == pytest.approx(held.loc[told.index, "age_years"].tolist())
    assert told.groupby("person")["age_years"].nunique().max() == 1


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
