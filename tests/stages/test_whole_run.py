"""From photos to a scored submission, and what each stage does when it is asked again."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from tiny_runs import contents, finish, inside, train_all, train_tiny

from models.errors import UserError
from models.labels import LABELS
from pipeline.prediction import in_chunks, over_photos
from pipeline.prediction.run_predictions import gather, networks_of
from pipeline.run.settings import EvalStage, RunStage
from pipeline.runtime.store import read_json
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.prepare import prepare
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.training import fold as fold_module
from pipeline.training import fold as train_fold_module

ANSWERS = ["weights.safetensors", "validation.csv", "settings.json"]


def files(run: Path) -> dict[str, bytes]:
    """The files of a run whose bytes are promised."""
    names = [f"{task}/fold0/{name}" for task in ("mask", "gender", "age") for name in ANSWERS]
    ends = ["predictions.csv", "combiner.json", "held_out.csv", "submission.csv"]
    return {n: (run / n).read_bytes() for n in [*names, *ends]}


def stamps(run: Path) -> dict[str, int]:
    written = [p for p in run.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in written}


def test_submission_answers_every_eval_photo_in_order(done):
    asked = pd.read_csv(done.data / "eval/info.csv")
    submission = pd.read_csv(done.run / "submission.csv")
    assert list(submission.columns) == ["ImageID", "ans"]
    assert submission["ImageID"].tolist() == asked["ImageID"].tolist()
    assert submission["ans"].isin(range(LABELS)).all()


def test_people_held_out_have_a_label_each_that_their_own_photos_did_not_choose(done):
    held_out = pd.read_csv(done.run / "held_out.csv")
    assert set(held_out["photo"]) == set(pd.read_csv(done.run / "age/fold0/validation.csv")["photo"])
    scores = read_json(done.run / "combiner.json")["report"]["scores"]["train"]
    expected = f1_score(
        held_out["label"], held_out["cross_fitted"], labels=np.unique(held_out["label"]), average="macro",
        zero_division=0,
    )  # fmt: skip
    assert scores["cross_fitted"]["macro_f1"] == pytest.approx(expected, abs=1e-12)


def test_score_agrees_with_scikit_learn(done):
    submission = pd.read_csv(done.run / "submission.csv").merge(pd.read_csv(done.data / "key.csv"), on="ImageID")
    truth, predicted = submission["ans_y"], submission["ans_x"]
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert done.metrics.score["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert sum(done.metrics.score["errors"].values()) == len(submission)
    assert json.loads((done.run / "score.json").read_text())["macro_f1"] == done.metrics.score["macro_f1"]


def test_validation_answers_are_about_people_held_out(done):
    table = pd.read_csv(done.run / "age/fold0/validation.csv", dtype={"person": str})
    train = pd.read_csv(done.data / "train/train.csv")
    assert set(table["person"]) < set(train["path"])
    assert table["person"].nunique() == pytest.approx(len(train) / 5, abs=1)
    assert table["photo"].is_unique
    assert np.allclose(pd.read_csv(done.run / "mask/fold0/validation.csv").filter(like="mask_").sum(axis=1), 1)


def test_the_gap_is_measured_on_train_people_of_all_kinds():
    people = [f"{i:02}" for i in range(40)]
    rows = pd.DataFrame({"person": np.repeat(people, 7)})
    held_out = rows["person"].isin(people[::5]).to_numpy()
    checked = fold_module.checked_rows(rows, held_out)
    assert not (checked & held_out).any()
    chosen = rows["person"][checked]
    assert (chosen.value_counts() == 7).all()
    assert chosen.nunique() == 4
    assert chosen.min() < "10"
    assert chosen.max() >= "30"


def test_same_commands_give_the_same_bytes(done, tmp_path):
    with inside(tmp_path):
        train_all(Path("runs/one"), done.data)
        finish(Path("runs/one"))
    again = files(tmp_path / "runs/one")
    for name, content in files(done.run).items():
        assert again[name] == content, name


def test_finished_stages_write_nothing(copy, capsys):
    before = stamps(copy.run)
    train_all(copy.run, copy.data)
    finish(copy.run)
    after = stamps(copy.run)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"score.json", "scored.csv", "done/score.json"}  # the truth is opened anew
    told = capsys.readouterr().out
    assert told.count("is finished") == 3
    assert "stand" in told


def test_settings_need_to_be_given_once(copy):
    from pipeline.stages.train import Train, train

    metrics = train(Train.of(task="age", run=copy.run))
    assert set(metrics) == {"fold0"}


def test_new_eval_photos_rerun_predict_to_score_but_not_training(copy):
    asked = pd.read_csv(copy.data / "eval/info.csv")
    gone = asked["ImageID"].iloc[0]
    (copy.data / "eval/images" / gone).unlink()
    asked.iloc[1:].to_csv(copy.data / "eval/info.csv", index=False)
    key = pd.read_csv(copy.data / "key.csv")
    key[key["ImageID"] != gone].to_csv(copy.data / "key.csv", index=False)
    before = stamps(copy.run)
    train_all(copy.run, copy.data)
    metrics = finish(copy.run)
    after = stamps(copy.run)
    assert metrics.submit["photos"] == len(asked) - 1
    assert {n for n in after if "/fold0/" in n and after[n] != before[n]} == set()


def test_another_method_of_the_combiner_reruns_calibrate(copy, monkeypatch, capsys):
    """An upgraded run must not keep what an older method estimated."""
    calibrate(Calibrate.of(run=copy.run, prior="auto"))
    assert "trying the estimate of the age mix on your own people" in capsys.readouterr().out
    told = calibrate(Calibrate.of(run=copy.run))
    assert capsys.readouterr().out == f"calibrate: {told['told']} stand\n"
    monkeypatch.setattr("pipeline.combiner.schema.VERSION", 99)
    again = calibrate(Calibrate.of(run=copy.run))
    assert "stand" not in capsys.readouterr().out
    assert again == told, "the same method"


def test_another_prior_reruns_calibrate_and_is_remembered(copy):
    first = calibrate(Calibrate.of(run=copy.run, prior="0.1,0.2,0.7"))
    assert read_json(copy.run / "settings.json")["prior"] == "0.1,0.2,0.7"
    assert calibrate(Calibrate.of(run=copy.run)) == first
    assert submit(EvalStage.of(run=copy.run))["photos"] == 70
    predict(Predict.of(run=copy.run, flip=True))  # other answers, so that calibrate runs again
    again = calibrate(Calibrate.of(run=copy.run))
    wanted = {"engine": "auto", "flip": True, "prior": "0.1,0.2,0.7", "people": "auto"}
    assert read_json(copy.run / "settings.json") == wanted
    assert again["age_mix"] == first["age_mix"]


def test_files_that_no_longer_belong_together_are_refused(copy):
    predict(Predict.of(run=copy.run, flip=True))
    with pytest.raises(UserError, match=r"fitted to other predictions .*run calibrate again"):
        submit(EvalStage.of(run=copy.run))
    calibrate(Calibrate.of(run=copy.run))
    submit(EvalStage.of(run=copy.run))
    calibrate(Calibrate.of(run=copy.run, prior="0.1,0.2,0.7"))
    with pytest.raises(UserError, match=r"other predictions or thresholds .*run submit again"):
        score(Score.of(run=copy.run))
    train_tiny(copy.run, copy.data, "age", restart=True, seed=9)
    with pytest.raises(UserError, match=r"predicted by another network than .*age/fold0.* run predict again"):
        calibrate(Calibrate.of(run=copy.run))


def test_eval_photos_that_can_be_decoded_again_are_answered(copy):
    victim = sorted((copy.data / "eval/images").iterdir())[0]
    good, when = victim.read_bytes(), victim.stat().st_mtime
    victim.write_bytes(b"x" * len(good))
    os.utime(victim, (when, when))
    (copy.run / "done/predict.json").unlink()
    assert predict(Predict.of(run=copy.run))["bad"] == 1
    assert predict(Predict.of(run=copy.run))["bad"] == 1
    victim.write_bytes(good)
    os.utime(victim, (when, when))
    assert predict(Predict.of(run=copy.run))["bad"] == 0


def test_a_folder_without_one_photo_that_can_be_decoded(copy):
    Path("mine").mkdir()
    Path("mine/a.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match=r"none of the 1 eval photos can be decoded(.|\n)*a\.jpg"):
        predict(Predict.of(run=copy.run, eval=Path("mine")))
    assert not Path(copy.run / "eval-mine/predictions.csv").exists()


def test_folders_of_one_name_keep_their_submissions(copy):
    photos = sorted((copy.data / "eval/images").iterdir())
    for day, some in (("monday", photos[:3]), ("tuesday", photos[3:6])):
        Path(day, "photos").mkdir(parents=True)
        for photo in some:
            shutil.copy(photo, Path(day, "photos", photo.name))
        finish(copy.run, eval=Path(day, "photos"))
    places = sorted(copy.run.glob("eval-photos*/submission.csv"))
    answered = [set(pd.read_csv(place)["photo"]) for place in places]
    assert answered == [{photo.name for photo in some} for some in (photos[:3], photos[3:6])]


def test_undecodable_eval_photos_keep_their_rows(copy):
    names = pd.read_csv(copy.data / "eval/info.csv")["ImageID"].tolist()
    for name, content in zip(names[:5], [b"", b"no photo", None, b"\xff\xd8\xff", b"GIF89a"], strict=True):
        path = copy.data / "eval/images" / name
        path.write_bytes(path.read_bytes()[:500] if content is None else content)
    metrics = finish(copy.run)
    assert metrics.predict["bad"] == 5
    submission = pd.read_csv(copy.run / "submission.csv")
    assert submission["ImageID"].tolist() == names
    common = submission["ans"].iloc[5:].mode().iloc[0]
    assert submission["ans"].iloc[:5].tolist() == [common] * 5
    assert len(pd.read_csv(copy.run / "bad_photos.csv")) == 5


def test_submit_never_opens_the_truth(copy):
    (copy.data / "key.csv").write_bytes(b"\x00\xff not a table")
    (copy.run / "submission.csv").unlink()
    assert submit(EvalStage.of(run=copy.run))["photos"] == 70
    with pytest.raises(UserError, match=r"key\.csv"):
        score(Score.of(run=copy.run))


def test_a_submission_about_other_photos_is_not_scored(copy):
    table = pd.read_csv(copy.run / "submission.csv")
    table.iloc[::-1].to_csv(copy.run / "submission.csv", index=False)
    with pytest.raises(UserError, match="other photos"):
        score(Score.of(run=copy.run))


@pytest.mark.parametrize("predicted", ["18", "-1", "x", ""])
def test_a_submission_with_other_labels_is_not_scored(copy, predicted):
    path = copy.run / "submission.csv"
    head, first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, f"{first.split(',')[0]},{predicted}", *rows]))
    with pytest.raises(UserError, match=r"submission\.csv must hold a label from 0 to 17 in each row"):
        score(Score.of(run=copy.run))


def test_without_truth_score_says_so_or_nothing(copy):
    (copy.data / "key.csv").unlink()
    assert score(Score.of(run=copy.run, if_known=True)) == {}
    with pytest.raises(UserError, match="no truth"):
        score(Score.of(run=copy.run))


def test_a_bare_folder_is_labelled_without_the_train_photos(copy):
    shutil.copytree(copy.data / "eval/images", "mine/deep")
    shutil.rmtree(copy.data)
    shutil.rmtree("data")
    metrics = finish(copy.run, eval=Path("mine"))
    submission = pd.read_csv(copy.run / "eval-mine/submission.csv")
    assert list(submission.columns) == ["photo", "ans"]
    assert len(submission) == metrics.submit["photos"] == 70
    # The same photos as in the data set's own eval part get the same labels.
    own = pd.read_csv(copy.run / "submission.csv").set_index("ImageID")["ans"]
    names = submission["photo"].str.removeprefix("deep/")
    assert submission["ans"].tolist() == own[names].tolist()


def test_changed_labels_are_refused_and_restart_keeps_the_old_folder(copy):
    train = pd.read_csv(copy.data / "train/train.csv", dtype={"id": str})
    train.loc[0, "age"] = 21 if train.loc[0, "age"] != 21 else 22
    train.to_csv(copy.data / "train/train.csv", index=False)
    with pytest.raises(UserError, match="the labels have changed"):
        train_tiny(copy.run, copy.data, "age")
    train_tiny(copy.run, copy.data, "mask")  # it never looks at ages, so it stands
    train_tiny(copy.run, copy.data, "age", restart=True)
    kept = [p.name for p in (copy.run / "age").iterdir() if p.is_dir() and p.name != "fold0"]
    assert len(kept) == 1
    assert kept[0].startswith("fold0-")
    assert (copy.run / "age" / kept[0] / "weights.safetensors").is_file()


def test_changed_settings_are_refused_with_the_difference(copy):
    with pytest.raises(UserError, match=r"epochs: 0\.5 then, 2 now") as refusal:
        train_tiny(copy.run, copy.data, "age", epochs=2)
    assert "--restart" in str(refusal.value)
    assert "RUN=" in str(refusal.value)


def test_run_wide_settings_are_refused_once_trained(copy):
    with pytest.raises(UserError, match="crop"):
        prepare(RunStage.of(run=copy.run, crop=0.5))


def test_more_folds_join_and_calibration_uses_their_people(copy, capsys):
    train_all(copy.run, copy.data, folds="0,1")
    assert len(gather_people(copy.run)) == 24
    (copy.run / "age/fold1/done/train.json").unlink()
    finish(copy.run)
    assert "age fold 1 is not finished" in capsys.readouterr().out
    predictions = pd.read_csv(copy.run / "predictions.csv")
    assert len(predictions) == 140
    assert predictions[predictions["fold"] == 1]["age_years"].isna().all()
    assert predictions[predictions["fold"] == 1]["gender_female"].notna().all()


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("age/fold0/weights.safetensors", (train_all, predict)),
        ("age/fold0/settings.json", (train_all, predict)),
        ("age/fold0/validation.csv", (train_all, calibrate)),
        ("predictions.csv", (calibrate, submit)),
    ],
)
def test_changed_results_are_named_by_whoever_needs_them(copy, name, stages):
    given = {
        predict: Predict.of(run=copy.run),
        calibrate: Calibrate.of(run=copy.run),
        submit: EvalStage.of(run=copy.run),
    }
    path = copy.run / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    for stage in stages:
        with pytest.raises(UserError, match=rf"{path.name}.* damaged or was changed"):
            train_all(copy.run, copy.data) if stage is train_all else stage(given[stage])


def test_a_prediction_goes_on_after_its_last_whole_part(copy, monkeypatch):
    monkeypatch.setattr(in_chunks, "PHOTOS_PER_CHUNK", 20)
    (copy.run / "predictions.csv").rename(copy.run / "whole.csv")
    asked, work = [], over_photos.predict

    def stop(members, photos, *given):
        asked.append(len(photos.names))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return work(members, photos, *given)

    monkeypatch.setattr(over_photos, "predict", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(Predict.of(run=copy.run, threads=1))
    assert not (copy.run / "predictions.csv").exists()
    (part,) = copy.run.glob("chunks-*/000000.csv")
    part.write_bytes(part.read_bytes()[:-9])  # a damaged part is made again
    assert predict(Predict.of(run=copy.run, threads=1))["photos"] == 70
    assert asked == [20, 20, 20, 20, 20, 10]
    assert not list(copy.run.glob("chunks-*"))
    whole, merged = (pd.read_csv(copy.run / name) for name in ("whole.csv", "predictions.csv"))
    pd.testing.assert_frame_equal(merged, whole, rtol=1e-4)  # other batches, other last bits


def test_parts_left_by_a_kill_go_with_the_next_prediction(copy):
    left = copy.run / "chunks-0123456789abcdef/000000.csv"  # killed when the answers were whole, before its parts went
    left.parent.mkdir()
    left.write_text("photo\n")
    predict(Predict.of(run=copy.run, threads=1))
    assert not left.parent.exists()


def test_cores_are_shared_by_trainings_side_by_side(copy, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    for run, share, given, threads in (("a", 3, None, 2), ("b", 9, None, 1), ("c", 3, 5, 5)):
        told = train_tiny(Path(run), copy.data, "age", share=share, threads=given, plan=True)
        assert told["fold0"]["threads"] == threads


def test_the_plan_of_a_training_is_told_and_kept(copy, capsys):
    before = contents(copy.run)
    told = train_tiny(copy.run, copy.data, "age", plan=True, folds="0,1", threads=5)
    assert told["fold0"] == read_json(copy.run / "age/fold0/settings.json")["plan"]  # as it was begun
    assert (told["fold0"]["threads"], told["fold1"]["threads"]) == (1, 5)
    assert "train age fold 1: test_convnext on " in capsys.readouterr().out
    assert before == contents(copy.run)


def gather_people(run: Path) -> set[str]:
    from pipeline.run.folder import open_run

    table = gather(networks_of(open_run(RunStage.of(run=run)), "specialists"))
    return set(table[table.filter(regex="mask_worn|female|years").notna().all(axis=1)]["person"])


def test_a_bad_train_photo_stops_prepare_unless_skipped(copy):
    victim = sorted((copy.data / "train/images").glob("*/mask2.*"))[0]
    victim.write_bytes(b"no photo")
    run = Path("runs/two")
    with pytest.raises(UserError, match=r"mask2(.|\n)*--skip-bad-photos|--skip-bad-photos(.|\n)*mask2"):
        prepare(RunStage.of(run=run, data=copy.data, faces="given"))
    assert prepare(RunStage.of(run=run, data=copy.data, faces="given", skip_bad_photos=True))["bad"] == 1
    train_tiny(run, copy.data, "age", skip_bad_photos=True)


def test_stages_name_what_must_run_first(people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="train it first"):
        predict(Predict.of(run=Path("runs/none")))
    assert not Path("runs").exists()
    train_tiny(Path("runs/half"), people, "mask")
    with pytest.raises(UserError, match="make train-gender"):
        predict(Predict.of(run=Path("runs/half")))


def test_specialists_learn_from_photos_with_their_label_alone(copy):
    train = pd.read_csv(copy.data / "train/train.csv", dtype={"id": str})
    train["age"] = train["age"].astype("object")
    train.loc[train.index[:10], "age"] = ""
    train.to_csv(copy.data / "train/train.csv", index=False)
    run = Path("runs/three")
    train_tiny(run, copy.data, "age")
    train_tiny(run, copy.data, "gender")
    ages = pd.read_csv(run / "age/fold0/validation.csv")
    genders = pd.read_csv(run / "gender/fold0/validation.csv")
    assert ages["age"].notna().all()
    assert genders["age"].isna().sum() + len(ages) <= len(genders)


def test_nothing_is_written_into_the_data_set(done):
    names = {p.name for p in done.data.iterdir()}
    assert names <= {"train", "eval", "key.csv", "landmarks.csv", "README.txt"}


# ------------------------------------------------------------------- folds that others work on, or damaged ones


def test_a_fold_that_another_process_finished_meanwhile_stands(copy, monkeypatch, capsys):
    """What is finished is looked for again once the fold is ours alone."""
    whole = train_fold_module.train_fold

    def beside(*given):
        monkeypatch.setattr(train_fold_module, "train_fold", whole)
        train_tiny(copy.run, copy.data, "age", folds="2", dropout=0.3)  # as another process would
        return whole(*given)

    monkeypatch.setattr(train_fold_module, "train_fold", beside)
    train_tiny(copy.run, copy.data, "age", folds="1,2")
    assert read_json(copy.run / "age/fold2/settings.json")["settings"]["dropout"] == 0.3
    assert read_json(copy.run / "age/fold1/settings.json")["settings"]["dropout"] == 0.0
    assert "train age: fold 2 is finished" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["settings.json", "done/train.json"])
@pytest.mark.parametrize("damage", ["{", "{}", None])
def test_restart_mends_a_damaged_fold(copy, name, damage):
    path = copy.run / "age/fold0" / name
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    if name == "settings.json":
        with pytest.raises(UserError, match=r"settings\.json"):
            train_tiny(copy.run, copy.data, "age")
    train_tiny(copy.run, copy.data, "age", restart=True)
    assert set(train_tiny(copy.run, copy.data, "age")) == {"fold0"}
    assert list((copy.run / "age").glob("fold0-*"))
