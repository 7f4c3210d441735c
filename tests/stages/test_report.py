"""The report of whole runs: every number is that of the file it came from, and every run has its page."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_tables import Page
from sklearn.metrics import confusion_matrix, f1_score
from tiny_runs import SMALL, finish, train_all

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
    for name, mix, key in (
        ("held out", "train", "cross_fitted"),
        ("held out, uncalibrated", "train", "plain"),
        ("held out, weighted", "eval", "cross_fitted"),
    ):
        assert rows[name][1:4] == [made["scores"][mix][key]["macro_f1"], *made["scores"][mix][key]["interval"]]
    held = store.read_csv(run / "held_out.csv")
    whole = [row for row in page.table("groups-held-out") if row[0] == "all"]
    assert whole[0][-2] == pytest.approx(rows["held out"][1])
    assert whole[0][4] == (held["label"] == held["cross_fitted"]).mean()


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


def test_groups_are_those_of_photos_and_of_further_columns(told):
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


def test_a_further_column_makes_groups(copy):
    table = pd.read_csv(copy.data / "train/train.csv", dtype=str)
    table["camera"] = ["old", "new", "$x_1$"][0:3] * (len(table) // 3) + ["old"] * (len(table) % 3)
    table.to_csv(copy.data / "train/train.csv", index=False)
    page = page_of(copy.run, no_photos=True)
    people = store.read_csv(copy.run / "age/fold0/validation.csv")[["photo", "person"]]
    held = store.read_csv(copy.run / "held_out.csv").merge(people, on="photo")
    camera = held["person"].map(table.set_index("path")["camera"])
    rows = {row[1]: row for row in page.table("groups-held-out") if row[0] == "camera"}
    assert set(rows) == set(camera)
    for name, row in rows.items():
        some = held[camera == name]
        assert row[2:5] == [len(some), some["person"].nunique(), (some["label"] == some["cross_fitted"]).mean()]
    assert any("No groups by race: fewer than 2 or more than 12 values." in text for text in page.texts)


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


@pytest.mark.slow
def test_a_score_of_another_submission_is_not_shown(copy):
    calibrate(Calibrate.of(run=copy.run, prior="0.8,0.1,0.1"))
    submit(EvalStage.of(run=copy.run))
    labels = store.read_csv(copy.run / "submission.csv")
    scored = store.read_csv(copy.run / "scored.csv")
    assert labels["ans"].tolist() != scored["predicted"].tolist()
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


@pytest.mark.parametrize(
    ("system", "settings"),
    [("joint", {}), pytest.param("multihead", {"age_head": "bands"}, marks=pytest.mark.slow)],
)
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
    assert rows["held out"][1] == made["scores"]["train"]["cross_fitted"]["macro_f1"]
    assert any("looked" in attributes.get("alt", "") for tag, attributes in page.tags if tag == "img")


def train_tiny_rival(copy, system, **settings):
    train(Train.of(task=system, run=copy.run, backbone="test_efficientnet", **(SMALL | settings)))


def finish_rival(copy, system):
    predict(Predict.of(run=copy.run, threads=1, system=system))
    calibrate(Calibrate.of(run=copy.run, prior="0.4,0.3,0.3", system=system))
    submit(EvalStage.of(run=copy.run, system=system))
    score(Score.of(run=copy.run, system=system))


@pytest.mark.slow
def test_a_folder_of_photos_has_its_page(copy):
    folder = copy.data / "eval/images"
    finish(copy.run, eval=folder)
    page = page_of(copy.run, eval=folder, no_photos=True)
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
    (copy.run / "done/calibrate.json").unlink()
    told = r"^runs/one has no combiner\.json yet; run make predict and make calibrate first\.$"
    with pytest.raises(UserError, match=told):
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


@pytest.fixture
def two(copy):
    """A run, and another of the same people that is wrong about two photos of three."""
    other = shutil.copytree(copy.run, Path("runs/two"))
    for name, column in (("scored.csv", "predicted"), ("held_out.csv", "cross_fitted")):
        table = store.read_csv(other / name)
        wrong = table.index % 3 > 0
        table.loc[wrong, column] = (table.loc[wrong, "label"] + 7) % 18
        store.write_csv(other / name, table)
    for stage, names in (("score", ["score.json", "scored.csv"]), ("calibrate", ["combiner.json", "held_out.csv"])):
        made = store.read_json(other / f"done/{stage}.json")
        made["wrote"] |= {name: store.file_fingerprint(other / name) for name in names}
        store.write_json(other / f"done/{stage}.json", made)
    return copy.run, other


def test_runs_side_by_side_are_compared_on_the_same_people(two):
    one, other = two
    page = Page(Path(report(Report.of(side_by_side=f"{one} {other}"))["page"]).read_text())
    tables = [store.read_csv(run / "scored.csv") for run in two]
    assert (one / "report-with-two.html").is_file()
    rows = page.table("eval-scores")
    assert [row[0] for row in rows] == ["one", "two"]
    labels = np.unique(tables[0]["label"])
    scores = [f1_score(t["label"], t["predicted"], labels=labels, average="macro", zero_division=0) for t in tables]
    assert [row[1] for row in rows] == pytest.approx(scores)
    (name, difference, span), *_ = page.table("eval-differences")
    assert name == "two"
    assert difference == pytest.approx(scores[1] - scores[0])
    assert span == pytest.approx(paired_by_hand(*tables), abs=0.02)
    assert page.table("held-out-scores")[0][1] > page.table("held-out-scores")[1][1]
    assert (one / "report/report-with-two/eval-scores.svg").is_file()


def paired_by_hand(one, other, draws=3000):
    """The 95 % interval of the difference, people drawn again by gender and band, the same for both."""
    rng = np.random.default_rng(7)
    people = [group.index.to_numpy() for _, group in one.groupby("person")]
    kind = np.array([one.loc[rows, "label"].iloc[0] % 6 for rows in people])
    found = []
    for _ in range(draws):
        chosen = np.concatenate([rng.choice(np.flatnonzero(kind == k), (kind == k).sum()) for k in np.unique(kind)])
        rows = np.concatenate([people[i] for i in chosen])
        found.append(score_of(other.loc[rows]) - score_of(one.loc[rows]))
    return tuple(np.quantile(found, [0.025, 0.975]))


def score_of(table):
    true, said = table["label"].to_numpy(), table["predicted"].to_numpy()
    hit = np.bincount(true[true == said], minlength=18)
    both = np.bincount(true, minlength=18) + np.bincount(said, minlength=18)
    here = np.bincount(true, minlength=18) > 0
    return (2 * hit[here] / both[here]).mean()


def test_the_settings_that_differ_are_told(two):
    one, other = two
    record = store.read_json(other / "run.json")
    store.write_json(other / "run.json", record | {"crop": 0.5})
    page = Page(Path(report(Report.of(side_by_side=f"{one},{other}"))["page"]).read_text())
    assert page.table("settings") == [["run", "crop", "1.0", "0.5"]]


def test_runs_of_other_photos_share_nothing(two):
    one, other = two
    for name in ("scored.csv", "held_out.csv"):
        table = store.read_csv(other / name)
        store.write_csv(other / name, table.assign(photo="other/" + table["photo"]))
    for stage, name in (("score", "scored.csv"), ("calibrate", "held_out.csv")):
        made = store.read_json(other / f"done/{stage}.json")
        made["wrote"] |= {name: store.file_fingerprint(other / name)}
        store.write_json(other / f"done/{stage}.json", made)
    page = Page(Path(report(Report.of(side_by_side=f"{one} {other}"))["page"]).read_text())
    assert "eval-scores" not in page.tables
    assert sum("share no photo" in text for text in page.texts) == 2
    assert len(page.table("expected")) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--side-by-side", "runs/one"], "--side-by-side runs/one: name two runs or more; one alone is --run."),
        (
            ["--side-by-side", "runs/one,runs/one/"],
            "--side-by-side runs/one,runs/one/: a run stands there twice; name each once.",
        ),
        (
            ["--side-by-side", "runs/one runs/no"],
            "--side-by-side: runs/no is not there; name folders of runs, or of rivals in them, as runs/x/joint.",
        ),
        (
            ["--side-by-side", "runs/one people"],
            "--side-by-side: people is no run's folder; name folders of runs, or of rivals in them, as runs/x/joint.",
        ),
        (
            ["--side-by-side", "a b", "--run", "runs/one", "--data", "x"],
            "--side-by-side a b says which runs are meant; leave out --run and --data.",
        ),
    ],
)
def test_runs_that_cannot_be_compared(copy, words, sentence, capsys):
    assert main(["report", *words]) == 2
    assert capsys.readouterr().err == f"face18: {sentence}\n"
    assert not list(Path().rglob("report*.html"))


@pytest.mark.slow
def test_where_nobody_is_old_there_is_a_page(copy):
    table = pd.read_csv(copy.data / "train/train.csv", dtype=str)
    old = table["age"].astype(float) >= 60
    for folder in table["path"][old]:
        shutil.rmtree(copy.data / "train/images" / folder)
    table[~old].to_csv(copy.data / "train/train.csv", index=False)
    young = Path("runs/young")
    train_all(young, copy.data)
    predict(Predict.of(run=young, threads=1))
    calibrate(Calibrate.of(run=young, prior="train"))
    submit(EvalStage.of(run=young))
    page = page_of(young, no_photos=True)
    assert page.table("surface")[0][1:3] == store.read_json(young / "combiner.json")["report"]["thresholds"]
    assert page.table("ages")[0][0] == "all"


def test_a_run_that_was_trained_elsewhere_has_its_page(copy):
    folder = shutil.move(copy.data / "eval/images", "album")
    shutil.rmtree(copy.data)
    finish(copy.run, eval=Path(folder))
    page = page_of(copy.run, eval=Path(folder))
    assert any("'people' is not there, so there are no photos to show" in row[1] for row in page.table("notes"))
    assert "img" not in {tag for tag, _ in page.tags}


@pytest.mark.slow
def test_a_person_taken_out_of_the_data_set_is_left_out(copy):
    held = store.read_csv(copy.run / "age/fold0/validation.csv")
    gone = held["person"].iloc[0]
    table = pd.read_csv(copy.data / "train/train.csv", dtype=str)
    table[table["path"] != gone].to_csv(copy.data / "train/train.csv", index=False)
    shutil.rmtree(copy.data / "train/images" / gone)
    page = page_of(copy.run)
    shown = {a.get("alt", "").removeprefix("photo ") for tag, a in page.tags if tag == "img"}
    assert shown & set(held["photo"])
    assert not shown & set(held["photo"][held["person"] == gone])


def test_a_page_stands_until_something_changes(copy, capsys):
    report(Report.of(run=copy.run, no_photos=True))
    before = (copy.run / "report.html").stat().st_mtime_ns
    capsys.readouterr()
    report(Report.of(run=copy.run, no_photos=True))
    assert capsys.readouterr().out == "report: runs/one/report.html stands\n"
    assert (copy.run / "report.html").stat().st_mtime_ns == before
    (copy.run / "report/old.svg").write_text("<svg/>")
    (copy.run / "bad_photos.csv").write_text("photo,reason\nx.jpg,torn\n")
    report(Report.of(run=copy.run, no_photos=True))
    assert (copy.run / "report.html").stat().st_mtime_ns > before
    assert not (copy.run / "report/old.svg").exists()


@pytest.mark.slow
def test_a_truth_that_changed_is_told(copy):
    key = copy.data / "key.csv"
    key.write_text(key.read_text() + "\n")
    page = page_of(copy.run, no_photos=True)
    assert "truth" not in {row[0] for row in page.table("score")}
    assert any("key.csv has changed since the truth was opened" in row[1] for row in page.table("notes"))


def test_networks_that_were_trained_again_are_told(copy):
    weights = copy.run / "mask/fold0/settings.json"
    store.write_json(weights, store.read_json(weights) | {"weights": "other"})
    with pytest.raises(UserError, match="was fitted to other networks or predictions than runs/one has now"):
        report(Report.of(run=copy.run))


def test_scores_of_people_held_out_have_their_caveats(copy):
    made = store.read_json(copy.run / "combiner.json")
    made["report"]["caveats"] = ["leaky"]
    store.write_json(copy.run / "combiner.json", made)
    record = store.read_json(copy.run / "done/calibrate.json")
    record["wrote"] |= {"combiner.json": store.file_fingerprint(copy.run / "combiner.json")}
    store.write_json(copy.run / "done/calibrate.json", record)
    page = page_of(copy.run, no_photos=True)
    rows = {row[0]: row for row in page.table("score")}
    assert all("(leaky)" in row[-1] for name, row in rows.items() if name != "truth")
    assert "(leaky)" not in rows["truth"][-1]
    assert sum("(leaky)" in text for text in page.texts) >= 6
    other = shutil.copytree(copy.run, Path("runs/two"))
    beside = Page(Path(report(Report.of(side_by_side=f"runs/one,{other}"))["page"]).read_text())
    assert [row[0] for row in beside.table("held-out-scores")] == ["one (leaky)", "two (leaky)"]
