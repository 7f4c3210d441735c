"""The benchmarks of the age mix: their methods find a planted mix, and their figures are what they say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from label_shift import SCENARIOS, draw  # noqa: E402
from prior_trials import METHODS, gather  # noqa: E402
from resampled_priors import HALF, draw_of  # noqa: E402


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_mix_of_a_world_that_suits_all(method):
    rows, eval, truth, prior = draw(0)
    found = METHODS[method](rows, eval, 0)
    assert found.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found, prior, atol=0.06)
    np.testing.assert_allclose(truth.counts / truth.people, prior)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith(("540", "162"))])
def test_worlds_differ_in_what_they_say(name):
    rows, eval, truth, _ = draw(3, **SCENARIOS[name])
    assert rows.people == SCENARIOS[name]["people"]
    assert len(eval.predicted_age) == len(truth.label) == 7 * truth.people
    old, middle = (np.median(rows.predicted_age[rows.band == band]) for band in (2, 1))
    assert old > middle
    kind = SCENARIOS[name].get("kind")
    tail = (rows.predicted_age - 38) / 0.85 + 38 - rows.age
    if kind == "saturated":
        assert rows.predicted_age.max() <= 60
        assert old - middle < 3
    elif kind == "skewed":
        assert (
            ((tail - tail.mean()) ** 3)[rows.band == 0].mean() > 0 > ((tail - tail.mean()) ** 3)[rows.band == 2].mean()
        )
    elif kind == "by age":
        assert tail[rows.band == 2].std() > 1.5 * tail[rows.band == 0].std()
    elif kind == "heavy tails":
        assert np.abs(tail).max() / tail.std() > 5


def test_draws_of_a_table_share_no_person():
    rows, _, _, _ = draw(1, people=162)
    calibrating, eval, truth, prior = draw_of(rows, HALF, 5)
    assert calibrating.people == 81
    pairs = [set(zip(some.predicted_age, some.age, strict=True)) for some in (calibrating, truth)]
    assert not pairs[0] & pairs[1]
    assert eval.people == truth.people
    np.testing.assert_allclose(prior, truth.counts / truth.people)


def trial_of(prior, scores, expected):
    prior = np.array(prior)
    return {
        "age_mix": prior, "train": np.array([0.5, 0.4, 0.1]), "people": 70,
        "score": dict(zip(("30/60", "train age mix", "auto", "estimate", "true age mix", "best possible", "binned EM"),
                          scores, strict=True)),
        "share": {"estimate": prior + [0.02, 0, -0.02], "binned EM": prior + [0, 0.05, -0.05]},
        "covers age mix": np.array([True, False, True]), "unlike": False, "toward": 1.0,
        "expected": {"auto": expected, "estimate": [0.6, None, None]}, "seconds": 2.0,
    }  # fmt: skip


def test_figures_are_gathered_over_trials():
    trials = [
        trial_of((0.5, 0.4, 0.1), (0.4, 0.5, 0.51, 0.52, 0.6, 0.7, 0.45), [0.55, 0.5, 0.6]),
        trial_of((0.4, 0.3, 0.3), (0.4, 0.5, 0.59, 0.58, 0.6, 0.7, 0.55), [0.55, 0.5, 0.58]),
        trial_of((0.3, 0.1, 0.6), (0.4, 0.5, 0.60, 0.60, 0.6, 0.7, 0.50), [0.55, 0.5, 0.62]),
    ]
    told = gather(trials)
    assert told["recovered of what the true age mix gains"]["auto"] == pytest.approx(
        (0.51 + 0.59 + 0.60 - 1.2) / 0.6, abs=1e-3
    )
    assert told["above the train age mix"]["auto"]["by third of distance from train"] == [0.01, 0.09, 0.1]
    assert told["largest share error"] == {"estimate": 0.02, "binned EM": 0.05}
    assert told["more than the estimate's"]["binned EM"][0] == pytest.approx(0.03)
    assert told["age mix covered at 95 %"] == [1, 0, 1]
    assert told["expected score"]["auto"]["covered at 90 %"] == pytest.approx(2 / 3, abs=1e-3)
    assert told["expected score"]["estimate"]["without an interval"] == 3


@pytest.mark.slow
def test_a_table_is_tried_from_the_command_line(tmp_path):
    rows, _, _, _ = draw(2, people=162)
    mask, female = rows.cell // 2, rows.cell % 2
    table = pd.DataFrame({
        "photo": np.arange(len(rows.label)), "person": rows.person, "fold": 0, "mask": rows.label // 6,
        "gender": rows.gender, "age": rows.age, "mask_worn": (mask == 0) * 1.0, "mask_wrong": (mask == 1) * 1.0,
        "mask_none": (mask == 2) * 1.0, "gender_female": female * 1.0, "age_years": rows.predicted_age,
    })  # fmt: skip
    table.to_csv(tmp_path / "made.csv", index=False)
    command = [sys.executable, BENCHMARKS / "resampled_priors.py", tmp_path / "made.csv", "--draws", "3"]
    told = subprocess.run([*command, "--keep", tmp_path / "kept.jsonl"], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["tables"]["made"]["trials"] == 3
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 3
    again = subprocess.run([*command, "--keep", tmp_path / "kept.jsonl"], capture_output=True, text=True, check=True)
    assert again.stdout == told.stdout
