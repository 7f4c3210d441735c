"""The report of whole runs: every number is that of the file it came from, and every run has its page."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score
from tiny_runs import SMALL, finish

from models.errors import UserError
from models.labels import BANDS, GENDERS, MASKS, NAMES, decode
from pipeline.__main__ import main
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.report import Report, report
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train


class Page(HTMLParser):
    """The tables of a page by the section or drawing they stand in: rows of cells, numbers as their whole values."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.tags, self.texts = {}, [], [], []
        self._key = self._row = self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag in ("section", "figure", "details") and attributes.get("id"):
            self._key = attributes["id"].removeprefix("drawing-")
        elif tag == "table":
            self.tables.setdefault(self._key, [])
        elif tag == "tr":
            self._row = []
        elif tag in ("td", "th"):
            self._cell = {"text": "", "values": []}
        elif tag == "data" and self._cell is not None:
            self._cell["values"].append(float(attributes["value"]))

    def handle_data(self, text):
        self.texts.append(text)
        if self._cell is not None:
            self._cell["text"] += text

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            values = self._cell["values"]
            self._row.append(self._cell["text"] if not values else values[0] if len(values) == 1 else tuple(values))
            self._cell = None
        elif tag == "tr":
            self.tables[self._key].append(self._row)

    def table(self, key):
        head, *rows = self.tables[key]
        assert all(len(row) == len(head) for row in rows)
        return rows


def page_of(run, **settings):
    found = report(Report.of(run=run, **settings))
    return Page(Path(found["page"]).read_text())


@pytest.fixture(scope="module")
def told(done, tmp_path_factory):
    """The page of a finished run, and its copy."""
    home = tmp_path_factory.mktemp("reported")
    run = shutil.copytree(done.run, home / "runs/one")
    return run, page_of(run, no_photos=True)


def test_the_scores_are_those_on_record(told):
    run, page = told
    scored, made = store.read_json(run / "score.json"), store.read_json(run / "combiner.json")["report"]
    rows = {row[0]: row for row in page.table("score")}
    assert rows["truth"][1:4] == [scored["macro_f1"], *scored["interval"]]
    expected = made["expected"]
    assert rows["expected"][1] == expected["macro_f1"]
    assert rows["expected"][2:4] == (expected["interval"] or ["", ""])
    for name, key in (("held out", "cross_fitted"), ("held out, uncalibrated", "plain")):
        assert rows[name][1:4] == [made["scores"]["eval"][key]["macro_f1"], *made["scores"]["eval"][key]["interval"]]


def test_the_confusion_and_f1_are_those_of_the_submission(told):
    run, page = told
    scored = store.read_csv(run / "scored.csv")
    whole = confusion_matrix(scored["label"], scored["predicted"], labels=range(18))
    cells = {(row[0], row[1]): row[2] for row in page.table("confusion")}
    assert cells == {(NAMES[i], NAMES[j]): whole[i, j] for i, j in zip(*whole.nonzero(), strict=True)}
    f1 = f1_score(scored["label"], scored["predicted"], labels=range(18), average=None, zero_division=0)
    for row in page.table("f1"):
        at = NAMES.index(row[0])
        assert row[1] == pytest.approx(f1[at])
        assert row[4] == whole[at].sum()
    kept = store.read_json(run / "score.json")
    errors = {row[0]: row[1] for row in page.table("errors")}
    assert list(errors.values()) == list(kept["errors"].values())


def test_thresholds_mixes_and_ages_are_those_of_their_files(told):
    run, page = told
    made = store.read_json(run / "combiner.json")["report"]
    surface = {row[0]: row for row in page.table("surface")}
    assert surface["chosen"][1:3] == made["thresholds"]
    assert surface["30 and 60"][1:3] == [30, 60]
    assert surface["highest"][3] >= surface["chosen"][3]
    mixes = {row[0]: row[1::2] for row in page.table("age_mix")}
    assert mixes["train people"] == made["age_mix"]["train"]
    assert mixes["used"] == made["age_mix"]["used"]
    labels = store.read_csv(run / "submission.csv")["ans"]
    assert mixes["labels given"] == [(decode(labels)[2] == band).mean() for band in range(3)]
    truth = store.read_csv(run / "scored.csv")["label"]
    assert mixes["truth"] == [(decode(truth)[2] == band).mean() for band in range(3)]
    held = pd.concat(store.read_csv(file) for file in run.glob("age/fold*/validation.csv"))
    whole = page.table("ages")[0]
    assert whole[1:3] == [len(held), held["person"].nunique()]
    assert whole[5] == pytest.approx((held["age_years"] - held["age"]).abs().mean())
    assert whole[4] == pytest.approx((held["age_years"] - held["age"]).mean())


def test_learning_curves_are_the_logs(told):
    run, page = told
    for task in ("mask", "gender", "age"):
        log = store.read_csv(run / task / "fold0/log.csv")
        rows = page.table(f"learning-{task}")
        assert [row[1] for row in rows] == log["epoch"].tolist()
        for place, column in ((2, "train_loss"), (3, "validation_loss"), (5, "macro_f1"), (6, "gap"), (-1, "seconds")):
            assert [row[place] for row in rows] == log[column].tolist()


