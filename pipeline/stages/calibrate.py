"""python -m pipeline calibrate: the age thresholds (or a rival's correction), from people that no network saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.errors import UserError
from pipeline.combiner import schema
from pipeline.prediction.engine import REFERENCE
from pipeline.prediction.run_predictions import (
    Networks,
    caveats_of,
    check_networks,
    engine_of,
    folds_in,
    network_fingerprints,
    networks_of,
    validation_by,
)
from pipeline.run import records
from pipeline.run.fold_records import VALIDATION
from pipeline.run.folder import Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.remembered import PeopleSettings, PriorSettings, remember, remembered
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.spoken import in_its_words

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pipeline.combiner.combiners import Combiner

FILES = ("combiner.json", schema.HELD_OUT_FILE)
"""What the stage leaves."""


@dataclass(frozen=True, kw_only=True)
class Calibrate(EvalStage):
    """What the stage calibrate is told."""

    how: Given[PriorSettings] = some_of(PriorSettings)
    who: Given[PeopleSettings] = some_of(PeopleSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if "prior" in self.how and not isinstance(prior := parse_prior(self.how["prior"]), str):
            from pipeline.combiner.prior_choice import check_prior

            check_prior(prior)


def calibrate(settings: Calibrate) -> dict[str, Any]:
    """Choose the two age thresholds for the age mix of the eval photos, and tell the score to expect."""
    run = open_run(settings, make=False)
    place = run.place(settings)
    with records.alone(place):
        return _calibrate(run, settings, place)


def _calibrate(run: Run, settings: Calibrate, place: Path) -> dict[str, Any]:
    system = run.system(settings)
    asked = remembered(PriorSettings, place) | settings.how
    prior = parse_prior(asked.prior)
    who = remembered(PeopleSettings, place) | settings.who
    networks = networks_of(run, system)
    path = place / "predictions.csv"
    inputs = {
        "validation": {f"{fold.task}/{fold.folder.name}": fold.fingerprint(VALIDATION) for fold in folds_in(networks)},
        "by_engine": store.file_fingerprint(place / VALIDATION),
        "predictions": store.file_fingerprint(path),
        "prior": prior,
        "people": who.people,
        "version": schema.VERSION,
        "files": [*FILES, "in_sample"],
    }
    caveats = caveats_of(networks)
    if caveats:
        inputs["caveats"] = caveats
    done = records.finished(place, "calibrate", inputs)
    if done:
        print(f"calibrate: {done['told']} stand")
        return done
    from pipeline.combiner.combiners import combiner_for

    predicted = records.last(place, "predict")
    predicted.check("predictions.csv")
    check_networks(networks, run, predicted)
    predictions = store.read_csv(path) if path.is_file() else None
    engine = REFERENCE if predictions is None else engine_of(predictions)
    validation = validation_by(networks, place, engine)
    if predictions is not None and isinstance(prior, str) and _has_all_bands(validation):
        print("calibrate: trying the estimate of the age mix on your own people; this takes some seconds", flush=True)
    people = _people(who.people, predicted)
    combiner = combiner_for(validation, prior, predictions, people)
    combiner.fit(
        validation,
        predictions,
        notes=[*caveats.values(), *_not_pooled(combiner, predictions, people)],
        caveats=tuple(caveats),
        photos_per_person=_photos_per_person(networks),
    )
    combiner.save(place / "combiner.json")
    store.write_csv(place / schema.HELD_OUT_FILE, combiner.held_out_)
    wrote = [*FILES, *_held_out_alone(place, combiner)]
    print(in_its_words(combiner.report()))
    remember(place, asked)
    remember(place, who)
    metrics = {"told": combiner.told(), "predictions": inputs["predictions"], **combiner.report_}
    metrics["weights"] = network_fingerprints(networks)
    return records.record(place, "calibrate", inputs, wrote, metrics)


def _people(asked: str, predicted: records.Record) -> str:
    """Whose photos are one person's, as combiners take it: predict knows whether they lie in tars."""
    from pipeline.combiner.persons import FOLDERS, IN_TARS

    return IN_TARS if asked == FOLDERS and predicted.metrics.get("layout") == "shards" else asked


def _held_out_alone(place: Path, combiner: Combiner) -> list[str]:
    """Writes the labels of photos held out that are labelled each for itself, where others are not; what it wrote."""
    alone = getattr(combiner, "alone_", None)
    if alone is None:
        (place / schema.HELD_OUT_ALONE_FILE).unlink(missing_ok=True)
        return []
    store.write_csv(place / schema.HELD_OUT_ALONE_FILE, alone.held_out_)
    return [schema.HELD_OUT_ALONE_FILE]


def _photos_per_person(networks: Networks) -> float | None:
    """Of the train people, where the run is split by photo: a fold then holds but some photos of each person."""
    told = [fold.metrics.get("photos_per_person") for fold in folds_in(networks)]
    return max((count for count in told if count is not None), default=None)


def _not_pooled(combiner: Combiner, predictions: pd.DataFrame | None, people: str) -> list[str]:
    """A note where one would expect photos of a person to be labelled together and they are not."""
    if predictions is None or people == "off" or hasattr(combiner, "people"):
        return []
    named = "person" in predictions and predictions["person"].fillna("").ne("").any()
    if not named and not people.startswith("folders"):
        return []
    return ["gender and age are each photo's own: no two photos are one person's, or labels are not pooled"]


def _has_all_bands(validation: pd.DataFrame) -> bool:
    """Whether somebody is of each age band; otherwise no age mix is estimated."""
    from models.labels import BANDS, band

    return len(set(band(validation["age"].dropna()).tolist())) == len(BANDS)


def parse_prior(text: str) -> str | tuple[float, ...]:
    """A word, or numbers with commas between them; what they mean is the combiner's to check."""
    if text in ("auto", "train", "estimate"):
        return text
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UserError(f"--prior {text}: say auto, train, estimate, or three shares like 0.42,0.28,0.30.") from None
