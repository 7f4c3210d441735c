"""What cannot be answered is said beside every score, and a submission is always possible."""

import contextlib
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from tiny_runs import SMALL, TINY, inside, train_all, train_tiny

from models.labels import BANDS, LABELS, decode
from pipeline.dataset.folds import fold_table
from pipeline.dataset.photos import read_data_set
from pipeline.prediction.run_predictions import caveats_of
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.scoring.caveats import UNSEEN, of_every_score, suffix, unseen_caveat
from pipeline.scoring.report import score_text
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train
from pipeline.training.fold import unseen_labels

MASKS_OF = {"normal": 2, "incorrect_mask": 1}
RUN = Path("runs/one")
NOBODY = f"no validation person is {BANDS[2]}"


def listed(people: Path) -> pd.DataFrame:
    """The drawn people as a table of the general layout; their eval photos with the truth."""
    train = pd.read_csv(people / "train/train.csv")
    rows = [
        {"photo": str(photo.relative_to(people)), "person": one.path, "mask": MASKS_OF.get(photo.stem, 0),
         "gender": int(one.gender == "female"), "age": one.age, "part": "train"}
        for one in train.itertuples()
        for photo in sorted((people / "train/images" / one.path).glob("[!.]*"))
    ]  # fmt: skip
    key = pd.read_csv(people / "key.csv")
    mask, gender, _ = decode(key["ans"])
    photos = "eval/images/" + key["ImageID"]
    truth = {
        "photo": photos,
        "person": key["person"],
        "mask": mask,
        "gender": gender,
        "age": key["age"],
        "part": "eval",
    }
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(truth)], ignore_index=True)