def test_groups_are_those_of_photos_and_of_further_columns(told, done):
    run, page = told
    scored = store.read_csv(run / "scored.csv")
    rows = {(row[0], row[1]): row for row in page.table("groups-eval")}
    right = scored["label"] == scored["predicted"]
    assert rows["all", "all photos"][2:5] == [len(scored), scored["person"].nunique(), right.mean()]
    for by, words, codes in zip(
        ("mask", "gender", "age band"), (MASKS, GENDERS, BANDS), decode(scored["label"]), strict=True
    ):
        for code, word in enumerate(words):
            assert rows[by, word][4] == pytest.approx(right[codes == code].mean())
    race = pd.read_csv(done.data / "train/train.csv").set_index("path")["race"]
    held = store.read_csv(run / "held_out.csv")
    people = pd.concat(store.read_csv(file) for file in run.glob("age/fold*/validation.csv"))
    held = held.merge(people[["photo", "person"]], on="photo")
    told_races = {row[1]: row for row in page.table("groups-held-out") if row[0] == "race"}
    assert len(told_races) in (0, held["person"].map(race).nunique())
    for name, row in told_races.items():
        some = held[held["person"].map(race) == name]
        assert row[4] == pytest.approx((some["label"] == some["cross_fitted"]).mean())


def test_reliability_is_of_the_people_held_out(told):
    run, page = told
    table = store.read_csv(run / "gender/fold0/validation.csv")
    rows = page.table("reliability-gender")
    assert sum(row[4] for row in rows) == len(table)
    weights = [row[4] for row in rows]
    assert np.average([row[1] for row in rows], weights=weights) == pytest.approx(table["gender_female"].mean())
    assert np.average([row[2] for row in rows], weights=weights) == pytest.approx((table["gender"] == 1).mean())
    ages = store.read_csv(run / "age/fold0/validation.csv")
    rows = page.table("reliability-age")
    assert np.average([row[2] for row in rows], weights=[row[4] for row in rows]) == pytest.approx(ages["age"].mean())


def test_the_page_needs_nothing_and_runs_nothing(told):
    run, page = told
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "form", "base"} == set()
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"(data:|#)", attributes.get(name) or "#"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert len(page.ids) == len(set(page.ids)), "every id stands once"
    text = (run / "report.html").read_text()
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert "https://" not in text
    assert "url(http" not in text
    assert not re.search("#(0102|fe01)[0-9a-f]{2}", text), "every token has its colour"
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images == [], "--no-photos leaves people out"


def test_drawings_are_files_too(told):
    run, page = told
    files = {file.stem: file.read_text() for file in (run / "report").glob("*.svg")}
    assert {"score", "confusion", "ages", "surface", "age_mix", "learning-mask"} <= set(files)
    assert {f"drawing-{name}" for name in files} <= set(page.ids)
    for svg in files.values():
        assert svg.startswith("<svg")
        assert "var(" not in svg
        assert not re.search("#(0102|fe01)[0-9a-f]{2}", svg)


def test_the_same_files_give_the_same_page(told):
    run, _ = told
    first = (run / "report.html").read_bytes()
    report(Report.of(run=run, no_photos=True))
    assert (run / "report.html").read_bytes() == first


def test_galleries_show_people_held_out_and_scored_eval_photos(copy):
    page = page_of(copy.run)
    names = [attributes["alt"] for tag, attributes in page.tags if tag == "img" and "photo " in attributes["alt"]]
    truth = set(store.read_csv(copy.run / "scored.csv")["photo"])
    held = set(store.read_csv(copy.run / "held_out.csv")["photo"])
    shown = {name.removeprefix("photo ") for name in names}
    assert shown & truth
    assert shown & held
    assert shown <= truth | held
    maps = [attributes["alt"] for tag, attributes in page.tags if tag == "img" and "looked" in attributes["alt"]]
    assert len(maps) == 3 * len(names)
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    assert len(set(pictures)) > len(pictures) / 2
    assert (copy.run / "report.html").stat().st_size < 5e6


def test_without_truth_no_eval_photo_is_shown(copy):
    (copy.data / "key.csv").unlink()
    for name in ("score.json", "scored.csv", "done/score.json"):
        (copy.run / name).unlink()
    page = page_of(copy.run)
    eval_photos = set(store.read_csv(copy.run / "predictions.csv")["photo"])
    shown = {attributes.get("alt", "").removeprefix("photo ") for tag, attributes in page.tags if tag == "img"}
    assert shown & set(store.read_csv(copy.run / "held_out.csv")["photo"])
    assert not shown & eval_photos
    assert "truth" not in {row[0] for row in page.table("score")}
    assert "groups-eval" not in page.tables


