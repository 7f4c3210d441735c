"""Whole comparisons with tiny networks: what they leave, what they do when asked again, and when killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny_compare
from page_tables import Page
from tiny_runs import inside, train_tiny

from models.errors import UserError
from pipeline.comparison import systems
from pipeline.comparison.report import EVERYONE
from pipeline.dataset import truth
from pipeline.runtime.store import read_json
from pipeline.scoring.metrics import macro_f1
from pipeline.stages.compare import Compare, compare

SCRIPT = Path(tiny_compare.__file__)
RUN = Path("runs/one")
COST, CHEAP = "0.1", "0.02"
"""Of 1e12 FLOPs: a few dozen steps of a tiny network, and a few."""


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(systems, "all_systems", systems.all_systems)  # given back after the test
    monkeypatch.setattr(systems, "leaking", systems.leaking)
    tiny_compare.shrink()


def settings(people: Path, **given) -> Compare:
    usual = {
        "systems": "specialists,specialists-30-60",
        "times": 1,
        "tune": "1",
        "sizes": "64x48",
        "cost": CHEAP,
        "jobs": 2,
    }
    return Compare.of(**({"run": RUN, "data": people, "preset": "small"} | usual | given))


@pytest.mark.slow
def test_all_people_are_judged_by_networks_that_never_saw_them(people, whole):
    """The row for everyone, from the files of the replicates."""
    place = whole / RUN / "compare"
    found = table_of(whole, "compare").set_index(["cost", "system", "replicate"])
    row = found.loc[0.1, "specialists", EVERYONE]
    key = pd.read_csv(people / "key.csv").set_index("ImageID")["ans"]
    y, p, weight, persons = [], [], [], set()
    for fold in (0, 1):
        sub = place / f"specialists-0.1-fold{fold}"
        held_out = pd.read_csv(sub / "held_out.csv")
        validation = pd.read_csv(sub / f"age/fold{fold}/validation.csv")
        assert set(held_out["photo"]) == set(validation["photo"])
        assert not persons & set(validation["person"])
        persons |= set(validation["person"])
        submission = pd.read_csv(sub / "submission.csv").set_index("ImageID")["ans"]
        y += [*held_out["label"], *key[submission.index]]
        p += [*held_out["cross_fitted"], *submission]
        weight += [1.0] * len(held_out) + [0.5] * len(submission)
    assert row["macro_f1"] == pytest.approx(macro_f1(y, p, weight), rel=1e-8)


def trained(place: Path) -> dict[str, int]:
    """When each training was finished."""
    return {str(p.relative_to(place)): p.stat().st_mtime_ns for p in place.rglob("done/train.json")}


@pytest.fixture(scope="module")
def compared(people, found, tmp_path_factory):
    """The specialists compared with themselves at 30 and 60; tests must not change it."""
    home, opened = tmp_path_factory.mktemp("compared"), []
    whole, leaking, read = systems.all_systems, systems.leaking, truth.read_truth
    tiny_compare.shrink()
    truth.read_truth = lambda *given: opened.append(given) or read(*given)
    shutil.copytree(people, home / "people")
    shutil.copytree(found, home / "data/prepared")
    try:
        with inside(home):
            metrics = compare(settings(Path("people")))
    finally:
        systems.all_systems, systems.leaking, truth.read_truth = whole, leaking, read
    return SimpleNamespace(home=home, place=home / RUN / "compare", metrics=metrics, opened=opened)


@pytest.fixture
def again(compared, tmp_path, monkeypatch):
    """A finished comparison to change at will, its data beside it."""
    shutil.copytree(compared.home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(place=RUN / "compare")


def test_the_table_is_that_of_the_submissions(compared):
    found = pd.read_csv(compared.place / "compare.csv").set_index(["system", "replicate"])
    submission = pd.read_csv(compared.place / "specialists-0.02-fold0/submission.csv")
    both = submission.merge(pd.read_csv(compared.home / "people/key.csv"), on="ImageID")
    row = found.loc[("specialists", "0")]
    assert row["macro_f1"] == pytest.approx(macro_f1(both["ans_y"], both["ans_x"]), rel=1e-8)
    plain = found.loc[("specialists-30-60", "mean")]
    assert plain["macro_f1"] - row["macro_f1"] == pytest.approx(plain["difference"], abs=1e-8)
    assert plain["accuracy_gender"] == row["accuracy_gender"]
    assert row["flops"] == pytest.approx(0.02e12, rel=0.1)
    report = read_json(compared.place / "specialists-0.02-fold0/combiner.json")["report"]["scores"]["train"]
    assert row["validation_macro_f1"] == pytest.approx(report["cross_fitted"]["macro_f1"], rel=1e-8)
    done = [read_json(file)["metrics"]["seconds"] for file in compared.place.rglob("done/train.json")]
    assert len(done) == 3
    assert row["seconds"] == pytest.approx(sum(done))


def test_its_page_shows_the_table(compared):
    found = pd.read_csv(compared.place / "compare.csv")
    page = Page((compared.place / "report.html").read_text())
    mean = found[found["replicate"] == "mean"].set_index("system")
    rows = {row[0]: row for row in page.table("cost-0-02-mean")}
    assert {name: row[1] for name, row in rows.items()} == pytest.approx(mean["macro_f1"].to_dict())
    assert rows["specialists"][2] == pytest.approx((mean["low"]["specialists"], mean["high"]["specialists"]))
    (name, difference, span), *_ = page.table("cost-0-02-mean-apart")
    assert name == "specialists-30-60"
    assert (difference, *span) == pytest.approx(
        tuple(mean.loc[name, ["difference", "difference_low", "difference_high"]])
    )
    assert (compared.place / "report/cost-0-02-mean.svg").is_file()


def test_the_truth_is_opened_once_and_no_run_is_scored(compared):
    assert len(compared.opened) == 1
    assert not list(compared.place.rglob("score.json"))


def test_the_sub_runs_are_ordinary_runs_on_one_thread(compared):
    for task in ("mask", "gender", "age"):
        made = read_json(compared.place / "specialists-0.02-fold0" / task / "fold0/settings.json")
        assert made["plan"]["threads"] == 1
        assert made["settings"]["seed"] == 0
    prepared = [folder.name for folder in (compared.home / "data/prepared").iterdir() if folder.is_dir()]
    looked_for = [read_json(file)["found"] for file in (compared.home / RUN).rglob("faces.json")]
    assert {sum(of for _, of in states.values()) for states in looked_for} == {420}
    assert sorted("faces" in name for name in prepared) == [False, True]  # photos, and the faces found in them


def test_asked_again_the_table_stands(again, capsys):
    before = {p: p.stat().st_mtime_ns for p in RUN.rglob("*") if p.is_file() and p.suffix != ".lock"}
    metrics = compare(Compare.of(run=RUN, jobs=1))  # what was given once is remembered
    assert "compare.csv stand" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert [row["system"] for row in metrics["compare"]] == ["specialists"] * 2 + ["specialists-30-60"] * 2 + [
        "specialists",
        "specialists-30-60",
    ]


def test_a_lost_table_is_made_again_without_any_training(again):
    file, before = again.place / "compare.csv", trained(again.place)
    table = file.read_bytes()
    file.unlink()
    compare(Compare.of(run=RUN))
    assert file.read_bytes() == table
    assert trained(again.place) == before


def test_without_a_truth_validation_alone_is_told(again, capsys):
    before = trained(again.place)
    Path("people/key.csv").unlink()
    metrics = compare(Compare.of(run=RUN))
    assert trained(again.place) == before  # no training reads the truth
    assert "is not known" in capsys.readouterr().out
    replicates = [row for row in metrics["compare"] if row["replicate"] != EVERYONE]
    assert {row["macro_f1"] for row in replicates} == {None}
    assert all(0 < row["validation_macro_f1"] < 1 for row in replicates)
    held_out = pd.read_csv(again.place / "specialists-0.02-fold0/held_out.csv")
    whole = {row["system"]: row for row in metrics["compare"] if row["replicate"] == EVERYONE}
    assert whole["specialists"]["people"] == 12
    for system, column in (("specialists", "cross_fitted"), ("specialists-30-60", "plain")):
        assert whole[system]["macro_f1"] == pytest.approx(macro_f1(held_out["label"], held_out[column]), rel=1e-8)


def test_a_corrected_truth_is_scored_anew(again):
    before, file = trained(again.place), Path("people/key.csv")
    key = pd.read_csv(file)
    key["ans"] = (key["ans"] + 6) % 18  # of the same size to the byte, or nearly
    key.to_csv(file, index=False)
    table = (again.place / "compare.csv").read_bytes()
    compare(Compare.of(run=RUN))
    assert (again.place / "compare.csv").read_bytes() != table
    assert trained(again.place) == before


def test_every_training_is_as_long_as_its_cost_says(compared):
    for file in compared.place.rglob("fold0/settings.json"):
        log = pd.read_csv(file.with_name("log.csv"))
        assert log["epoch"].iloc[-1] == pytest.approx(read_json(file)["settings"]["epochs"], abs=1e-5)


def test_the_same_lists_in_other_words_are_the_same(again, capsys):
    compare(Compare.of(run=RUN, cost="2e-2", tune="1.0", sizes="64x48", times=1))
    assert "compare.csv stand" in capsys.readouterr().out


def test_another_cost_is_refused_before_anything_is_trained(again):
    with pytest.raises(UserError, match=r"was begun with --cost 0.02, not 0.5.*RUN="):
        compare(Compare.of(run=RUN, cost="0.5"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"systems": "joint-swim"},
            "--systems joint-swim: there is no system of this name; perhaps you mean joint-swin",
        ),
        ({"systems": "x"}, "there are specialists, joint, multihead-bands"),
        ({"tune": "fast"}, "--tune fast: give factors"),
        ({"cost": "-1"}, "--cost -1: give 1e12 FLOPs above 0"),
        ({"times": 0}, "--times 0: it must be 1 or more"),
        ({"times": 6}, "--times 6: there are 5 folds; --replicates seeds"),
        ({"sizes": "big"}, "--sizes big: give heights and widths"),
        ({"cost": "1,inf"}, "--cost 1,inf: give 1e12 FLOPs above 0"),
        ({"tune_share": float("inf")}, "--tune-share inf: it must be above 0"),
        ({"leave_out": 1}, "--leave-out 1: compare leaves out people by itself"),
        ({"recipe": "note-swin"}, "--recipe note-swin: compare has systems of its own"),
        ({"split": "photo"}, "--split photo: compare splits by person, and shows the leak beside"),
        ({"jobs": 0}, "--jobs 0: it must be 1 or more"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(people, tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        compare(settings(people, **given))
    assert not list(tmp_path.rglob("settings.json"))
    made = list(tmp_path.rglob("run.json"))
    assert all(read_json(file)[name] in (None, "person") for file in made for name in ("leave_out", "recipe", "split"))


def test_a_fold_left_out_has_no_part_in_a_training(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train_tiny(RUN, people, "age", folds="1", leave_out=0)
    assert "252 photos of 36 people to learn from, 84 of 12 held out" in capsys.readouterr().out
    validation = pd.read_csv(RUN / "age/fold1/validation.csv")
    assert set(validation["fold"]) == {1}
    assert read_json(RUN / "run.json")["leave_out"] == 0
    with pytest.raises(UserError, match="--leave-out 0"):
        train_tiny(RUN, people, "age", folds="0")
    with pytest.raises(UserError, match="leave-out"):
        train_tiny(RUN, people, "age", folds="1", leave_out=2)


def start(people: Path, home: Path, *more: str) -> subprocess.Popen:
    home.mkdir(exist_ok=True)
    arguments = [
        "compare", "--run", RUN, "--data", people, "--preset", "small", "--times", 2, "--tune", "1,2",
        "--sizes", "64x48,56x40", "--cost", f"0.05,{COST}", "--jobs", 2,
        "--systems", ",".join([*tiny_compare.SYSTEMS, "leak"]), *more,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])},
        stdout=subprocess.DEVNULL,
    )


def table_of(home: Path, name: str) -> pd.DataFrame:
    """A table without its seconds, which differ from time to time."""
    return pd.read_csv(home / RUN / f"compare/{name}.csv").drop(columns="seconds", errors="ignore")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "finished"), [(signal.SIGKILL, 3), (signal.SIGTERM, 24)])
def test_a_killed_comparison_finishes_the_rest_only_and_gives_the_same_table(people, whole, tmp_path, number, finished):
    process, place = start(people, tmp_path), tmp_path / RUN / "compare"
    while len(trained(place)) < finished and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == (-9 if number == signal.SIGKILL else 128 + number)
    time.sleep(1)
    before = trained(place)
    assert finished <= len(before) < len(trained(whole / RUN / "compare"))
    assert not (place / "compare.csv").exists()
    assert start(people, tmp_path).wait() == 0
    after = trained(place)
    assert {name: after[name] for name in before} == before
    assert after.keys() == trained(whole / RUN / "compare").keys()
    for name in ("compare", "leak"):
        pd.testing.assert_frame_equal(table_of(tmp_path, name), table_of(whole, name), check_exact=True)


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory) -> Path:
    """The home of a comparison that nothing disturbed."""
    home = tmp_path_factory.mktemp("whole")
    assert start(people, home).wait() == 0
    return home


@pytest.mark.slow
def test_all_systems_are_compared_at_the_same_cost_and_tuned_as_often(whole):
    found = table_of(whole, "compare").set_index(["cost", "system", "replicate"])
    words = ("0", "1", "mean", EVERYONE)
    assert set(found.index) == {(c, name, word) for c in (0.05, 0.1) for name in tiny_compare.SYSTEMS for word in words}
    for cost in (0.05, 0.1):
        assert np.allclose(found.loc[cost]["flops"].dropna(), cost * 1e12, rtol=0.1)
        rivals = found.loc[[(cost, name, w) for name in ("joint-efficientnet", "multihead-years") for w in words]]
        assert rivals[["difference", "difference_low", "difference_high"]].notna().all().all()
    place = whole / RUN / "compare"
    for system, networks in (("specialists", 3), ("joint-efficientnet", 1), ("multihead-years", 1)):
        trials = list(place.glob(f"tune/{system}-*/*/fold1/done/train.json"))
        assert len(trials) == 3 * networks  # two sizes, and another learning rate with the better one
    sizes = {read_json(file)["settings"]["height"] for file in place.glob("*-fold0/*/fold0/settings.json")}
    assert sizes <= {56, 64}
    assert not list(place.glob("tune/*/*/fold0"))
    folds = [set(pd.read_csv(file)["fold"]) for file in place.glob("tune/*/*/fold1/validation.csv")]
    assert folds
    assert all(fold == {1} for fold in folds)
    assert {read_json(file)["leave_out"] for file in place.glob("tune/*/run.json")} == {0}
    leak = table_of(whole, "leak")
    assert leak["split"].tolist() == (["photo"] * 3 + ["person"] * 3) * 2
    assert leak[["validation_macro_f1", "macro_f1", "gap"]].notna().all().all()


@pytest.mark.slow
def test_seeds_of_one_fold_as_replicates(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = {"systems": "specialists,multihead-years", "replicates": "seeds", "times": 2}
    metrics = compare(settings(people, **given))["compare"]
    assert "2 seeds of fold 0" in capsys.readouterr().out
    assert {row["replicate"] for row in metrics} == {"0", "1", "mean"}  # the same people twice are no whole
    place = RUN / "compare"
    assert {read_json(f)["settings"]["seed"] for f in place.glob("*-seed1/*/fold0/settings.json")} == {1}
    assert not list(place.glob("*/*/fold1"))
    with pytest.raises(UserError, match="was begun with --replicates seeds, not folds"):
        compare(Compare.of(run=RUN, replicates="folds"))
    before = trained(place)
    compare(Compare.of(run=RUN, times=3))  # one more goes on
    assert before.items() < trained(place).items()


@pytest.mark.slow
def test_without_eval_photos_people_held_out_are_compared(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(people / "train", "people/train")
    metrics = compare(settings(Path("people"), systems="specialists,joint-efficientnet", times=2))["compare"]
    whole = [row for row in metrics if row["replicate"] == EVERYONE]
    assert {row["people"] for row in whole} == {24}
    assert all(0 < row["macro_f1"] < 1 for row in whole)
    before = trained(RUN / "compare")
    assert compare(Compare.of(run=RUN))["compare"] == metrics
    assert trained(RUN / "compare") == before


@pytest.mark.slow
def test_the_number_of_jobs_changes_no_byte(people, whole, tmp_path):
    assert start(people, tmp_path, "--jobs", "1").wait() == 0
    for file in (whole / RUN / "compare").rglob("*"):
        if file.name in ("weights.safetensors", "validation.csv", "predictions.csv", "submission.csv"):
            assert (tmp_path / file.relative_to(whole)).read_bytes() == file.read_bytes(), file
