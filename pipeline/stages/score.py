"""python -m pipeline score: the submission beside the truth. Only here is the truth opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import UserError
from pipeline import store
from pipeline.runs import Flag, RunSettings, open_run


@dataclass(frozen=True, kw_only=True)
class Score(RunSettings):
    if_known: Flag = False
    """Say nothing where the data set holds no truth, instead of failing."""


def score(settings: Score) -> dict[str, Any]:
    """Score the submission: macro-F1 with its interval, accuracy, age error, and where the errors are."""
    import pandas as pd

    from pipeline import scoring, summary
    from pipeline.answers import average_folds
    from pipeline.inputs import read_answers
    from pipeline.photos import read_data_set, read_truth

    run = open_run(settings, make=False)
    submission = run.folder / "submission.csv"
    truth = read_truth(run.data)
    if truth is None:
        if settings.if_known:
            return {}
        raise UserError(f"{run.data} holds no truth of its eval photos (key.csv), so nothing can be scored.")
    if not submission.is_file():
        raise UserError(f"{submission} is missing; run make submit first.")
    data = read_data_set(run.data, run.fixes)
    answers = average_folds(read_answers(run.folder / "predictions.csv"))[["photo", "age_years"]]
    labels = read_answers(submission)
    asked = data.submission(pd.Series(0, index=data.eval["photo"]))
    if labels.iloc[:, 0].astype(str).tolist() != asked.iloc[:, 0].astype(str).tolist():
        raise UserError(f"{submission} is about other photos than {run.data}; run make submit again.")
    labels["photo"] = data.eval["photo"].to_numpy()
    combined = store.read_json(run.folder / "combiner.json")
    report = combined["report"]
    figures = scoring.score(
        truth,
        labels.rename(columns={"ans": "label"}).merge(answers, on="photo", how="left"),
        photos_per_person=report["photos"] / report["people"],
    )
    print(scoring.report(figures))
    if report["expected"]:
        figures["expected"] = report["expected"]
        print(f"\nbefore the truth was opened: {summary.expected_line(report)}")
    store.write_json(run.folder / "score.json", figures)
    return figures
