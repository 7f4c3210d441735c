"""python -m pipeline predict: the specialists' predictions about the eval photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.dataset.run_data import NO_BOXES, box_fingerprint, data_of, person_fingerprint, train_rows
from pipeline.images.run_photos import check_run_boxes, framed
from pipeline.prediction import chunks
from pipeline.prediction.engine import LADDERS, Engine, usual_engine
from pipeline.prediction.run_predictions import (
    Networks,
    folds_in,
    framing_of,
    has_validation_by,
    network_fingerprints,
    networks_of,
)
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, WEIGHTS
from pipeline.run.folder import EVAL_FOLDER, Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.remembered import EngineSettings, remember, remembered
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.problems import BAD_PHOTOS, cut_short_line, no_prediction_line, tell_bad_photos

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.dataset.photos import DataSet


@dataclass(frozen=True, kw_only=True)
class Predict(EvalStage):
    """What the stage predict is told."""

    threads: int | None = setting("Processor threads.", None, least=1, usual="all cores")
    plan: bool = setting("Say what would run the networks, and stop.", False, flag=True)
    how: Given[EngineSettings] = some_of(EngineSettings)


def predict(settings: Predict) -> dict[str, Any]:
    """Predict every eval photo with every finished fold of the three specialists (or a rival), decoding it once."""
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    networks = _finished(run, system)
    data = data_of(run, settings)
    if settings.eval:
        for note in data.notes:
            print(f"predict: {note}")
    if data.eval.empty:
        print(f"predict: {run.data} has no eval photos; there is nothing to predict")
        return {"photos": 0}
    if not settings.eval:
        _check_boxes(data, networks)
    asked = remembered(EngineSettings, place, run.home(system)) | settings.how
    inputs = {
        "photos": data.eval_fingerprint(),
        "boxes": store.fingerprint(data.eval.drop(columns=["photo", "person"]).to_numpy().tolist()),
        "weights": network_fingerprints(networks),
        "crop": run.crop,
    } | asked.as_json()
    if settings.plan:
        return _plan(asked, settings.threads, len(data.eval), len(folds_in(networks)))
    with records.alone(place, "predict"):
        if settings.eval:
            store.write_json(place / EVAL_FOLDER, {"folder": str(settings.eval.resolve())})
        done = records.finished(place, "predict", inputs)
        if done and has_validation_by(place, Engine.of(done["engine"])) and not _mended(place, data, done):
            chunks.clear(place)  # of a run that was killed between its last two steps
            done = _named_anew(place, data, inputs, done)
            print(f"predict: the predictions about {done['photos']} photos stand")
        else:
            done = _predict(run, settings, data, networks, asked, inputs)
        if settings.eval:
            _tell_what_was_read(place, data)
        _tell_unpredicted(place, done)
        return done


def _named_anew(place: Path, data: DataSet, inputs: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
    """The predictions with the persons that photos name now; what they predict is the same."""
    persons = person_fingerprint(data.eval)
    if done.get("persons") == persons:
        return done
    table = store.read_csv(place / chunks.PREDICTIONS)
    names = table["photo"].map(data.eval.set_index("photo")["person"])
    store.write_csv(place / chunks.PREDICTIONS, table.assign(person=names))
    wrote = records.last(place, "predict").wrote
    return records.record(place, "predict", inputs, wrote, done | {"persons": persons})


def _tell_what_was_read(place: Path, data: DataSet) -> None:
    """Tells what was read of photos given as EVAL, and keeps it in their place."""
    from pipeline.dataset.duplicates import MOST_COMPARED, check_duplicates, find_duplicates
    from pipeline.dataset.overview import overview_of
    from pipeline.dataset.record import record_overview
    from pipeline.dataset.report import overview_lines

    duplicates = find_duplicates(data) if len(data.eval) <= MOST_COMPARED else None
    bad = store.read_csv(place / BAD_PHOTOS)
    overview = overview_of(data, duplicates, dict(zip(bad["photo"], bad["reason"], strict=True)))
    told = [] if duplicates is None else check_duplicates(duplicates, str(data.subject), allowed=True)
    for line in (*told, *overview_lines(overview, record_overview(place, overview))):
        print(f"predict: {line}")


def _check_boxes(data: DataSet, networks: Networks) -> None:
    """Raises UserError where face boxes came or went since training: what is cropped would be other than was learned.

    Without train photos nothing is known of it, and of the boxes of some that are gone nothing either.
    """
    for task, folds in networks.items():
        rows = train_rows(data, task)
        now = box_fingerprint(rows)
        for fold in folds:
            if not rows.empty and (fold.inputs["boxes"] == NO_BOXES) != (now == NO_BOXES):
                fold.check_same({"boxes": now}, {})


def _mended(place: Path, data: DataSet, done: dict[str, Any]) -> bool:
    """Whether an eval photo that could not be decoded now can be."""
    if not done["bad"]:
        return False
    from pipeline.images.photos import mended

    return mended(data.source, store.read_csv(place / BAD_PHOTOS)["photo"])


def _plan(asked: EngineSettings, threads: int | None, photos: int, networks: int) -> dict[str, Any]:
    device, threads, engine = _machine(asked, threads, photos * networks)
    ladder = ", else ".join(map(str, LADDERS[engine]))
    print(f"predict: {photos} photos, {networks} networks on {device} by {ladder}; {threads} threads")
    return {"device": device, "threads": threads, "engine": engine}


def _machine(asked: EngineSettings, threads: int | None, predictions: int) -> tuple[str, int, str]:
    """Device, threads and engine for so many photos x networks."""
    import joblib
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = usual_engine(device, predictions) if asked.engine == "auto" else asked.engine
    return device, threads or joblib.cpu_count(), engine


def _finished(run: Run, system: str) -> Networks:
    networks = networks_of(run, system)
    for task, folds in networks.items():
        for number in sorted(set(run.fold_folders(task)) - {fold.number for fold in folds}):
            print(f"predict: {task} fold {number} is not finished and is left out")
    for fold in folds_in(networks):
        fold.check(SETTINGS, WEIGHTS)
    return networks


def _predict(
    run: Run, settings: Predict, data: DataSet, networks: Networks, asked: EngineSettings, inputs: dict[str, Any]
) -> dict[str, Any]:
    import pandas as pd
    import torch

    from pipeline.prediction.engine_choice import Request, load_ensemble
    from pipeline.prediction.in_chunks import predict_in_chunks

    place, home = run.place(settings), run.home(run.system(settings))
    check_run_boxes(run, data, data.eval)
    photos_of = partial(framed, run, data, framing=framing_of(networks), every=True)
    device, threads, engine = _machine(asked, settings.threads, len(data.eval) * len(folds_in(networks)))
    torch.set_num_threads(threads)
    own = cache(lambda: data_of(run) if settings.eval else data)
    request = Request(run, networks, home, place, own, device, threads)
    chosen, members = load_ensemble(request, replace(asked, engine=engine))
    device = chosen.device(device)
    print(f"predict: {len(data.eval)} photos, {len(members)} networks on {device} by {chosen}", flush=True)
    key = store.fingerprint([inputs, str(chosen)])
    found = predict_in_chunks(place, key, data.eval, photos_of, members, chosen, threads)
    bad, cut_short = found.bad, found.cut_short
    if len(bad) == len(data.eval):
        raise UserError(
            f"none of the {len(bad)} eval photos can be decoded; bring photos that can:\n{tell_bad_photos(bad)}"
        )
    wrote = found.merge()
    store.write_csv(place / BAD_PHOTOS, pd.DataFrame({"photo": list(bad), "reason": list(bad.values())}))
    if cut_short:
        print(f"predict: {cut_short_line(cut_short)}")
    if bad:
        print(f"predict: photos that cannot be decoded ({len(bad)}):\n{tell_bad_photos(bad)}")
    metrics = {"photos": len(data.eval), "networks": len(members), "bad": len(bad), "engine": str(chosen)}
    metrics |= {"cut_short": len(cut_short), "weights": inputs["weights"]}
    metrics["persons"] = person_fingerprint(data.eval)
    remember(place, asked)
    records.record(place, "predict", inputs, [*wrote, BAD_PHOTOS], metrics)
    chunks.clear(place)
    return metrics


def _tell_unpredicted(place: Path, metrics: dict[str, Any]) -> None:
    """Says last how many eval photos have no prediction of their own, if there are any."""
    if metrics["bad"]:
        print(f"predict: {no_prediction_line(metrics['bad'], metrics['photos'], place)}")
