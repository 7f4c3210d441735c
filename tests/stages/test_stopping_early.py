"""Whatever early stopping chose is called optimistic, from the training to the score."""

import pandas as pd
import pytest
from tiny_runs import finish, train_tiny

from models.errors import UserError
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.runtime.store import read_json
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.submit import submit


def test_a_fold_that_stopped_early_marks_every_score_after_it(copy, capsys):
    before = finish(copy.run)
    assert before.calibrate["caveats"] == []
    assert "optimistic" not in capsys.readouterr().out
    (metrics,) = train_tiny(copy.run, copy.data, "age", restart=True, epochs=3, patience=1).values()
    assert metrics["optimistic"] is True
    assert read_json(copy.run / "age/fold0/done/train.json")["metrics"]["optimistic"] is True
    train_tiny(copy.run, copy.data, "age", epochs=3)
    assert f"fold 0 is finished, macro-F1 {metrics['macro_f1']:.3f} (optimistic: it chose" in capsys.readouterr().out
    after = finish(copy.run)
    told = capsys.readouterr().out
    note = "the validation scores are optimistic: early stopping chose its epoch by them"
    assert after.calibrate["notes"][0] == note
    assert after.calibrate["caveats"] == after.score["expected"]["caveats"] == ["optimistic"]
    assert f"note: {note}" in told
    assert after.submit["expected"].endswith(" (optimistic)")
    scores = [line for line in told.splitlines() if "expect macro-F1" in line or "macro-F1 of validation" in line]
    assert len(scores) == 4  # calibrate's two, submit's and score's
    assert all(line.endswith(" (optimistic)") for line in scores)
    # The other stages stand where nothing has changed.
    assert calibrate(Calibrate.of(run=copy.run)) == after.calibrate
    assert submit(EvalStage.of(run=copy.run)) == after.submit


def test_figures_are_those_of_the_best_epoch(copy):
    (metrics,) = train_tiny(copy.run, copy.data, "mask", restart=True, epochs=4, patience=1, lr=0.02).values()
    log = pd.read_csv(copy.run / "mask/fold0/log.csv")
    best = log["macro_f1"].idxmax()
    assert len(log) == min(4, best + 2)
    for name in ("macro_f1", "accuracy", "validation_loss", "train_macro_f1"):
        assert metrics[name] == pytest.approx(log[name][best], rel=1e-8)
    held = pd.read_csv(copy.run / "mask/fold0/validation.csv")
    answered = held[["mask_worn", "mask_wrong", "mask_none"]].to_numpy().argmax(1)
    assert (answered == held["mask"]).mean() == pytest.approx(metrics["accuracy"])


def test_a_record_that_lacks_settings_is_refused(copy):
    """It is of a version whose runs are refused, or was changed: no default of today stands in for what was."""
    path = copy.run / "age/fold0/settings.json"
    made = read_json(path)
    del made["settings"]["patience"]
    store.write_json(path, made)
    with pytest.raises(UserError, match=r"age/fold0/settings\.json lacks the setting patience"):
        train_tiny(copy.run, copy.data, "age", folds="0,1")
    assert set(train_tiny(copy.run, copy.data, "age", restart=True)) == {"fold0"}
