"""python -m pipeline predict: the specialists' predictions about the eval photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError
from pipeline.dataset.run_data import NO_BOXES, box_fingerprint, data_of, person_fingerprint, train_rows
from pipeline.images.run_photos import check_run_boxes, framed
from pipeline.prediction import chunks, work_order
from pipeline.prediction.engine import LADDERS, Engine, usual_engine
from pipeline.prediction.run_predictions import (
    Networks,
    folds_in,
    framing_of,
    has_validation_by,
    network_fingerprints,
    networks_of,
)
from pipeline.prediction.work_order import WorkOrder
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, WEIGHTS
from pipeline.run.folder import EVAL_FOLDER, Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.remembered import EngineSettings, remember, remembered
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.helpers import helped
from pipeline.runtime.problems import BAD_PHOTOS, cut_short_line, no_prediction_line, tell_bad_photos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.dataset.photos import DataSet
    from pipeline.prediction.engine_choice import Request
    from pipeline.prediction.in_chunks import ChunkedWork, Undecoded
    from pipeline.prediction.over_photos import Predictor
    from pipeline.runtime.shared_lock import SharedLock


@dataclass(frozen=True, kw_only=True)
class Predict(EvalStage):
    """What the stage predict is told."""

    threads: int | None = setting("Processor threads of each process.", None, least=1, usual="all cores")
    processes: int = setting(
        "Processes that share the photos; more can join at any time, on any machine that sees the run's folder.",
        1,
        least=1,
    )
    plan: bool = setting("Say what would run the networks, and stop.", False, flag=True)
    how: Given[EngineSettings] = some_of(EngineSettings)


def predict(settings: Predict) -> dict[str, Any]:
    """Predict every eval photo with every finished fold of the three specialists (or a rival), decoding it once."""
    run = open_run(settings, make=False)
    networks = _finished(run, run.system(settings))
    while True:
        place, data = run.place(settings), data_of(run, settings)
        if settings.eval:
            for note in data.notes:
                print(f"predict: {note}")
        if data.eval.empty:
            print(f"predict: {run.data} has no eval photos; there is nothing to predict")
            return {"photos": 0}
        if not settings.eval:
            _check_boxes(data, networks)
        job = _Job(run, settings, place, networks, data)
        if settings.plan:
            return _plan(job.asked(None), settings, len(data.eval), len(folds_in(networks)))
        job.inputs(job.asked(None))  # reads as many photos as there are, before anybody waits for this process
        with records.together(place) as lock:
            if run.place(settings) == place:  # else it is by now the place of another folder of that name
                return _told(job, _done(job, lock))


def _told(job: _Job, done: dict[str, Any]) -> dict[str, Any]:
    """Tell what was read, and how many eval photos have no prediction of their own, if there are any."""
    if job.settings.eval:
        _tell_what_was_read(job.place, job.data)
    if done["bad"]:
        print(f"predict: {no_prediction_line(done['bad'], done['photos'], job.place)}")
    return done


@dataclass(frozen=True)
class _Job:
    """What a process that predicts goes by."""

    run: Run
    settings: Predict
    place: Path
    networks: Networks
    data: DataSet

    def asked(self, order: WorkOrder | None) -> EngineSettings:
        """The settings given, and beneath them those of an order, or the remembered ones."""
        home = self.run.home(self.run.system(self.settings))
        beneath = remembered(EngineSettings, self.place, home) if order is None else order.settings(self.place)
        return beneath | self.settings.how

    @cached_property
    def _always(self) -> dict[str, Any]:
        rows = self.data.eval
        return {
            "photos": self.data.eval_fingerprint(),
            "boxes": store.fingerprint(rows.drop(columns=["photo", "person"]).to_numpy().tolist()),
            "weights": network_fingerprints(self.networks),
            "crop": self.run.crop,
        }

    def inputs(self, asked: EngineSettings) -> dict[str, Any]:
        """What the predictions depend on."""
        return self._always | asked.as_json()

    def request(self) -> Request:
        """For networks on this machine; the run's own photos are read where an engine is to be chosen."""
        import torch

        from pipeline.prediction.engine_choice import Request

        home, given = self.run.home(self.run.system(self.settings)), self.settings
        own = cache(lambda: data_of(self.run) if given.eval else self.data)
        device, threads = _machine(given)
        torch.set_num_threads(threads)
        return Request(self.run, self.networks, home, self.place, own, device, threads)

    def work(self, order: WorkOrder, members: Sequence[Predictor]) -> ChunkedWork:
        """The photos to be predicted, by members that go by the order."""
        from pipeline.prediction.in_chunks import ChunkedWork

        check_run_boxes(self.run, self.data, self.data.eval)
        photos_of = partial(framed, self.run, self.data, framing=framing_of(self.networks), every=True)
        key, engine = store.fingerprint([order.inputs, order.engine, order.size]), Engine.of(order.engine)
        threads = _machine(self.settings)[1]
        return ChunkedWork(self.place, key, order.size, self.data.eval, photos_of, members, engine, threads)


def _done(job: _Job, lock: SharedLock) -> dict[str, Any]:
    """The metrics of the predictions, which this process makes alone or with others; it is alone at the end."""
    helpers = job.settings.processes - 1
    while True:
        if lock.alone:
            done = _standing(job)
            if done is not None:
                return done
            asked, work = _begun(job)
            lock.share()
        else:
            joined = _joined(job, lock)
            if joined is None:
                continue
            asked, work = joined
        with helped(helpers, _help, replace(job.settings, processes=1, threads=work.threads)):
            work.predict()
        lock.become_alone()
        if (job.place / work_order.FILE).is_file():  # else another process has written what there was to write
            found = work.undecoded()
            if found is not None:
                return _record(job, asked, work, found)


