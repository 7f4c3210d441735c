"""The tables of a comparison, on made-up answers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from models.labels import band, encode
from pipeline.comparison.outcomes import Outcome, at_30_60, eval_predictions, validation_score
from pipeline.comparison.report import COLUMNS, WRONG, comparison_table, comparison_text, leak_table, leak_text
from pipeline.comparison.systems import all_systems, leaking
from pipeline.comparison.trainings import Replicate
from pipeline.prediction.label_tables import LABEL_COLUMNS
from pipeline.run.presets import PRESETS
from pipeline.runtime import store
from pipeline.scoring.bootstrap import interval, resample
from pipeline.scoring.metrics import errors

FIRST = Replicate(0, 0)


def reference(y, p):
    return f1_score(y, p, labels=np.unique(y), average="macro", zero_division=0)


@pytest.fixture
def truth() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = np.repeat(rng.choice([22.0, 45.0, 64.0], 50), 7)
    label = encode(np.tile(np.arange(7) % 3, 50), np.repeat(rng.integers(0, 2, 50), 7), band(age))
    person = np.repeat([f"p{i}" for i in range(50)], 7)
    return pd.DataFrame({"photo": [f"{i}.jpg" for i in range(350)], "person": person, "age": age, "label": label})


@pytest.fixture
def outcomes(truth) -> list[Outcome]:
    rng = np.random.default_rng(1)
    found = []
    for name, right in (("specialists", 0.7), ("joint-swin", 0.5), ("multihead-years", 0.6)):
        for seed in (0, 1, 2):
            y = truth["label"].to_numpy()
            labels = np.where(rng.random(350) < right, y, rng.integers(0, 18, 350))
            years = truth["age"].to_numpy() + rng.normal(0, 5, 350) if name != "joint-swin" else None
            found.append(
                Outcome(name, seed, 0.8 + seed / 100, labels, years, None, {"mask": "lr x 2"}, 1e14, 10.0 + seed)
            )
    return found


def test_a_row_holds_the_figures_of_its_answers(truth, outcomes):
    found = comparison_table(outcomes, truth, 7.0, draws=300).set_index(["system", "replicate"])
    y, person = truth["label"].to_numpy(), truth["person"].to_numpy()
    assert len(found) == 3 * 4
    for one in outcomes:
        row = found.loc[(one.system, str(one.replicate))]
        assert row["macro_f1"] == pytest.approx(reference(y, one.labels))
        assert (row["low"], row["high"]) == pytest.approx(interval(y, one.labels, person, draws=300))
        assert row["accuracy_gender"] == pytest.approx((y % 6 // 3 == one.labels % 6 // 3).mean())
        assert row["gap"] == pytest.approx(one.validation - row["macro_f1"])
        assert [row[column] for column in WRONG.values()] == list(errors(y, one.labels).values())
        assert (row["flops"], row["seconds"], row["replicates"]) == (1e14, 10.0 + one.replicate, 1)
        if one.years is None:
            assert np.isnan(row["age_error"])
        else:
            assert row["age_error"] == pytest.approx(np.abs(one.years - truth["age"]).mean())


def test_seeds_are_averaged_within_a_draw_and_differences_are_paired(truth, outcomes):
    found = comparison_table(outcomes, truth, 7.0, draws=300).set_index(["system", "replicate"])
    y, person = truth["label"].to_numpy(), truth["person"].to_numpy()
    drawn = {(one.system, one.replicate): resample(y, one.labels, person, draws=300) for one in outcomes}
    for name in ("specialists", "joint-swin", "multihead-years"):
        mean = found.loc[(name, "mean")]
        of_seeds = [found.loc[(name, str(seed))] for seed in range(3)]
        for column in ("macro_f1", "accuracy", "correct", "wrong age", "validation_macro_f1", "gap", "seconds"):
            assert mean[column] == pytest.approx(np.mean([row[column] for row in of_seeds])), column
        pooled = np.mean([drawn[name, seed] for seed in range(3)], axis=0)
        assert [mean["low"], mean["high"]] == pytest.approx(np.quantile(pooled, [0.025, 0.975]))
        assert mean["replicates"] == 3
        if name == "specialists":
            assert np.isnan(mean["difference"])
            continue
        for seeds, row in [([0, 1, 2], mean), *(([seed], of_seeds[seed]) for seed in range(3))]:
            paired = np.mean([drawn[name, s] - drawn["specialists", s] for s in seeds], axis=0)
            ends = np.quantile(paired, [0.025, 0.975])
            assert [row["difference_low"], row["difference_high"]] == pytest.approx(ends)
            f1 = [found.loc[(who, str(s)), "macro_f1"] for who in (name, "specialists") for s in seeds]
            assert row["difference"] == pytest.approx(np.mean(f1[: len(seeds)]) - np.mean(f1[len(seeds) :]))


def test_without_the_specialists_nothing_is_compared_with_them(truth, outcomes):
    found = comparison_table(outcomes[3:], truth, 7.0, draws=20)
    assert found["difference"].isna().all()
    assert found["macro_f1"].notna().all()


def test_without_a_truth_the_table_tells_validation_alone(outcomes):
    found = comparison_table(outcomes, None, 7.0)
    assert found[["macro_f1", "low", "gap", "correct"]].isna().all().all()
    assert found["validation_macro_f1"].notna().all()
    told = comparison_text(found, "about")
    assert "nan" not in told
    assert "0.810" in told


def test_unnamed_photos_have_intervals_too(truth, outcomes):
    named = comparison_table(outcomes, truth, 7.0, draws=300)
    unnamed = comparison_table(outcomes, truth.assign(person=pd.NA), 7.0, draws=300)
    assert np.array_equal(named["macro_f1"], unnamed["macro_f1"])
    assert (unnamed["high"] > unnamed["low"]).all()


def test_the_table_is_written_and_read_as_it_is(truth, outcomes, tmp_path):
    found = comparison_table(outcomes, truth, 7.0, draws=50)
    store.write_csv(tmp_path / "compare.csv", found)
    again = pd.read_csv(tmp_path / "compare.csv")
    assert list(again.columns) == list(COLUMNS)
    assert again["wrong gender,age"].tolist() == pytest.approx(found["wrong gender,age"].tolist())
    assert again["chosen"][0] == "mask lr x 2"


def test_the_text_names_every_system_once_in_each_block(truth, outcomes):
    told = comparison_text(comparison_table(outcomes, truth, 7.0, draws=50), "3 seeds each")
    for name in ("specialists", "joint-swin", "multihead-years"):
        assert sum(line.startswith(f"{name} ") for line in told.splitlines()) == 3
    assert "nan" not in told


def test_ages_are_banded_at_30_and_60():
    years = np.array([29.9, 30.0, 59.9, 60.0, np.nan])
    labels = np.array([0, 0, 17, 17, 14])
    assert at_30_60(labels, years).tolist() == [0, 1, 16, 17, 14]


def run_of(folder, photos, labels, years=None):
    """What a run's folder holds after submit."""
    store.write_csv(folder / "submission.csv", pd.DataFrame({"ImageID": photos, "ans": labels}))
    predictions = pd.DataFrame({"photo": list(photos) * 2, "fold": np.repeat([0, 1], len(photos))})
    if years is not None:
        predictions["age_years"] = np.concatenate([years - 1, years + 1])
    store.write_csv(folder / "predictions.csv", predictions.iloc[::-1])


