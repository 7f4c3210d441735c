"""The rivals as whole runs: trained, predicted, calibrated, submitted and scored by the specialists' own stages."""

import pandas as pd
import pytest
from tiny_runs import SMALL

from models.errors import UserError
from models.labels import LABELS
from pipeline.__main__ import goals, main
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.score import Score, score
from pipeline.stages.submit import submit
from pipeline.stages.train import Train, train

RIVALS = {
    "joint": {"task": "joint"},
    "bands": {"task": "multihead", "age_head": "bands"},
    "years": {"task": "multihead"},
}


@pytest.fixture(scope="module", params=RIVALS)
def rival(request, people, tmp_path_factory):
    """(run folder, system, answer columns) of a trained and finished rival."""
    run = tmp_path_factory.mktemp(request.param) / "run"
    given = RIVALS[request.param]
    train(Train.of(run=run, data=people, backbone="test_convnext", **SMALL, **given))
    system = given["task"]
    predict(Predict.of(run=run, system=system, threads=1))
    calibrate(Calibrate.of(run=run, system=system, prior="0.4,0.3,0.3"))
    submit(EvalStage.of(run=run, system=system))
    return run, system, request.param


def test_every_file_lies_in_the_rivals_folder(rival):
    run, system, _ = rival
    home = run / system
    for name in ("predictions.csv", "combiner.json", "submission.csv", "bad_photos.csv"):
        assert (home / name).is_file()
        assert not (run / name).exists()
    assert (home / "fold0" / "weights.safetensors").is_file()


def test_answers_are_the_rivals_own(rival):
    run, system, kind = rival
    columns = set(pd.read_csv(run / system / "predictions.csv").columns)
    years, bands, labels = {"age_years"}, {f"band_{b}" for b in range(3)}, {f"label_{k:02d}" for k in range(LABELS)}
    expected = {"joint": labels, "bands": bands, "years": years}
    for name, own in expected.items():
        assert (own <= columns) == (name == kind)


def test_the_score_is_of_the_rivals_submission(rival, people):
    run, system, kind = rival
    metrics = score(Score.of(run=run, system=system))
    assert store.read_json(run / system / "score.json")["macro_f1"] == metrics["macro_f1"]
    assert ("macro_f1_30_60" in metrics) == (kind == "years")
    assert sum(metrics["errors"].values()) == metrics["photos"]
    with pytest.raises(UserError, match=r"submission.csv is missing"):
        score(Score.of(run=run))


def test_finished_stages_stand(rival, capsys):
    run, system, kind = rival
    predict(Predict.of(run=run, system=system, threads=1))
    calibrate(Calibrate.of(run=run, system=system))
    told = capsys.readouterr().out
    assert "stand" in told.splitlines()[0]
    assert f"the {'thresholds' if kind == 'years' else 'offsets'}" in told.splitlines()[1]


def test_a_rival_that_is_not_trained_is_named(rival):
    run, system, _ = rival
    other = {"joint": "multihead", "multihead": "joint"}[system]
    with pytest.raises(UserError, match=f"no fold of {other} is trained"):
        predict(Predict.of(run=run, system=other))
    with pytest.raises(UserError, match="no fold of mask is trained"):
        predict(Predict.of(run=run))


def test_a_system_that_there_is_not(rival):
    with pytest.raises(UserError, match="perhaps you mean joint"):
        predict(Predict.of(run=rival[0], system="jiont"))


def test_make_trains_what_the_system_is_made_of(tmp_path):
    assert goals(["--run", str(tmp_path / "a")]) == "train-age train-gender train-mask"
    assert goals(["--run", str(tmp_path / "a"), "--system", "multihead"]) == "train-multihead"
    assert goals(["--run", str(tmp_path / "b"), "--recipe", "note-xception"]) == "train-joint"
    assert goals(["--run", str(tmp_path / "b")]) == "train-joint"


def test_make_reads_the_goals_alone_where_a_preset_is_chosen_for_photos(people, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["goals", "--data", str(people)]) == 0
    told = capsys.readouterr()
    assert told.out == "train-age train-gender train-mask\n"
    assert "preset lite" in told.err
