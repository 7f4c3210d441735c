"""Face boxes that come or go after training: what learned without them never answers, or trains beside, crops."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import SMALL, TINY, add_boxes, train_tiny

from models.errors import UserError
from pipeline.dataset.run_data import data_of
from pipeline.images.run_photos import framed
from pipeline.prediction import ensemble, over_photos
from pipeline.prediction.run_predictions import out_of_fold
from pipeline.run.fold_records import FinishedFold
from pipeline.run.folder import open_run
from pipeline.runtime import store
from pipeline.runtime.progress import Progress
from pipeline.stages import predict as predict_stage
from pipeline.stages.predict import Predict, predict
from pipeline.stages.train import Train, train
from pipeline.training import trainer

CHANGED = "(?s)was trained otherwise.*the face boxes have changed"


def test_boxes_that_came_are_refused(copy):
    add_boxes(copy)
    with pytest.raises(UserError, match=CHANGED) as refusal:
        train(Train.of(task="age", run=copy.run))
    assert str(refusal.value).count("have changed") == 1
    with pytest.raises(UserError, match=CHANGED):  # eval photos would be cropped
        predict(Predict.of(run=copy.run))
    with pytest.raises(UserError, match=CHANGED):  # a fold that has not begun, too
        train(Train.of(task="age", run=copy.run, folds="1"))
    assert not (copy.run / "age/fold1").exists()
    train_tiny(copy.run, copy.data, "age", restart=True)
    train(Train.of(task="age", run=copy.run))


def test_boxes_that_went_are_refused(copy):
    add_boxes(copy)
    train_tiny(copy.run, copy.data, "age", restart=True)
    predictions = (copy.run / "predictions.csv").read_bytes()
    (copy.data / "boxes.csv").unlink()
    with pytest.raises(UserError, match=CHANGED):
        train(Train.of(task="age", run=copy.run))
    with pytest.raises(UserError, match=CHANGED):
        predict(Predict.of(run=copy.run))
    assert (copy.run / "predictions.csv").read_bytes() == predictions


def test_boxes_of_photos_that_are_gone_are_not_missed(copy):
    add_boxes(copy)
    train_tiny(copy.run, copy.data, "age", restart=True)
    data = data_of(open_run(copy.settings))
    for left in (data.train[1:], data.train[:0]):
        predict_stage._check_boxes(replace(data, train=left), {"age": [FinishedFold.read(copy.run / "age/fold0")]})


def test_training_and_prediction_keep_the_same_margin(copy):
    add_boxes(copy)
    train_tiny(copy.run, copy.data, "age", restart=True, face_margin=0.6)
    run, fold = open_run(copy.settings), FinishedFold.read(copy.run / "age/fold0")
    data, member = data_of(run), ensemble.load(fold, "cpu", 1)
    validation = out_of_fold(fold)
    rows = data.train[data.train["photo"].isin(validation["photo"])]

    def ages(member):
        with Progress("predict", len(rows), "photos", quiet=True) as progress:
            table, *_ = over_photos.predict([member], framed(run, data, rows), 1, progress)
        return table.set_index("photo")["age_years"].loc[validation["photo"]].to_numpy()

    assert member.view.margin == 0.6
    np.testing.assert_allclose(ages(member), validation["age_years"], atol=1e-3)
    other = ages(replace(member, view=member.view._replace(margin=0.25)))
    assert np.abs(other - validation["age_years"]).max() > 1e-2


def test_an_interrupted_fold_is_refused_too(copy, monkeypatch):
    def stop(trainer):
        raise KeyboardInterrupt

    begun = Train.of(task="age", run=copy.run.with_name("two"), data=copy.data, **TINY["age"], **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            train(begun)
    add_boxes(copy)
    with pytest.raises(UserError, match=CHANGED):
        train(begun)
    (copy.data / "boxes.csv").unlink()
    train(begun)


def test_boxes_of_eval_photos_alone_concern_no_training(copy):
    add_boxes(copy, "eval")
    before = store.read_json(copy.run / "age/fold0/settings.json")
    assert set(before["inputs"]) == {"photos", "boxes", "faces", "labels", "folds", "extra", "drawn"}
    train(Train.of(task="age", run=copy.run))
