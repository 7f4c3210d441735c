"""python -m pipeline score: the submission beside the truth. Only here is the truth opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.combiner.schema import LABELS_FILE
from pipeline.dataset.run_data import data_of
from pipeline.run import records
from pipeline.run.folder import open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime import store

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pipeline.dataset.photos import DataSet


TRUTH_FILES = ("key.csv", "photos.csv")
"""Where a truth may stand."""


@dataclass(frozen=True, kw_only=True)
class Score(SystemStage):
    """What the stage score is told."""

    if_known: bool = setting("Say nothing where the data set holds no truth, instead of failing.", False, flag=True)


def score(settings: Score) -> dict[str, Any]:
    """Score the submission: macro-F1 with its interval, accuracy, age error, and where the errors are."""
    from pipeline.dataset.truth import read_truth

    run = open_run(settings, make=False)
    truth = read_truth(run.data, run.follow_links)
    if truth is None:
        if settings.if_known:
            return {}
        raise UserError(
            f"{run.data} has no eval photos or holds no truth of them (key.csv, or labels in the eval rows of "
            f"photos.csv), so nothing can be scored."
        )
    home = run.home(run.system(settings))
    with records.alone(home):
        return _score(home, data_of(run), truth)


def _score(home: Path, data: DataSet, truth: pd.DataFrame) -> dict[str, Any]:
    import pandas as pd

    from models.labels import LABELS
    from pipeline.combiner.report import expected_line
    from pipeline.scoring.caveats import of_every_score
    from pipeline.scoring.report import score_text
    from pipeline.scoring.submission import SCORED, evaluate_submission

    submission = home / "submission.csv"
    if not submission.is_file():
        raise UserError(f"{submission} is missing; run make submit first.")
    for name, fingerprint in records.last(home, "submit").metrics.get("made_of", {}).items():
        if store.file_fingerprint(home / name) != fingerprint:
            raise UserError(
                f"{submission} was made of other predictions or thresholds than stand now; run submit again."
            )
    predictions = store.read_csv(home / "predictions.csv")
    years = predictions.groupby("photo", as_index=False)["age_years"].mean() if "age_years" in predictions else None
    if store.read_json(home / "combiner.json").get("kind") == "people":  # those that labels rest on
        years = store.read_csv(home / LABELS_FILE)[["photo", "age_years"]]
    labels = store.read_csv(submission)
    asked = data.submission(pd.Series(0, index=data.eval["photo"]))
    if labels.iloc[:, 0].astype(str).tolist() != asked.iloc[:, 0].astype(str).tolist():
        raise UserError(f"{submission} is about other photos than {data.root}; run make submit again.")
    if "ans" not in labels or not labels["ans"].isin(range(LABELS)).all():
        raise UserError(f"{submission} must hold a label from 0 to {LABELS - 1} in each row of its column ans.")
    labels["photo"] = data.eval["photo"].to_numpy()
    labels = labels.rename(columns={"ans": "label"})
    fingerprint = store.file_fingerprint(submission)
    report = store.read_json(home / "combiner.json")["report"]
    metrics = evaluate_submission(
        truth,
        labels if years is None else labels.merge(years, on="photo", how="left"),
        photos_per_person=report["photos_per_person"],
    )
    caveats = of_every_score(report["caveats"])
    if caveats:
        metrics["caveats"] = caveats
    print(score_text(metrics))
    if report["expected"]:
        metrics["expected"] = report["expected"]
        print(f"\nbefore the truth was opened: {expected_line(report)}")
    store.write_json(home / "score.json", metrics)
    scored = truth.assign(predicted=truth["photo"].map(labels.set_index("photo")["label"]))
    store.write_csv(home / SCORED, scored)
    files = {name: store.file_fingerprint(data.root / name) for name in TRUTH_FILES}
    of_truth = {name: made for name, made in files.items() if made is not None}
    records.record(home, "score", {}, ["score.json", SCORED], {"submission": fingerprint, "truth": of_truth})
    return metrics
