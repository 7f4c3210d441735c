"""python -m pipeline predict: the specialists' predictions about the eval photos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from models.errors import UserError
from pipeline.dataset.run_data import NO_BOXES, box_fingerprint, data_of, train_rows
from pipeline.images.run_photos import framed
from pipeline.prediction import chunks
from pipeline.prediction.engine import LADDERS, Engine, usual_engine
from pipeline.prediction.run_predictions import finished, has_validation_by, network_fingerprint
from pipeline.run import records, setting_rules
from pipeline.run.folder import EVAL_FOLDER, Run, open_run
from pipeline.run.presets import SYSTEMS
from pipeline.run.settings import EvalSettings, Flag, MaybeWhole, given_settings
from pipeline.runtime import store
from pipeline.runtime.problems import tell_bad_photos

if TYPE_CHECKING:
    from pipeline.dataset.photos import DataSet

PHOTOS_PER_CHUNK = 1024
"""Photos that are predicted between two times of writing."""


@dataclass(frozen=True, kw_only=True)
class Predict(EvalSettings):
    threads: MaybeWhole = None
    """Processor threads (default: all cores)."""
    engine: Annotated[
        Literal["auto", "torch", "compiled", "openvino", "openvino-bfloat16"] | None,
        arg(metavar="{auto,torch,compiled,openvino,openvino-bfloat16}", help_behavior_hint=""),
    ] = None
    """What runs the networks; auto (default): by machine and amount of work. It must agree with torch to be used."""
    flip: Annotated[Literal["yes", "no"] | None, arg(metavar="{yes,no}", help_behavior_hint="")] = None
    """Predict the mean over each photo and its mirror image, in twice the time (default: no)."""
    plan: Flag = False
    """Say what would run the networks, and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        setting_rules.check_values(given_settings(self))


def predict(settings: Predict) -> dict[str, Any]:
    """Predict every eval photo with every finished fold of the three specialists (or a rival), decoding it once."""
    run = open_run(settings, make=False)
    place, system = run.place(settings), run.system(settings)
    folders = _finished(run, system)
    data = data_of(run, settings)
    if settings.eval:
        for note in data.notes:
            print(f"predict: {note}")
    if data.eval.empty:
        print(f"predict: {run.data} has no eval photos; there is nothing to predict")
        return {"photos": 0}
    if not settings.eval:
        _check_boxes(data, folders)
    inputs = {
        "photos": store.photo_fingerprint(data.root, data.eval["photo"].tolist(), times=True),
        "boxes": store.fingerprint(data.eval.drop(columns=["photo", "person"]).to_numpy().tolist()),
        "weights": {str(f.relative_to(run.folder)): network_fingerprint(f) for f in folders},
        "crop": run.crop,
    } | _asked(place, run.home(system), settings)
    if settings.plan:
        return _plan(inputs, settings.threads, len(data.eval), len(folders))
    with records.alone(place, "predict"):
        if settings.eval:
            store.write_json(place / EVAL_FOLDER, {"folder": str(settings.eval.resolve())})
        done = records.finished(place, "predict", inputs)
        if done and has_validation_by(place, Engine.of(done["engine"])) and not _mended(place, data, done):
            chunks.clear(place)  # of a run that was killed between its last two steps
            print(f"predict: the predictions about {done['photos']} photos stand")
            return done
        return _predict(run, settings, data, folders, inputs)


def _check_boxes(data: DataSet, folders: list[Path]) -> None:
    """Raises UserError where face boxes came or went since training: what is cropped would be other than was learned.

    Without train photos nothing is known of it, and of the boxes of some that are gone nothing either.
    """
    for folder in folders:
        made = store.read_json(folder / "settings.json")
        rows = train_rows(data, made["task"])
        now = box_fingerprint(rows)
        if not rows.empty and (made["inputs"]["boxes"] == NO_BOXES) != (now == NO_BOXES):
            setting_rules.check_same(folder, {"boxes": now}, {})


def _mended(place: Path, data: DataSet, done: dict[str, Any]) -> bool:
    """Whether an eval photo that could not be decoded now can be."""
    if not done["bad"]:
        return False
    from pipeline.images.photos import mended

    return mended(data.root, store.read_csv(place / "bad_photos.csv")["photo"])


