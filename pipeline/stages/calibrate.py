"""python -m pipeline calibrate: the age thresholds, from people that no specialist saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.presets import TASKS
from pipeline import runs, store
from pipeline.inputs import VALIDATION, read_answers, validation_by
from pipeline.runs import EvalSettings, MaybeText, open_run


@dataclass(frozen=True, kw_only=True)
class Calibrate(EvalSettings):
    prior: MaybeText = None
    """The mix of age bands to calibrate for: auto (default), train, estimate, or shares like 0.42,0.28,0.30."""


def calibrate(settings: Calibrate) -> dict[str, Any]:
    """Choose the two age thresholds for the mix of ages of the eval photos, and tell the score to expect."""
    run = open_run(settings, make=False)
    place = run.place(settings)
    prior = parse_prior(settings.prior or _recorded_prior(place))
    files = [folder / "validation.csv" for task in TASKS for folder in run.finished_folds(task).values()]
    predictions = place / "predictions.csv"
    inputs = {
        "validation": {str(file.relative_to(run.folder)): store.file_fingerprint(file) for file in files},
        "by_engine": store.file_fingerprint(run.folder / VALIDATION),
        "predictions": store.file_fingerprint(predictions),
        "prior": prior,
    }
    with runs.alone(place, "calibrate"):
        done = runs.finished(place, "calibrate", inputs)
        if done:
            print(f"calibrate: the thresholds {_years(done['thresholds'])} stand")
            return done
        from pipeline import summary
        from pipeline.combiner import Combiner

        runs.check(place, "predict", ["predictions.csv"])
        answers = read_answers(predictions) if predictions.is_file() else None
        engine = "torch" if answers is None or "engine" not in answers else str(answers["engine"].iloc[0])
        combiner = Combiner(prior=prior).fit(validation_by(run, engine), answers)
        combiner.save(place / "combiner.json")
        figures = {"prior": settings.prior, "thresholds": list(combiner.thresholds_), **combiner.report_}
        print(summary.report(combiner.report_))
        return runs.record(place, "calibrate", inputs, ["combiner.json"], figures)


def _recorded_prior(place: Path) -> str:
    """The prior given the last time; a setting not given means the recorded one."""
    path = place / "done" / "calibrate.json"
    return (store.read_json(path)["figures"]["prior"] if path.is_file() else None) or "auto"


def parse_prior(text: str) -> str | tuple[float, ...]:
    """A word, or numbers with commas between them; what they mean is the combiner's to check."""
    if text in ("auto", "train", "estimate"):
        return text
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UserError(f"--prior {text}: say auto, train, estimate, or three shares like 0.42,0.28,0.30.") from None


def _years(thresholds: list[float]) -> str:
    return " and ".join(f"{threshold:.1f}" for threshold in thresholds)
