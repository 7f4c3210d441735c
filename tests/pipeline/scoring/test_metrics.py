"""Scores, errors and intervals against scikit-learn and against people drawn one by one."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from models.errors import UserError
from models.labels import decode
from pipeline.scoring.bootstrap import interval, resample, resample_together
from pipeline.scoring.metrics import confusion, errors, macro_f1
from pipeline.scoring.report import score_text
from pipeline.scoring.submission import evaluate_submission

labels = st.integers(0, 17)


def reference(y, p, w=None):
    occur = np.unique(y if w is None else y[w > 0])
    return f1_score(y, p, labels=occur, average="macro", zero_division=0, sample_weight=w)


@given(st.lists(st.tuples(labels, labels, st.floats(0, 5)), min_size=1, max_size=80))
@example([(0, 0, 0.0), (1, 1, 1.0)])  # a label whose photos all weigh 0 does not occur
@settings(max_examples=150, deadline=None)
def test_macro_f1_is_scikit_learns(rows):
    y, p, w = (np.array(column) for column in zip(*rows, strict=True))
    assert macro_f1(y, p) == pytest.approx(reference(y, p), abs=1e-12)
    if w.sum() > 0:
        assert macro_f1(y, p, w) == pytest.approx(reference(y, p, w), abs=1e-12)


def test_confusion_is_scikit_learns_and_refuses_other_classes():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 18, (2, 500))
    assert np.array_equal(confusion(y, p, 18), confusion_matrix(y, p, labels=range(18)))
    with pytest.raises(ValueError, match="between 0 and 2"):
        confusion([0, 3], [0, 1], 3)


def test_errors_name_the_wrong_parts_and_sum_to_all_photos():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 18, (2, 1000))
    table = errors(y, p)
    assert sum(table.values()) == 1000
    wrong = [a != b for a, b in zip(decode(y), decode(p), strict=True)]
    assert table["correct"] == (y == p).sum()
    assert table["gender,age"] == (~wrong[0] & wrong[1] & wrong[2]).sum()
    assert table["mask_state"] == (wrong[0] & ~wrong[1] & ~wrong[2]).sum()
    assert table["mask_state,gender,age"] == (wrong[0] & wrong[1] & wrong[2]).sum()


def people(rng, count=40, photos=7):
    person = np.repeat(np.arange(count), photos)
    inner = np.repeat(rng.integers(0, 6, count), photos)
    y = np.tile(np.arange(photos) % 3, count) * 6 + inner
    p = np.where(rng.random(len(y)) < 0.7, y, rng.integers(0, 18, len(y)))
    return person, y, p


def test_draws_of_people_are_those_of_people_drawn_one_by_one():
    person, y, p = people(np.random.default_rng(2))
    fast = resample(y, p, person, draws=3000, seed=1)
    rng, slow = np.random.default_rng(3), []
    rows = {k: np.flatnonzero(person == k) for k in np.unique(person)}
    stratum = {k: y[r[0]] % 6 for k, r in rows.items()}
    for _ in range(300):
        taken = []
        for s in set(stratum.values()):
            inside = [k for k in rows if stratum[k] == s]
            taken += [rows[k] for k in rng.choice(inside, len(inside))]
        taken = np.concatenate(taken)
        slow.append(reference(y[taken], p[taken]))
    assert fast.mean() == pytest.approx(np.mean(slow), abs=4 * np.std(slow) / np.sqrt(300))
    assert fast.std() == pytest.approx(np.std(slow), rel=0.15)


def test_photos_without_persons_count_as_fewer():
    _, y, p = people(np.random.default_rng(4), count=300)
    alone, sevenths = (np.ptp(interval(y, p, None, k, seed=0)) for k in (1.0, 7.0))
    assert sevenths / alone == pytest.approx(np.sqrt(7), rel=0.1)
    assert interval(y, p, None, 7.0) == interval(y, p, None, 7.0), "seeded"


def test_weights_of_an_interval_act_like_repeated_photos():
    person, y, p = people(np.random.default_rng(5))
    w = np.random.default_rng(6).integers(1, 4, person.max() + 1)[person]
    again = np.repeat(np.arange(len(y)), w)
    assert resample(y, p, person, weights=w, draws=50) == pytest.approx(
        resample(y[again], p[again], person[again], draws=50)
    )


def test_a_label_without_weight_does_not_occur():
    _, y, p = people(np.random.default_rng(7))
    heavy = y % 3 != 2
    assert (~heavy).any()
    expected = f1_score(y, p, labels=np.unique(y[heavy]), average="macro", sample_weight=heavy.astype(float))
    assert macro_f1(y, p, heavy.astype(float)) == pytest.approx(expected)
    assert macro_f1(y, y, heavy.astype(float)) == 1


def tables(rng, count=60):
    person, y, p = people(rng, count)
    photo = [f"{i}.jpg" for i in range(len(y))]
    age = np.array([22.0, 45.0, 60.0])[y % 3]
    truth = pd.DataFrame({"photo": photo, "person": person, "label": y, "age": age})
    predictions = pd.DataFrame({"photo": photo, "label": p, "age_years": age + rng.normal(0, 6, len(y))})
    return truth, predictions.sample(frac=1, random_state=0)


def test_score_agrees_with_scikit_learn_in_any_order_and_is_json():
    truth, predictions = tables(np.random.default_rng(7))
    result = evaluate_submission(truth, predictions, draws=200)
    both = truth.merge(predictions, on="photo")
    y, p = both["label_x"], both["label_y"]
    assert result["macro_f1"] == pytest.approx(reference(y, p), abs=1e-12)
    assert result["interval"][0] < result["macro_f1"] < result["interval"][1]
    assert result["accuracy_gender"] == pytest.approx(np.mean(decode(y)[1] == decode(p)[1]))
    assert result["age_error"] == pytest.approx((both["age"] - both["age_years"]).abs().mean())
    assert sum(result["errors"].values()) == result["photos"] == len(truth)
    assert np.array_equal(result["confusion"], confusion_matrix(y, p, labels=range(18)))
    bands = np.digitize(both["age_years"], [30, 60])
    assert result["macro_f1_30_60"] == pytest.approx(reference(y, p // 3 * 3 + bands))
    assert json.loads(json.dumps(result)) == result
    assert f"{result['macro_f1']:.4f}" in score_text(result)


def test_labels_that_do_not_occur_are_told():
    truth, predictions = tables(np.random.default_rng(8))
    truth = truth[truth["label"] != 4]
    result = evaluate_submission(truth, predictions, draws=50)
    assert result["labels_present"] == 17
    assert result["macro_f1_18"] == pytest.approx(result["macro_f1"] * 17 / 18)
    assert "17 of 18" in score_text(result)


def test_unknown_persons_and_blank_truth():
    truth, predictions = tables(np.random.default_rng(9))
    named = evaluate_submission(truth, predictions, draws=500)
    truth["person"] = pd.NA
    unnamed = evaluate_submission(truth, predictions, draws=500)
    assert unnamed["people"] is None
    assert unnamed["macro_f1"] == named["macro_f1"]
    truth["label"] = truth["label"].astype("Int64").where(truth.index % 2 == 0)
    assert evaluate_submission(truth, predictions, draws=50)["without_truth"] == len(truth) // 2


def test_every_photo_is_scored_once():
    truth, predictions = tables(np.random.default_rng(10))
    with pytest.raises(UserError, match="no prediction"):
        evaluate_submission(truth, predictions.iloc[1:])
    with pytest.raises(UserError, match="more than once"):
        evaluate_submission(truth, pd.concat([predictions, predictions.iloc[:1]]))
    with pytest.raises(UserError, match="more than once"):
        evaluate_submission(pd.concat([truth, truth.iloc[:1]]), predictions)
    with pytest.raises(UserError, match="outside 0 to 17"):
        evaluate_submission(truth, predictions.assign(label=18))
    with pytest.raises(UserError, match="nothing to score"):
        evaluate_submission(truth.assign(label=pd.NA), predictions)


def test_people_resampled_together_are_those_resampled_for_one_answer():
    person, y, p = people(np.random.default_rng(11))
    q = np.where(np.random.default_rng(12).random(len(y)) < 0.5, y, p)
    together = resample_together(y, np.stack([p, q, p]), person, draws=300, seed=4)
    assert together.shape == (300, 3)
    for k, predicted in enumerate((p, q, p)):
        assert np.array_equal(together[:, k], resample(y, predicted, person, draws=300, seed=4))


def test_differences_are_those_of_people_drawn_one_by_one():
    person, y, p = people(np.random.default_rng(13))
    q = np.where(np.random.default_rng(14).random(len(y)) < 0.3, y, p)
    together = resample_together(y, np.stack([p, q]), person, draws=3000, seed=1)
    rng, slow = np.random.default_rng(15), []
    rows = {k: np.flatnonzero(person == k) for k in np.unique(person)}
    stratum = {k: y[r[0]] % 6 for k, r in rows.items()}
    for _ in range(300):
        taken = []
        for s in set(stratum.values()):
            inside = [k for k in rows if stratum[k] == s]
            taken += [rows[k] for k in rng.choice(inside, len(inside))]
        taken = np.concatenate(taken)
        slow.append(reference(y[taken], q[taken]) - reference(y[taken], p[taken]))
    paired = together[:, 1] - together[:, 0]
    assert paired.mean() == pytest.approx(np.mean(slow), abs=4 * np.std(slow) / np.sqrt(300))
    assert paired.std() == pytest.approx(np.std(slow), rel=0.15)
    apart = resample(y, q, person, draws=3000, seed=1) - resample(y, p, person, draws=3000, seed=2)
    assert paired.std() < 0.8 * apart.std()


@pytest.mark.parametrize("ages", [2, 3, 4])
def test_an_interval_of_people_at_several_ages_does_not_go_by_the_order_of_photos(ages):
    rng = np.random.default_rng(ages)
    person = np.repeat(np.arange(40), ages)
    mask, band, gender = rng.integers(3, size=len(person)), rng.integers(3, size=len(person)), person % 2
    truth = mask * 6 + gender * 3 + band
    labels = np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(18, size=len(truth)))
    told = resample(truth, labels, person, draws=50)
    mixed = rng.permutation(len(person))
    np.testing.assert_allclose(resample(truth[mixed], labels[mixed], person[mixed], draws=50), told)


def test_photos_without_persons_are_resampled_together_too():
    _, y, p = people(np.random.default_rng(16), count=200)
    q = np.where(np.random.default_rng(17).random(len(y)) < 0.3, y, p)
    alone = resample(y, p, None, 7.0, draws=300, seed=3)
    assert np.array_equal(resample_together(y, p[None], None, 7.0, draws=300, seed=3)[:, 0], alone)
    together = resample_together(y, np.stack([p, p, q]), None, 7.0, draws=3000, seed=3)
    assert np.array_equal(together[:, 0], together[:, 1])
    rng, slow = np.random.default_rng(18), []
    inside = {s: np.flatnonzero(y % 6 == s) for s in range(6)}
    for _ in range(300):
        taken = np.concatenate([rng.choice(rows, max(1, round(len(rows) / 7))) for rows in inside.values()])
        slow.append([f1_score(y[taken], a[taken], labels=np.unique(y[taken]), average="macro", zero_division=0)
                     for a in (p, q)])  # fmt: skip
    slow = np.array(slow)
    assert together[:, [0, 2]].mean(0) == pytest.approx(slow.mean(0), abs=4 * slow.std() / np.sqrt(300))
    assert (together[:, 2] - together[:, 0]).std() == pytest.approx((slow[:, 1] - slow[:, 0]).std(), rel=0.15)


def test_answers_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="same length"):
        resample_together([0, 1], [[0, 1, 2]])
