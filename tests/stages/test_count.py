"""Counts of a run: what is counted, by what, and what cannot be."""

import re
import shutil
import sys
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
    worn = of(table, "mask").iloc[0]
    interval = f"{worn['low']:.0f} to {worn['high']:.0f}"
    cells = ["photos: mask worn", str(worn["plain"]), f"{worn['count']:.0f}", interval, f"{worn['share']:.1%}"]
    assert re.split("  +", printed.splitlines()[1]) == cells
    assert "corrected by how labels are confused on people held out" in printed
    before = (copy.run / "counts.csv").stat().st_mtime_ns
    assert count(Count.of(run=copy.run))["told"] == metrics["told"]
    assert (copy.run / "counts.csv").stat().st_mtime_ns == before


def test_notes_are_in_the_words_of_the_program_that_was_called(copy, monkeypatch, capsys):
    for program, ours, others in (("face18", "--folds all", "FOLDS="), ("__main__.py", "FOLDS=all", "--folds")):
        monkeypatch.setattr(sys, "argv", [program])
        calibrate(Calibrate.of(run=copy.run, prior="auto"))
        count(Count.of(run=copy.run))
        printed = capsys.readouterr().out
        assert printed.count(ours) == 2
        assert others not in printed
        calibrate(Calibrate.of(run=copy.run, prior="0.4,0.3,0.3"))
        capsys.readouterr()


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


def test_columns_of_the_data_set_and_the_people_who_are_known(named, capsys):
    assert count(Count.of(run=named.run, by="day"))["groups"] == 4
    table = store.read_csv(named.run / "counts.csv")
    photos = store.read_csv(named.data / "photos.csv")
    photos = photos[photos["part"] == "eval"].assign(day=photos["day"].fillna("(blank)").replace("", "(blank)"))
    for day, rows in photos.groupby("day"):
        assert of(table, "mask", day)["plain"].sum() == len(rows)
        assert of(table, "band", day, "people")["plain"].sum() == rows["person"].replace("", pd.NA).nunique()
    assert of(table, "gender", unit="people")["plain"].sum() == 10  # and nobody's photos are no people
    assert main(["count", "--run", str(named.run), "--by", "place"]) == 2
    told = "--by place: 'named' has no such column; it has 'day', and folder counts by folders."
    assert told in capsys.readouterr().err
    photos = pd.read_csv(named.data / "photos.csv", dtype=str)
    photos.assign(second=range(len(photos))).to_csv(named.data / "photos.csv", index=False)
    assert main(["count", "--run", str(named.run), "--by", "second"]) == 2
    assert "--by second: 70 groups of 70 photos tell photos apart rather than count them" in capsys.readouterr().err
    photos[:-3].to_csv(named.data / "photos.csv", index=False)
    assert main(["count", "--run", str(named.run), "--by", "day"]) == 2
    assert (
        "is about other photos than named (3 are gone, 0 came after predict); run predict again."
        in capsys.readouterr().err
    )


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
