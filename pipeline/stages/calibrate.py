"""python -m pipeline calibrate: the age thresholds (or a rival's correction), from people that no network saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import UserError
from pipeline.combiner import schema
from pipeline.prediction.engine import REFERENCE
from pipeline.prediction.run_predictions import VALIDATION, caveats_of_run, check_networks, engine_of, validation_by
from pipeline.run import records
from pipeline.run.folder import Run, open_run
from pipeline.run.presets import SYSTEMS
from pipeline.run.settings import EvalSettings, MaybeText
from pipeline.runtime import store


@dataclass(frozen=True, kw_only=True)
class Calibrate(EvalSettings):
    prior: MaybeText = None
    """The age mix to calibrate for: auto (default), train, estimate, or shares like 0.42,0.28,0.30."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior is not None and not isinstance(prior := parse_prior(self.prior), str):
            from pipeline.combiner.prior_choice import check_prior

            check_prior(prior)


def calibrate(settings: Calibrate) -> dict[str, Any]:
    """Choose the two age thresholds for the age mix of the eval photos, and tell the score to expect."""
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    given = settings.prior or records.metrics_of(place, "calibrate").get("prior") or "auto"
    prior = parse_prior(given)
    files = [folder / "validation.csv" for task in SYSTEMS[system] for folder in run.finished_folds(task).values()]
    path = place / "predictions.csv"
    inputs = {
        "validation": {str(file.relative_to(run.folder)): store.file_fingerprint(file) for file in files},
        "by_engine": store.file_fingerprint(place / VALIDATION),
        "predictions": store.file_fingerprint(path),
        "prior": prior,
        "version": schema.VERSION,
    }
    caveats = caveats_of_run(run, system)
    if caveats:
        inputs["caveats"] = caveats
    with records.alone(place, "calibrate"):
        done = records.finished(place, "calibrate", inputs)
        if done:
            print(f"calibrate: {done['told']} stand")
            return done
        from pipeline.combiner.combiners import combiner_for

        records.check(place, "predict", ["predictions.csv"])
        check_networks(run, place)
        predictions = store.read_csv(path) if path.is_file() else None
        engine = REFERENCE if predictions is None else engine_of(predictions)
        validation = validation_by(run, system, place, engine)
        if predictions is not None and isinstance(prior, str):
            print(
                "calibrate: trying the estimate of the age mix on your own people; this takes some seconds", flush=True
            )
        combiner = combiner_for(validation, prior).fit(
            validation,
            predictions,
            notes=tuple(caveats.values()),
            caveats=tuple(caveats),
            photos_per_person=_photos_per_person(run, system),
        )
        combiner.save(place / "combiner.json")
        print(combiner.report())
        metrics = {"prior": given, "told": combiner.told(), "predictions": inputs["predictions"], **combiner.report_}
        return records.record(place, "calibrate", inputs, ["combiner.json"], metrics)


def _photos_per_person(run: Run, system: str) -> float | None:
    """Of the train people, where the run is split by photo: a fold then holds but some photos of each person."""
    done = [folder / "done/train.json" for task in SYSTEMS[system] for folder in run.finished_folds(task).values()]
    told = [store.read_json(record)["metrics"].get("photos_per_person") for record in done]
    return max((count for count in told if count is not None), default=None)


def parse_prior(text: str) -> str | tuple[float, ...]:
    """A word, or numbers with commas between them; what they mean is the combiner's to check."""
    if text in ("auto", "train", "estimate"):
        return text
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UserError(f"--prior {text}: say auto, train, estimate, or three shares like 0.42,0.28,0.30.") from None