def test_eval_answers_are_in_the_order_of_the_photos_and_folds_are_averaged(tmp_path):
    photos, years = pd.Series(["b", "a", "c"], dtype="string"), np.array([20.0, 40.0, 70.0])
    known = all_systems("small")
    run_of(tmp_path, photos, [0, 0, 0], years)
    labels, found = eval_predictions(known["specialists"], tmp_path, photos)
    assert labels.tolist() == [0, 0, 0]
    assert found.tolist() == [20, 40, 70]
    assert eval_predictions(known["specialists-30-60"], tmp_path, photos)[0].tolist() == [0, 1, 2]
    run_of(tmp_path / "joint", photos, [5, 6, 7])
    labels, found = eval_predictions(known["joint-swin"], tmp_path, photos)
    assert labels.tolist() == [5, 6, 7]
    assert found is None
    with pytest.raises(AssertionError):
        eval_predictions(known["joint-swin"], tmp_path, photos[:2])


def test_thresholds_are_judged_on_others_than_chose_them(tmp_path):
    known, scores = all_systems("small"), {"plain": 0.3, "in_sample": 0.5, "cross_fitted": 0.4}
    report = {"scores": {"train": {name: {"macro_f1": value} for name, value in scores.items()}}}
    store.write_json(tmp_path / "combiner.json", {"report": report})
    assert validation_score(known["specialists"], tmp_path, FIRST) == 0.4
    assert validation_score(known["specialists-30-60"], tmp_path, FIRST) == 0.3
    store.write_json(tmp_path / "joint/combiner.json", {"report": report})
    assert validation_score(known["joint-swin"], tmp_path, FIRST) == 0.4


