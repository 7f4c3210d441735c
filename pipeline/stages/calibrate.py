"""python -m pipeline calibrate: the age thresholds, from people that no specialist saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from models.presets import TASKS
from pipeline import runs, store
from pipeline.runs import EvalSettings, MaybeText, Run, open_run

if TYPE_CHECKING:
    import pandas as pd


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
        "predictions": store.file_fingerprint(predictions),
        "prior": prior,
    }
    with store.locked(place / "predict.lock", f"calibrate in {place}"):
        done = runs.finished(place, "calibrate", inputs)
        if done:
            print(f"calibrate: the thresholds {_years(done['thresholds'])} stand")
            return done
        from pipeline import summary
        from pipeline.combiner import Combiner

        print("calibrate: about a minute at most", flush=True)
        answers = read_answers(predictions) if predictions.is_file() else None
        combiner = Combiner(prior=prior).fit(gather(run), answers)
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
        raise UserError(
            f"--prior {text}: say auto, train, estimate, or three shares like 0.42,0.28,0.30."
        ) from None


def read_answers(path: Path) -> pd.DataFrame:
    """An answer table. Raises UserError when it is missing or damaged."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype={"photo": "string", "person": "string"}, keep_default_na=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it again.") from None
    except (ValueError, UnicodeDecodeError) as damage:
        raise UserError(f"{path} is damaged ({damage}); delete it and run the stages again.") from None


def gather(run: Run) -> pd.DataFrame:
    """The out-of-fold answers of the three specialists side by side, one row per photo.

    Photos that some specialist did not answer out-of-fold have blanks there.
    """
    import pandas as pd

    from pipeline.answers import TRUTH

    whole: pd.DataFrame | None = None
    for task in TASKS:
        folders = run.finished_folds(task)
        if not folders:
            raise UserError(f"no fold of {task} is trained in {run.folder} yet; run make train-{task} first.")
        table = pd.concat([read_answers(folder / "validation.csv") for folder in folders.values()])
        keys = ["photo", "person", "fold", *TRUTH]
        whole = table if whole is None else whole.merge(table, on=keys, how="outer")
    if whole["photo"].duplicated().any():
        raise UserError(
            f"the specialists of {run.folder} were trained on different labels or folds; train them again with --restart."
        )
    return whole


def _years(thresholds: list[float]) -> str:
    return " and ".join(f"{threshold:.1f}" for threshold in thresholds)