KINDS = {
    "nobody is 60": (lambda table: table["age"] < 60, range(2, LABELS, 3)),
    "nobody is young": (lambda table: table["age"] >= 30, range(0, LABELS, 3)),
    "men only": (lambda table: table["gender"] == 0, [n for n in range(LABELS) if n // 3 % 2]),
    "one mask state": (lambda table: table["mask"] == 0, range(6, LABELS)),
}


@pytest.fixture(params=["nobody is 60", *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(KINDS)[1:])])
def run(request, people, tmp_path):
    """A whole run on train people of whom some kind is missing: what was asked for, and what was printed."""
    kept, lacking = KINDS[request.param]
    table = listed(people)
    shutil.copytree(people, tmp_path / "people", ignore=shutil.ignore_patterns("*.csv"))
    table[kept(table) | (table["part"] == "eval")].to_csv(tmp_path / "people/photos.csv", index=False)
    printed = io.StringIO()
    with inside(tmp_path), contextlib.redirect_stdout(printed):
        train_all(RUN, Path("people"))
        metrics = SimpleNamespace(
            predict=predict(Predict.of(run=RUN, threads=1)),
            calibrate=calibrate(Calibrate.of(run=RUN)),
            submit=submit(EvalStage.of(run=RUN)),
            score=score(Score.of(run=RUN)),
        )
    return SimpleNamespace(home=tmp_path, kind=request.param, lacking=list(lacking), printed=printed, metrics=metrics)


def test_labels_that_nobody_shows_stand_beside_every_score(run):
    lines, metrics = run.printed.getvalue().splitlines(), run.metrics
    word = f"{len(run.lacking)} of 18 labels unseen in train"
    (heading,) = [line for line in lines if line.startswith("macro-F1 of validation")]
    assert word in heading
    assert word in metrics.submit["expected"]
    (own,) = [line for line in lines if line.startswith("macro-F1 0")]
    assert word in own
    assert word in next(line for line in lines if line.startswith("before the truth was opened"))
    assert word in metrics.score["caveats"]
    (note,) = [note for note in metrics.calibrate["notes"] if "of no train photo and cannot be answered" in note]
    assert note.count("(") == min(len(run.lacking), 10)
    submission = pd.read_csv(run.home / RUN / "submission.csv")
    assert len(submission) == metrics.predict["photos"]
    assert submission["ans"].isin(range(LABELS)).all()
    if "nobody" in run.kind:
        missing = BANDS[2 if "60" in run.kind else 0]
        said = f"no validation person is {missing}"
        assert all(said in line for line in (heading, own, metrics.submit["expected"]))
        assert (30.0, 60.0)["60" in run.kind] in metrics.calibrate["thresholds"]
        assert not any("trying the estimate" in line for line in lines), "without a band none is estimated"


def test_where_all_is_known_nothing_is_said(done):
    assert done.metrics.score.get("caveats") is None
    assert done.metrics.calibrate["caveats"] == []
    for task in ("mask", "gender", "age"):
        assert UNSEEN not in store.read_json(done.run / task / "fold0/done/train.json")["metrics"]


# -------------------------------------------------------------------------------------------------------- the pieces


def table(people):
    """Rows of (mask, gender, age)."""
    return pd.DataFrame(people, columns=["mask", "gender", "age"]).astype("float64")


ALL = [(mask, gender, age) for mask in range(3) for gender in range(2) for age in (20, 40, 70)]


@pytest.mark.parametrize(
    ("task", "rows", "unseen"),
    [
        *((task, ALL, []) for task in ("mask", "gender", "age", "joint", "multihead")),
        ("mask", [row for row in ALL if row[0] == 0], range(6, 18)),
        ("gender", [row for row in ALL if row[1] == 1], [0, 1, 2, 6, 7, 8, 12, 13, 14]),
        ("age", [row for row in ALL if row[2] < 60], [2, 5, 8, 11, 14, 17]),
        ("age", [(0, 0, 29.5), (0, 0, 60)], [1, 4, 7, 10, 13, 16]),
        ("mask", [row for row in ALL if row[1] == 1], []),  # another network's to know
        ("joint", ALL[:-1], [17]),
        ("joint", [row for row in ALL if row[2] < 60], [2, 5, 8, 11, 14, 17]),
        ("multihead", ALL[:-1], []),  # each of its heads has seen its part
        ("multihead", [row for row in ALL if row[0] < 2], range(12, 18)),
    ],
)
def test_what_a_network_cannot_know(task, rows, unseen):
    assert unseen_labels(task, table(rows)) == list(unseen)


@pytest.mark.parametrize("task", ["mask", "age"])
def test_who_is_held_out_teaches_nothing(task, people, tmp_path):
    """The only one who is 60, and who wears a mask wrong, is held out."""
    table = listed(people)
    one = table["person"][table["age"] >= 60].iloc[0]
    kept = (table["person"] == one) | (table["part"] == "eval") | ((table["age"] < 60) & (table["mask"] != 1))
    shutil.copytree(people, tmp_path / "people", ignore=shutil.ignore_patterns("*.csv"))
    table[kept].to_csv(tmp_path / "people/photos.csv", index=False)
    folds = fold_table(read_data_set(tmp_path / "people").train, 0, 5).set_index("person")["fold"]
    with inside(tmp_path):
        metrics = train_tiny(RUN, Path("people"), task, folds=f"{folds[one]},{(folds[one] + 1) % 5}")
    unseen = [label for label in range(LABELS) if (label // 6 == 1 if task == "mask" else label % 3 == 2)]
    assert metrics[f"fold{folds[one]}"][UNSEEN] == unseen
    assert UNSEEN not in metrics[f"fold{(folds[one] + 1) % 5}"]


def test_labels_that_no_network_of_a_system_knows_are_put_together():
    folds = {
        "mask": [SimpleNamespace(metrics={UNSEEN: [3, 12]}), SimpleNamespace(metrics={UNSEEN: [3]})],
        "gender": [SimpleNamespace(metrics={UNSEEN: [9], "leaky": True})],
        "multihead": [SimpleNamespace(metrics={UNSEEN: [15]}), SimpleNamespace(metrics={})],  # one fold knows it
        "age": [SimpleNamespace(metrics={})],
    }
    found = caveats_of(folds)
    assert list(found) == ["leaky", "2 of 18 labels unseen in train"]
    assert "3 (worn, female, under 30), 9 (wrong, female, under 30)" in found["2 of 18 labels unseen in train"]


def test_nothing_unseen_is_no_caveat_and_many_are_counted():
    assert unseen_caveat([]) == {}
    ((_, told),) = unseen_caveat(range(12)).items()
    assert told.endswith(" and 2 more")


def test_of_validations_caveats_the_score_of_a_submission_has_none():
    assert of_every_score(["leaky", "optimistic", "2 of 18 labels unseen in train", NOBODY]) == [
        "2 of 18 labels unseen in train",
        NOBODY,
    ]


def test_a_score_is_shown_with_its_caveats():
    from pipeline.scoring.submission import evaluate_submission

    truth = pd.DataFrame({"photo": [f"{n}.jpg" for n in range(LABELS)], "label": range(LABELS)})
    metrics = evaluate_submission(truth, truth, draws=10)
    assert "(one, other)" in score_text(metrics | {"caveats": ["one", "other"]}).splitlines()[0]
    assert suffix([]) == ""
    assert score_text(metrics).splitlines()[0].endswith("18 photos)")


def test_a_rival_calibrates_without_a_band_too(people, tmp_path):
    rows = listed(people)
    shutil.copytree(people, tmp_path / "people", ignore=shutil.ignore_patterns("*.csv"))
    rows[(rows["age"] < 60) | (rows["part"] == "eval")].to_csv(tmp_path / "people/photos.csv", index=False)
    with inside(tmp_path):
        train(Train.of(task="joint", run=RUN, data=Path("people"), **(TINY["mask"] | SMALL)))
        predict(Predict.of(run=RUN, threads=1, system="joint"))
        metrics = calibrate(Calibrate.of(run=RUN, system="joint"))
        submit(EvalStage.of(run=RUN, system="joint"))
    assert metrics["offsets"][1] == 0
    assert metrics["caveats"][1] == NOBODY
    assert (tmp_path / RUN / "joint/submission.csv").is_file()