def test_the_leak_is_shown_by_likeliest_labels(tmp_path):
    """As the notes' networks answered: nothing is corrected, on either side."""
    system, photos = leaking()["photo"], pd.Series(["b", "a", "c"], dtype="string")
    store.write_csv(tmp_path / "joint/submission.csv", pd.DataFrame({"ImageID": photos, "ans": [1, 1, 1]}))
    probabilities = pd.DataFrame(np.eye(18)[[7, 4]], columns=list(LABEL_COLUMNS))
    store.write_csv(
        tmp_path / "joint/predictions.csv", pd.concat([pd.DataFrame({"photo": ["a", "b"]}), probabilities], axis=1)
    )
    labels, years = eval_predictions(system, tmp_path, photos)
    assert labels.tolist() == [4, 7, 1]  # c could not be decoded
    assert years is None


def validation_of(file, truth, labels):
    predictions = pd.DataFrame(np.eye(18)[labels], columns=list(LABEL_COLUMNS))
    rows = truth.assign(mask=truth["label"] // 6, gender=truth["label"] // 3 % 2)
    store.write_csv(file, pd.concat([rows[["photo", "person", "mask", "gender", "age"]], predictions], axis=1))


def test_a_leaking_networks_validation_score_is_that_of_its_likeliest_labels(truth, outcomes, tmp_path):
    file = tmp_path / "joint/fold2/validation.csv"
    validation_of(file, truth.assign(age=truth["age"].where(truth.index > 9)), outcomes[0].labels)
    y, p = truth["label"].to_numpy()[10:], outcomes[0].labels[10:]  # the others lack an age
    assert validation_score(leaking()["photo"], tmp_path, Replicate(2, 0)) == pytest.approx(reference(y, p))


def test_the_leak_is_told_by_split(truth, outcomes, tmp_path):
    scored, files = [], {}
    for split, validation in (("photo", 0.9), ("person", 0.5)):
        for seed in (0, 1):
            name, labels = f"joint-by-{split}", outcomes[3 + seed].labels
            scored.append(Outcome(name, seed, validation, labels))
            files[name, seed] = tmp_path / split / f"{seed}.csv"
            validation_of(files[name, seed], truth, labels)
    found = leak_table(comparison_table(scored, truth, 7.0, draws=50), files, draws=300)
    assert found["split"].tolist() == ["photo"] * 3 + ["person"] * 3
    assert found["replicate"].tolist() == ["0", "1", "mean"] * 2
    row = found[(found["split"] == "photo") & (found["replicate"] == "1")].iloc[0]
    ends = interval(truth["label"], outcomes[4].labels, truth["person"], draws=300)
    assert (row["validation_low"], row["validation_high"]) == pytest.approx(ends)
    assert row["macro_f1"] == pytest.approx(reference(truth["label"], outcomes[4].labels))
    assert row["gap"] == pytest.approx(0.9 - row["macro_f1"])
    assert "by photo (leaky)" in leak_text(found)
    blind = leak_text(leak_table(comparison_table(scored, None, 7.0), files, draws=20))
    assert "nan" not in blind


@pytest.mark.parametrize("preset", PRESETS)
def test_the_systems_of_a_preset(preset):
    known = all_systems(preset)
    families = () if preset == "lite" else (("efficientnet", "mask"), ("swin", "gender"), ("convnext", "age"))
    joint = [f"joint-{word}" for word, _ in families] or ["joint"]  # lite's specialists have one backbone
    assert list(known) == ["specialists", *joint, "multihead-bands", "multihead-years", "specialists-30-60"]
    for word, task in families:
        (borrowed,) = known[f"joint-{word}"].settings.values()
        assert word in borrowed["backbone"]
        assert {name: getattr(PRESETS[preset][task], name) for name in borrowed} == borrowed
    assert known["specialists-30-60"].same_as == "specialists"
    assert {s.run["split"] for s in leaking().values()} == {"photo", "person"}