def _standing(job: _Job) -> dict[str, Any] | None:
    """The metrics of predictions that stand; None where there are none such."""
    place, data = job.place, job.data
    inputs = job.inputs(job.asked(None))
    if job.settings.eval:
        store.write_json(place / EVAL_FOLDER, {"folder": str(job.settings.eval.resolve())})
    done = records.finished(place, "predict", inputs)
    if not done or not has_validation_by(place, Engine.of(done["engine"])) or _mended(place, data, done):
        return None
    _clear(place)  # of a run that was killed between its last two steps
    done = _named_anew(place, data, inputs, done)
    print(f"predict: the predictions about {done['photos']} photos stand")
    return done


def _clear(place: Path) -> None:
    """Remove what processes left in a place whose predictions stand."""
    chunks.clear(place)
    work_order.clear(place)


def _begun(job: _Job) -> tuple[EngineSettings, ChunkedWork]:
    """Choose the engine, and write down what others who come must go by."""
    from pipeline.prediction.engine_choice import load_ensemble
    from pipeline.prediction.in_chunks import chunk_size

    asked, request = job.asked(None), job.request()
    engine = _engine(asked, request.device, len(job.data.eval) * len(folds_in(job.networks)))
    chosen, members = load_ensemble(request, replace(asked, engine=engine))
    photos, inputs = len(job.data.eval), store.fingerprint(job.inputs(asked))
    order = WorkOrder(inputs, asked.as_json(), str(chosen), chosen.device(request.device), chunk_size(photos))
    work = job.work(order, members)
    order.write(job.place)
    print(f"predict: {photos} photos, {len(members)} networks on {order.device} by {chosen}", flush=True)
    return asked, work


def _joined(job: _Job, lock: SharedLock) -> tuple[EngineSettings, ChunkedWork] | None:
    """The work that others are at; None, and this process is alone, where there is none."""
    order = WorkOrder.read(job.place)
    if order is None:  # who was about to write one was killed
        lock.enter((job.place / work_order.FILE).is_file)
        return None
    asked, request = job.asked(order), job.request()
    try:
        order.check_same(store.fingerprint(job.inputs(asked)), asked, job.place)
    except UserError:
        if not lock.try_alone():  # an order that nobody goes by any more is none
            raise
        return None
    order.check_machine(request.device)
    engine = Engine.of(order.engine)
    work = job.work(order, request.load(engine))
    print(f"predict: helps other processes with {len(job.data.eval)} photos on {order.device} by {engine}", flush=True)
    return asked, work


def _help(settings: Predict) -> None:
    """Help with the photos that are being predicted, as long as there are some to take."""
    run = open_run(settings, make=False)
    place = run.place(settings)
    job = _Job(run, settings, place, networks_of(run, run.system(settings)), data_of(run, settings))
    with records.lock_of(place) as lock:
        lock.join()
        order = WorkOrder.read(place)
        if order is None:
            return  # all is done
        asked = job.asked(order)
        order.check_same(store.fingerprint(job.inputs(asked)), asked, place)
        job.work(order, job.request().load(Engine.of(order.engine))).predict()


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


def _plan(asked: EngineSettings, settings: Predict, photos: int, networks: int) -> dict[str, Any]:
    device, threads = _machine(settings)
    engine = _engine(asked, device, photos * networks)
    ladder = ", else ".join(map(str, LADDERS[engine]))
    several = f" in each of {settings.processes} processes" if settings.processes > 1 else ""
    print(f"predict: {photos} photos, {networks} networks on {device} by {ladder}; {threads} threads{several}")
    return {"device": device, "threads": threads, "engine": engine}


def _machine(settings: Predict) -> tuple[str, int]:
    """Device, and threads of each process."""
    import joblib
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return device, settings.threads or max(1, joblib.cpu_count() // settings.processes)


def _engine(asked: EngineSettings, device: str, predictions: int) -> str:
    """The engine for so many photos x networks."""
    return usual_engine(device, predictions) if asked.engine == "auto" else asked.engine


def _finished(run: Run, system: str) -> Networks:
    networks = networks_of(run, system)
    for task, folds in networks.items():
        for number in sorted(set(run.fold_folders(task)) - {fold.number for fold in folds}):
            print(f"predict: {task} fold {number} is not finished and is left out")
    for fold in folds_in(networks):
        fold.check(SETTINGS, WEIGHTS)
    return networks


def _record(job: _Job, asked: EngineSettings, work: ChunkedWork, found: Undecoded) -> dict[str, Any]:
    """Tell which photos could not be decoded, and note what was predicted."""
    import pandas as pd

    place, photos, bad = job.place, job.data.eval, found.bad
    if len(bad) == len(photos):
        raise UserError(
            f"none of the {len(bad)} eval photos can be decoded; bring photos that can:\n{tell_bad_photos(bad)}"
        )
    wrote = work.merge()
    store.write_csv(place / BAD_PHOTOS, pd.DataFrame({"photo": list(bad), "reason": list(bad.values())}))
    if found.cut_short:
        print(f"predict: {cut_short_line(found.cut_short)}")
    if bad:
        print(f"predict: photos that cannot be decoded ({len(bad)}):\n{tell_bad_photos(bad)}")
    inputs = job.inputs(asked)
    metrics = {"photos": len(photos), "networks": len(work.members), "bad": len(bad), "engine": str(work.engine)}
    metrics |= {"cut_short": len(found.cut_short), "weights": inputs["weights"]}
    metrics["persons"] = person_fingerprint(photos)
    metrics |= {"layout": job.data.layout} if job.settings.eval else {}
    remember(place, asked)
    records.record(place, "predict", inputs, [*wrote, BAD_PHOTOS], metrics)
    _clear(place)
    return metrics