def test_a_score_of_another_submission_is_not_shown(copy):
    calibrate(Calibrate.of(run=copy.run, prior="0.8,0.1,0.1"))
    submit(EvalStage.of(run=copy.run))
    labels = store.read_csv(copy.run / "submission.csv")
    scored = store.read_csv(copy.run / "scored.csv")
    if labels["ans"].tolist() == scored["predicted"].tolist():
        pytest.skip("the same labels")
    page = page_of(copy.run, no_photos=True)
    assert "truth" not in {row[0] for row in page.table("score")}
    assert any("another submission" in row[1] for row in page.table("notes"))
    score(Score.of(run=copy.run))
    assert "truth" in {row[0] for row in page_of(copy.run, no_photos=True).table("score")}


def test_without_eval_photos(copy):
    shutil.rmtree(copy.data / "eval")
    of_eval = ["predictions.csv", "submission.csv", "score.json", "scored.csv", "bad_photos.csv"]
    for name in (*of_eval, *(f"done/{stage}.json" for stage in ("predict", "calibrate", "submit", "score"))):
        (copy.run / name).unlink()
    predict(Predict.of(run=copy.run, threads=1))
    calibrate(Calibrate.of(run=copy.run, prior="train"))
    page = page_of(copy.run)
    assert [row[0] for row in page.table("score")] == ["held out", "held out, uncalibrated"]
    assert [row[0] for row in page.table("age_mix")] == ["train people", "used"]


@pytest.mark.parametrize(("system", "settings"), [("joint", {}), ("multihead", {"age_head": "bands"})])
def test_a_rival_has_its_page(copy, system, settings):
    train_tiny_rival(copy, system, **settings)
    finish_rival(copy, system)
    page = page_of(copy.run, system=system)
    assert {"score", "confusion", "age_mix", "groups-eval", f"learning-{system}", "reliability-label"} <= set(
        page.tables
    )
    assert "surface" not in page.tables
    made = store.read_json(copy.run / system / "combiner.json")["report"]
    rows = {row[0]: row for row in page.table("score")}
    assert rows["held out"][1] == made["scores"]["eval"]["cross_fitted"]["macro_f1"]
    assert any("looked" in attributes.get("alt", "") for tag, attributes in page.tags if tag == "img")


def train_tiny_rival(copy, system, **settings):
    train(Train.of(task=system, run=copy.run, backbone="test_efficientnet", **(SMALL | settings)))


def finish_rival(copy, system):
    predict(Predict.of(run=copy.run, threads=1, system=system))
    calibrate(Calibrate.of(run=copy.run, prior="0.4,0.3,0.3", system=system))
    submit(EvalStage.of(run=copy.run, system=system))
    score(Score.of(run=copy.run, system=system))


def test_a_folder_of_photos_has_its_page(copy):
    folder = copy.data / "eval/images"
    finish(copy.run, eval=folder)
    page = page_of(copy.run, eval=folder)
    assert (copy.run / "eval-images/report.html").is_file()
    assert "truth" not in {row[0] for row in page.table("score")}
    assert page.table("age_mix")


ODD = ["<script>alert(1)</script>", "a\nb", "‮gpj.", "..%2f..", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "&lt;"]


def test_names_and_columns_run_nothing(copy):
    """Markup, line ends and right-to-left marks in names of people and columns are shown as text."""
    names = pd.read_csv(copy.data / "train/train.csv", dtype=str)
    names["<b>team</b>"] = [ODD[i % len(ODD)] for i in range(len(names))]
    names.to_csv(copy.data / "train/train.csv", index=False)
    page = page_of(copy.run, no_photos=True)
    rows = [row for row in page.table("groups-held-out") if row[0] == "<b>team</b>"]
    assert rows
    assert {row[1] for row in rows} <= {
        "\\u202egpj." if name == "‮gpj." else name.replace("\n", "\\u000a") for name in ODD
    }
    assert not {tag for tag, _ in page.tags} & {"script", "b"}
    assert "‮" not in (copy.run / "report.html").read_text()
    assert not [attributes for tag, attributes in page.tags if tag == "img"]


def test_a_run_that_is_not_calibrated_is_told_what_to_do(copy):
    (copy.run / "combiner.json").unlink()
    with pytest.raises(UserError, match=r"^runs/one has no combiner\.json yet; run make calibrate first\.$"):
        report(Report.of(run=copy.run))
    assert not (copy.run / "report.html").exists()


def test_what_is_missing_is_told_before_anything(copy, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.stages.report.find_spec", lambda name: None)
    assert main(["report", "--run", str(copy.run)]) == 2
    told = capsys.readouterr().err
    assert told == ("face18: a report needs matplotlib and jinja2; run make setup, or pip install matplotlib jinja2.\n")


def test_a_photo_that_is_gone_is_left_out(copy):
    held = store.read_csv(copy.run / "held_out.csv")
    for photo in held["photo"]:
        (copy.data / photo).write_bytes(b"no photo")
    page = page_of(copy.run)
    assert not {a.get("alt", "").removeprefix("photo ") for t, a in page.tags if t == "img"} & set(held["photo"])