def _asked(place: Path, home: Path, settings: Predict) -> dict[str, str]:
    """How to predict: as given, else as the last time here or for the run's own photos, else by machine, unflipped."""
    last = records.metrics_of(place, "predict") or records.metrics_of(home, "predict")
    return {
        "engine": settings.engine or last.get("asked", "auto"),
        "flip": settings.flip or last.get("flip", "no"),
    }


def _plan(asked: dict[str, Any], threads: int | None, photos: int, networks: int) -> dict[str, Any]:
    device, threads, engine = _machine(asked, threads, photos * networks)
    ladder = ", else ".join(map(str, LADDERS[engine]))
    print(f"predict: {photos} photos, {networks} networks on {device} by {ladder}; {threads} threads")
    return {"device": device, "threads": threads, "engine": engine}


def _machine(asked: dict[str, Any], threads: int | None, predictions: int) -> tuple[str, int, str]:
    """Device, threads and engine for so many photos x networks."""
    import joblib
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = usual_engine(device, predictions) if asked["engine"] == "auto" else asked["engine"]
    return device, threads or joblib.cpu_count(), engine


def _finished(run: Run, system: str) -> list:
    folders = []
    for task in SYSTEMS[system]:
        done, begun = run.finished_folds(task), run.fold_folders(task)
        for fold in sorted(set(begun) - set(done)):
            print(f"predict: {task} fold {fold} is not finished and is left out")
        folders += finished(run, task).values()
    for folder in folders:
        records.check(folder, "train", ["settings.json", "weights.safetensors"])
    return folders


def _predict(run: Run, settings: Predict, data: Any, folders: list, inputs: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd
    import torch

    from pipeline.images.photos import mended
    from pipeline.prediction import ensemble
    from pipeline.prediction.engine_choice import load_ensemble
    from pipeline.runtime.progress import Progress

    place = run.place(settings)
    device, threads, engine = _machine(inputs, settings.threads, len(data.eval) * len(folders))
    torch.set_num_threads(threads)
    chosen, members = load_ensemble(
        run, run.system(settings), place, folders, engine, inputs["flip"] == "yes", device, threads
    )
    device = chosen.device(device)
    print(f"predict: {len(data.eval)} photos, {len(members)} networks on {device} by {chosen}", flush=True)
    bad: dict[str, str] = {}
    written = chunks.Chunks(place, store.fingerprint([inputs, str(chosen)]))
    count = math.ceil(len(data.eval) / PHOTOS_PER_CHUNK)
    with Progress("predict", len(data.eval), "photos") as progress:
        for number in range(count):
            some = data.eval.iloc[number * PHOTOS_PER_CHUNK : (number + 1) * PHOTOS_PER_CHUNK]
            note = written.note(number)
            if note is None or mended(data.root, note["bad"]):
                predictions, undecoded = ensemble.predict(members, framed(run, data, some), threads, progress)
                table = some[["photo", "person"]].merge(predictions, on="photo", how="inner").assign(engine=str(chosen))
                if len(table) != len(predictions) or table["photo"].nunique() + len(undecoded) != len(some):
                    raise AssertionError("every eval photo is predicted exactly once by every fold, or is bad")
                note = {"bad": undecoded}
                written.write(number, table, note)
            else:
                progress.skip(len(some))
            bad |= note["bad"]
    if len(bad) == len(data.eval):
        raise UserError(
            f"none of the {len(bad)} eval photos can be decoded; bring photos that can:\n{tell_bad_photos(bad)}"
        )
    written.merge(count, place / "predictions.csv")
    store.write_csv(place / "bad_photos.csv", pd.DataFrame({"photo": list(bad), "reason": list(bad.values())}))
    if bad:
        told = tell_bad_photos(bad)
        print(f"predict: {len(bad)} photos cannot be decoded; submit gives them its most common label:\n{told}")
    metrics = {"photos": len(data.eval), "networks": len(members), "bad": len(bad), "engine": str(chosen)}
    metrics |= {"asked": inputs["engine"], "flip": inputs["flip"], "weights": inputs["weights"]}
    records.record(place, "predict", inputs, ["predictions.csv", "bad_photos.csv"], metrics)
    chunks.clear(place)
    return metrics
