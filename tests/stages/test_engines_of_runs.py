"""Which engine answers a run's photos, and that calibration reads answers of that engine."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import add_boxes, contents, train_tiny

from models.errors import UserError
from pipeline.dataset.run_data import data_of
from pipeline.images.run_photos import prepared
from pipeline.prediction import converted, engines, ensemble
from pipeline.prediction.engine import REFERENCE, Engine
from pipeline.prediction.run_predictions import gather, networks_of, validation_by
from pipeline.run.fold_records import FinishedFold
from pipeline.run.folder import open_run
from pipeline.run.remembered import EngineSettings
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.submit import submit

COLUMNS = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]


def asked(copy, **settings) -> Predict:
    return Predict.of(run=copy.run, threads=1, **settings)


def test_openvino_answers_eval_and_validation_photos(copy, capsys):
    torch = store.read_csv(copy.run / "predictions.csv")
    assert set(torch["engine"]) == {"torch"}
    assert not (copy.run / "validation.csv").exists()
    labels = (copy.run / "submission.csv").read_bytes()
    metrics = predict(asked(copy, engine="openvino"))
    assert metrics["engine"] == "openvino"
    assert "openvino gives 100.00% of 84 validation photos the label" in capsys.readouterr().out
    faster = store.read_csv(copy.run / "predictions.csv")
    assert set(faster["engine"]) == {"openvino"}
    np.testing.assert_allclose(faster[COLUMNS], torch[COLUMNS], rtol=1e-3, atol=1e-3)
    networks = networks_of(open_run(EvalStage.of(run=copy.run), make=False), "specialists")
    validation, reference = validation_by(networks, copy.run, Engine.of("openvino")), gather(networks)
    assert validation["photo"].tolist() == reference["photo"].tolist()
    np.testing.assert_allclose(validation[COLUMNS], reference[COLUMNS], rtol=1e-3, atol=1e-3)
    finish_after(copy)
    assert (copy.run / "submission.csv").read_bytes() == labels
    predict(asked(copy, engine="openvino"))
    assert "stand" in capsys.readouterr().out


def finish_after(copy) -> None:
    calibrate(Calibrate.of(run=copy.run, prior="0.4,0.3,0.3"))
    submit(EvalStage.of(run=copy.run))


def spoiled(monkeypatch, *names, by):
    """Engines of these names answer otherwise."""
    build = engines.build

    def other(engine, *given):
        forward = build(REFERENCE if str(engine) in names else engine, *given)
        return (lambda photos: by(forward(photos))) if str(engine) in names else forward

    monkeypatch.setattr(engines, "build", other)
    monkeypatch.setattr(converted, "logits_by", lambda *_: None)  # else nothing need be built


def conversions(monkeypatch) -> list[object]:
    """The networks that are converted from now on."""
    found, convert = [], engines.openvino_model
    monkeypatch.setattr(
        engines, "openvino_model", lambda network, size: (found.append(network), convert(network, size))[1]
    )
    return found


def test_a_network_is_converted_once_for_all_stages(copy, monkeypatch, capsys):
    found = conversions(monkeypatch)
    predict(asked(copy, engine="openvino"))
    assert len(found) == 3
    first = store.read_csv(copy.run / "predictions.csv")
    assert len(list(copy.run.glob("*/fold0/openvino.xml"))) == 3
    shutil.copytree(copy.data / "eval/images", "again")
    predict(asked(copy, eval=Path("again")))  # the engine is remembered
    keep = [FinishedFold.read(fold) for fold in sorted(copy.run.glob("*/fold0"))]
    assert converted.keep_converted(keep)  # as make label does
    assert len(found) == 3
    again = store.read_csv(copy.run / "eval-again/predictions.csv")
    assert set(again["engine"]) == {"openvino"}
    np.testing.assert_allclose(np.sort(first["age_years"]), np.sort(again["age_years"]), rtol=1e-5)  # in other batches
    (copy.run / "age/fold0/openvino.bin").write_bytes(b"x")
    predict(asked(copy, engine="torch"))
    predict(asked(copy, engine="openvino"))
    assert len(found) == 4


def test_where_no_conversion_can_be_kept_it_is_made_each_time(copy, monkeypatch):
    torch = store.read_csv(copy.run / "predictions.csv")
    replacing = store.replacing

    def full(path):
        if Path(path).name.startswith("openvino"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return replacing(path)

    monkeypatch.setattr(store, "replacing", full)
    found = conversions(monkeypatch)
    assert predict(asked(copy, engine="openvino"))["engine"] == "openvino"
    assert len(found) >= 3
    assert not list(copy.run.glob("*/fold0/openvino.xml"))
    np.testing.assert_allclose(
        store.read_csv(copy.run / "predictions.csv")[COLUMNS], torch[COLUMNS], rtol=1e-3, atol=1e-3
    )


def test_a_network_that_is_refused_is_refused_alike_each_time(copy, monkeypatch, capsys):
    def odd(network, size):
        raise RuntimeError("an operation that OpenVINO has not")

    monkeypatch.setattr(engines, "openvino_model", odd)
    for _ in range(2):
        assert predict(asked(copy, engine="openvino"))["engine"] == "torch"
        assert "openvino cannot run these networks (an operation that OpenVINO has not)" in capsys.readouterr().out
        shutil.rmtree(copy.run / "done")


def test_a_kept_network_that_disagrees_is_not_used(copy, monkeypatch, capsys):
    kept = converted.logits_by

    def spoiled_by(*given):
        forward = kept(*given)
        return lambda photos: -forward(photos)

    monkeypatch.setattr(converted, "logits_by", spoiled_by)
    assert predict(asked(copy, engine="openvino"))["engine"] == "torch"
    assert "not used" in capsys.readouterr().out


def test_what_training_wrote_of_those_held_out_is_to_the_bit_what_its_weights_predict(copy):
    networks = networks_of(open_run(EvalStage.of(run=copy.run), make=False), "specialists")
    data = data_of(open_run(EvalStage.of(run=copy.run), make=False))
    place = {photo: row for row, photo in enumerate(data.train["photo"])}
    for (fold,) in networks.values():
        table, member = store.read_csv(fold.folder / "validation.csv"), ensemble.load(fold, "cpu", fold.plan.threads)
        pixels = prepared(open_run(EvalStage.of(run=copy.run), make=False), data, member.view, None).pixels
        rows = table["photo"].map(place).to_numpy(np.int64)
        predictions = ensemble.predict_rows(member, pixels, rows)
        assert np.array_equal(table[list(member.columns)].to_numpy(np.float32), predictions)


def test_an_engine_that_disagrees_is_not_used(copy, monkeypatch, capsys):
    spoiled(monkeypatch, "openvino-bfloat16", by=lambda logits: -logits)
    assert predict(asked(copy, engine="openvino-bfloat16"))["engine"] == "openvino"
    told = capsys.readouterr().out
    assert told.index("not used") < told.index("openvino gives")


def test_where_none_agrees_torch_answers(copy, monkeypatch, capsys):
    before = (copy.run / "predictions.csv").read_bytes()
    spoiled(monkeypatch, "openvino-bfloat16", "openvino", by=lambda logits: -logits)
    assert predict(asked(copy, engine="openvino-bfloat16"))["engine"] == "torch"
    assert capsys.readouterr().out.count("not used") == 2
    assert (copy.run / "predictions.csv").read_bytes() == before
    predict(asked(copy, engine="openvino-bfloat16", flip=False))
    assert "validation photos" not in capsys.readouterr().out  # compared once


def test_an_engine_that_cannot_run_a_network_is_told(copy, monkeypatch, capsys):
    def fail(logits):
        raise RuntimeError("no such operation\nand more")

    spoiled(monkeypatch, "openvino", by=fail)
    assert predict(asked(copy, engine="openvino"))["engine"] == "torch"
    assert "openvino cannot run these networks (no such operation) and is not used" in capsys.readouterr().out


def test_a_full_disk_is_not_taken_for_a_fault_of_the_engine(copy, monkeypatch):
    def fail(logits):
        raise OSError(errno.ENOSPC, "No space left on device")

    spoiled(monkeypatch, "openvino", by=fail)
    with pytest.raises(OSError, match="No space left"):
        predict(asked(copy, engine="openvino"))
    assert not (copy.run / "done/engine.json").exists()


def test_flip_is_answered_and_calibrated_alike(copy):
    assert predict(asked(copy, flip=True))["engine"] == "torch flip"
    networks = networks_of(open_run(EvalStage.of(run=copy.run), make=False), "specialists")
    flipped, plain = validation_by(networks, copy.run, Engine.of("torch flip")), gather(networks)
    assert not np.allclose(flipped[COLUMNS], plain[COLUMNS], atol=1e-6)
    finish_after(copy)
    with pytest.raises(UserError, match="another engine than openvino; run predict again"):
        validation_by(networks, copy.run, Engine.of("openvino"))


def test_how_to_answer_is_remembered(copy, capsys):
    predict(asked(copy, flip=True, engine="openvino"))
    assert predict(asked(copy))["engine"] == "openvino flip"
    assert "stand" in capsys.readouterr().out
    assert predict(asked(copy, engine="auto"))["engine"] == "torch flip"
    assert predict(asked(copy, flip=False))["engine"] == "torch"


def test_each_place_keeps_the_answers_of_its_own_engine(copy, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    mine = {"run": copy.run, "eval": Path("mine")}
    predict(asked(copy, flip=True))
    whole = (copy.run / "validation.csv").read_bytes()
    assert predict(asked(copy, eval=Path("mine"), engine="openvino", flip=False))["engine"] == "openvino"
    calibrate(Calibrate.of(**mine, prior="train"))
    finish_after(copy)
    assert (copy.run / "validation.csv").read_bytes() == whole
    # Whatever one place is asked for, the other's answers stand.
    capsys.readouterr()
    assert predict(asked(copy))["engine"] == "torch flip"
    assert predict(asked(copy, eval=Path("mine")))["engine"] == "openvino"
    assert capsys.readouterr().out.count("stand") == 2
    calibrate(Calibrate.of(**mine, prior="train"))
    submit(EvalStage.of(**mine))
    finish_after(copy)


@pytest.mark.slow
def test_a_folder_is_answered_as_the_runs_own_photos_are(copy, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    predict(asked(copy, flip=True, engine="openvino"))
    capsys.readouterr()
    assert predict(asked(copy, eval=Path("mine")))["engine"] == "openvino flip"
    assert "validation photos" not in capsys.readouterr().out  # they are answered once
    place = copy.run / "eval-mine"
    assert (place / "validation.csv").read_bytes() == (copy.run / "validation.csv").read_bytes()
    predict(asked(copy, flip=False, engine="torch"))  # from now on they differ
    assert predict(asked(copy, eval=Path("mine")))["engine"] == "openvino flip"
    calibrate(Calibrate.of(run=copy.run, eval=Path("mine"), prior="train"))


def test_predict_mends_validation_answers(copy):
    predict(asked(copy, flip=True))
    path = copy.run / "validation.csv"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match="another engine than torch flip; run predict again"):
        calibrate(Calibrate.of(run=copy.run))
    predict(asked(copy))
    assert path.read_bytes() == whole
    finish_after(copy)


def test_damaged_validation_answers_are_named(copy):
    predict(asked(copy, flip=True))
    path = copy.run / "validation.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"0.1", 1))
    with pytest.raises(UserError, match=r"validation\.csv is missing, damaged or of another.*run predict again"):
        calibrate(Calibrate.of(run=copy.run))


def test_without_train_photos_the_engine_that_was_chosen_stays(copy, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    predict(asked(copy, engine="openvino"))
    shutil.rmtree(copy.data)
    capsys.readouterr()
    assert predict(asked(copy, eval=Path("mine"), engine="openvino"))["engine"] == "openvino"
    assert predict(asked(copy, eval=Path("mine"), engine="compiled"))["engine"] == "torch"
    assert "torch, because compiled cannot be compared without the train photos" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"--flip yes changes the predictions, and the train photos .* are gone"):
        predict(asked(copy, eval=Path("mine"), flip=True))


def test_without_train_photos_flipped_answers_of_torch_are_the_last_resort(copy, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    predict(asked(copy, flip=True))
    shutil.rmtree(copy.data)
    assert predict(asked(copy, eval=Path("mine"), engine="openvino"))["engine"] == "torch flip"
    assert "torch, because openvino cannot be compared" in capsys.readouterr().out
    calibrate(Calibrate.of(run=copy.run, eval=Path("mine"), prior="train"))


def replace_photos(copy) -> None:
    for photo in copy.data.glob("train/images/[!.]*/[!.]*"):
        Image.new("RGB", (48, 64), "grey").save(photo)


def remove_photos(copy) -> None:
    for photo in copy.data.glob("train/images/[!.]*/mask1.*"):
        photo.unlink()


@pytest.mark.parametrize("change", [replace_photos, remove_photos, add_boxes])
def test_engines_are_compared_on_the_photos_that_were_learned_from_alone(copy, change, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    change(copy)
    assert predict(asked(copy, eval=Path("mine"), engine="openvino"))["engine"] == "torch"
    told = capsys.readouterr().out
    assert "torch, because openvino cannot be compared without the train photos (people), which have changed" in told
    assert "validation photos the label" not in told
    with pytest.raises(UserError, match=r"--flip yes changes the predictions, and the train photos of .* have changed"):
        predict(asked(copy, eval=Path("mine"), flip=True))
    assert not list(copy.run.glob("**/done/engine.json"))


def test_train_photos_that_are_no_data_set_any_more_are_told(copy, capsys):
    shutil.copytree(copy.data / "eval/images", "mine")
    shutil.rmtree(copy.data / "train")
    assert predict(asked(copy, eval=Path("mine"), engine="openvino"))["engine"] == "torch"
    assert "the train photos (people), which cannot be read" in capsys.readouterr().out


@pytest.mark.slow
def test_another_device_chooses_anew(copy, monkeypatch, capsys):
    from pipeline.prediction import engine_choice

    run, loaded = open_run(EvalStage.of(run=copy.run), make=False), []
    networks = networks_of(run, "specialists")
    load = engine_choice.ensemble.load

    def noted(fold, device, threads, engine):
        loaded.append((device, str(engine)))
        return load(fold, "cpu", threads, engine)

    monkeypatch.setattr(engine_choice.ensemble, "load", noted)
    for device in ("cpu", "cuda", "cuda"):
        request = engine_choice.Request(run, networks, copy.run, copy.run, lambda: data_of(run), device, 1)
        assert str(engine_choice.load_ensemble(request, EngineSettings(engine="openvino"))[0]) == "openvino"
    assert loaded == [("cpu", "openvino")] * 3 + [("cuda", "openvino")] * 6
    assert capsys.readouterr().out.count("validation photos the label") == 2


@pytest.mark.slow
def test_validation_photos_are_read_a_chunk_at_a_time(copy, monkeypatch):
    counts, predictions = [], ensemble.EnsembleMember.predict

    def counted(member, photos):
        counts.append(len(photos))
        return predictions(member, photos)

    monkeypatch.setattr(ensemble, "CHUNK", 64)
    monkeypatch.setattr(ensemble.EnsembleMember, "predict", counted)
    before = (copy.run / "age/fold0/validation.csv").read_bytes()
    train_tiny(copy.run, copy.data, "age", restart=True)
    assert counts == [64, 20]
    assert (copy.run / "age/fold0/validation.csv").read_bytes() == before
    predict(asked(copy, engine="openvino"))
    assert counts[2:8] == [64, 20] * 3


def test_the_plan_is_told_and_nothing_written(copy, monkeypatch, capsys):
    before = contents(copy.run)
    assert predict(asked(copy, plan=True))["engine"] == "torch"
    monkeypatch.setattr("pipeline.prediction.engine.WORTH", 50)
    assert predict(asked(copy, plan=True))["engine"] == "openvino"
    monkeypatch.setattr("pipeline.prediction.engine.LONG", 50)
    assert predict(asked(copy, plan=True))["engine"].startswith("openvino")
    assert "openvino, else torch; 1 threads" in capsys.readouterr().out
    assert before == contents(copy.run)
