"""Counts of a run: what is counted, by what, and what cannot be."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from models.labels import GENDERS, MASKS, decode
from pipeline.__main__ import main
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.count import Count, count
from pipeline.stages.predict import Predict, predict


def of(table, kind, group="all", unit="photos"):
    return table[(table["kind"] == kind) & (table["group"] == group) & (table["unit"] == unit)]


def test_all_photos_are_counted(copy, capsys):
    metrics = count(Count.of(run=copy.run))
    table = store.read_csv(copy.run / "counts.csv")
    labels = store.read_csv(copy.run / "submission.csv")["ans"]
    assert metrics["photos"] == len(labels)
    assert of(table, "label")["plain"].tolist() == labels.value_counts().reindex(range(18), fill_value=0).tolist()
    masks = pd.Series(decode(labels)[0]).value_counts().reindex(range(3), fill_value=0)
    assert of(table, "mask")["plain"].tolist() == masks.tolist()
    assert of(table, "mask")["value"].tolist() == list(MASKS)
    assert of(table, "gender")["value"].tolist() == list(GENDERS)
    assert (table["unit"] == "photos").all()
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["plain", "corrected", "90", "%", "interval", "share"]
    assert f"photos: mask worn  {' ' * 2}" in printed.replace("photos: mask worn ", "photos: mask worn  ")
    assert "corrected by how labels are confused on people held out" in printed
    before = (copy.run / "counts.csv").stat().st_mtime_ns
    assert count(Count.of(run=copy.run))["told"] == metrics["told"]
    assert (copy.run / "counts.csv").stat().st_mtime_ns == before


def test_folders_and_the_people_in_them(copy, capsys):
    key = store.read_csv(copy.data / "key.csv")
    for n, (name, person) in enumerate(zip(key["ImageID"], key["person"], strict=True)):
        folder = Path("street", str(person))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy.data / "eval/images" / name, folder)
        if n == 0:
            (folder / "broken.jpg").write_bytes(b"no photo")
    predict(Predict.of(run=copy.run, eval=Path("street"), threads=1))
    calibrate(Calibrate.of(run=copy.run, eval=Path("street"), prior="0.4,0.3,0.3", people="folders"))
    assert count(Count.of(run=copy.run, eval=Path("street"), by="folder"))["groups"] == 10
    table = store.read_csv(copy.run / "eval-street/counts.csv")
    assert of(table, "gender", unit="people")["plain"].sum() == 10
    for person in key["person"].unique():
        assert of(table, "gender", person, "people")["plain"].tolist() in ([0, 1], [1, 0])
        assert of(table, "mask", person)["plain"].sum() == (key["person"] == person).sum()
    printed = capsys.readouterr().out
    assert "people: gender female" in printed
    assert "count: 1 photos without a prediction of their own are not counted" in printed


def general(copy, column):
    """A run's place whose data set is in the general layout, with a further column of its eval photos."""
    store.write_json(copy.run / "done/none.json", {})
    photos = store.read_csv(copy.run / "predictions.csv")["photo"]
    return {photo: {"day": column(n)} for n, photo in enumerate(photos)}


def test_columns_of_the_data_set(copy, monkeypatch, capsys):
    further = general(copy, lambda n: f"day {n % 3}")
    from pipeline.stages import count as stage

    whole = stage.data_of
    monkeypatch.setattr(stage, "data_of", lambda *a: whole(*a).__class__(**(vars(whole(*a)) | {"further": further})))
    assert count(Count.of(run=copy.run, by="day"))["groups"] == 3
    table = store.read_csv(copy.run / "counts.csv")
    assert [of(table, "mask", f"day {day}")["plain"].sum() for day in range(3)] == [24, 23, 23]
    assert main(["count", "--run", str(copy.run), "--by", "place"]) == 2
    assert (
        "--by place: 'people' has no such column; it has 'day', and folder counts by folders."
        in capsys.readouterr().err
    )
    further.update(general(copy, lambda n: f"second {n}"))
    assert main(["count", "--run", str(copy.run), "--by", "day"]) == 2
    assert "--by day: 70 groups of 70 photos tell photos apart rather than count them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--by", "day"], "--by day: 'people' has no such column; it has no further columns, and folder counts by"),
        (["--run", "runs/none"], "there is no run runs/none yet"),
        (["--eval", "nowhere"], "nowhere"),
        (["now"], "count does not know what to do with now"),
    ],
)
def test_what_cannot_be_counted_is_told(copy, capsys, words, told):
    assert main(["count", *(["--run", str(copy.run)] if "--run" not in words else []), *words]) == 2
    assert told in capsys.readouterr().err


def test_before_it_is_calibrated_there_is_nothing_to_count(copy, capsys):
    (copy.run / "combiner.json").unlink()
    assert main(["count", "--run", str(copy.run)]) == 2
    assert "calibrate" in capsys.readouterr().err
    assert not (copy.run / "counts.csv").exists()
