"""The mix of age bands from answers without labels: EM against optimisers and planted mixes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.answers import Known
from pipeline.calibration import (
    BANDWIDTH,
    Eval,
    best_bandwidth,
    calibrate,
    cross_fitted,
    expected_score,
    expected_scores,
    fuse,
    parts_of,
)
from pipeline.prior import AnswerModel, em, estimate, misfit, person_weights
from pipeline.scoring import macro_f1

CENTRES = (24.0, 46.0, 60.0)


def draw(rng, counts, offset=(0.0, 0.0, 0.0), networks=1, own=0.0, spread=5.0, middle=(30, 60)):
    """Known answers of people with so many in each band: answers on a line, plus an offset for each band.

    own: the part of the answer's variance that belongs to each network; returns Known and (n, networks).
    """
    band = np.repeat(np.arange(3), counts)
    age = np.where(band == 0, rng.integers(18, 30, len(band)), rng.integers(*middle, len(band)))
    age = np.where(band == 2, 60, age).astype(float)
    gender = rng.integers(0, 2, len(band))
    person = np.repeat(np.arange(len(band)), 7)
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], len(band))
    noise = [
        rng.normal(0, 0.8 * spread, len(band))[person] + rng.normal(0, 0.6 * spread, len(person))
        for _ in range(networks + 1)
    ]
    line = (6 + 0.85 * age + np.array(offset)[band])[person]
    answer = np.stack([line + np.sqrt(1 - own) * noise[0] + np.sqrt(own) * own_noise for own_noise in noise[1:]], 1)
    said = np.where(rng.random(len(person)) < 0.95, gender[person], 1 - gender[person])
    rows = Known(
        person=person,
        age=age[person],
        answer=answer[:, 0],
        label=mask * 6 + gender[person] * 3 + band[person],
        band=band[person],
        gender=gender[person],
        cell=mask * 2 + said,
        people=len(band),
        folds=5,
        dropped=0,
    )
    return rows, answer


def answers_of(rows, answer):
    return Eval(answer, np.repeat((rows.cell % 2)[:, None], answer.shape[1], 1), 7.0)


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_em_finds_the_greatest_likelihood(seed, classes):
    rng = np.random.default_rng(seed)
    density = rng.dirichlet(np.ones(30), classes)
    count = rng.multinomial(500, rng.dirichlet(np.ones(classes)) @ density).astype(float)
    mix = em(density, count)
    assert mix.sum() == pytest.approx(1)
    assert (mix >= 0).all()

    def loss(free):
        shares = np.exp(free - free.max())
        return -count @ np.log(shares / shares.sum() @ density)

    rival = min(minimize(loss, rng.normal(size=classes), method="BFGS").fun for _ in range(2))
    assert -count @ np.log(mix @ density) <= rival + 1e-3


def test_em_returns_a_mix_it_was_given_exactly():
    density = np.random.default_rng(0).dirichlet(np.ones(40), 6)
    mix = np.array([0.3, 0.05, 0.2, 0.25, 0.15, 0.05])
    assert em(density, mix @ density, tolerance=1e-10) == pytest.approx(mix, abs=1e-5)


def test_densities_are_the_answers_distribution():
    rows, _ = draw(np.random.default_rng(1), (700, 700, 700), offset=(0, 0, 4.0))
    model = AnswerModel(rows, (10, 80))
    density = model.density()
    assert density.sum(1) == pytest.approx(np.ones(6))
    for k in range(6):
        inside = (rows.band == k // 2) & (rows.gender == k % 2)
        bins = density[k].reshape(-1, 2)
        wrong = (rows.cell % 2 != rows.gender)[inside].mean()
        assert bins.sum(0)[1 - k % 2] == pytest.approx(wrong, abs=0.005), "the wrong gender"
        chance = bins.sum(1)
        mean = chance @ model.grid
        assert mean == pytest.approx(rows.answer[inside].mean(), abs=0.5), "with the offset of the oldest"
        spread = np.sqrt(chance @ (model.grid - mean) ** 2)
        assert spread == pytest.approx(rows.answer[inside].std(), rel=0.07)


def test_an_offset_of_few_people_is_drawn_toward_the_line():
    rng = np.random.default_rng(2)
    errors = {"kept": [], "drawn": []}
    for _ in range(60):
        rows, _ = draw(rng, (60, 60, 12))
        line = AnswerModel(rows, (10, 80)).line()
        old = rows.band[rows.first] == 2
        truth = 6 + 0.85 * 60
        errors["drawn"].append((line[old].mean() - truth) ** 2)
        errors["kept"].append((rows.answer[rows.band == 2].mean() - truth) ** 2)
    assert np.mean(errors["drawn"]) < 0.75 * np.mean(errors["kept"])


@pytest.mark.parametrize("counts", [(200, 200, 400), (420, 300, 80)])
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_a_planted_mix_is_found_and_its_interval_holds_it(counts, offset):
    rng = np.random.default_rng(3)
    rows, _ = draw(rng, (400, 400, 100), offset=(0, 0, offset))
    seen, answer = draw(rng, counts, offset=(0, 0, offset))
    eval = answers_of(seen, answer)
    weights = person_weights(rows, 60, rng)
    found = estimate(rows, eval.answer, eval.gender, weights, 7.0, rng)
    truth = np.array(counts) / sum(counts)
    assert np.abs(found.mix - truth).max() < 0.07
    low, high = np.quantile(found.draws.reshape(-1, 3, 2).sum(2), [0.005, 0.995], axis=0)
    assert ((low < truth) & (truth < high)).all()
    assert not found.unlike


def test_the_same_mix_stays_the_train_mix():
    rng = np.random.default_rng(4)
    away = []
    for _ in range(8):
        rows, _ = draw(rng, (200, 200, 60))
        seen, answer = draw(rng, (200, 200, 60))
        eval = answers_of(seen, answer)
        found = estimate(rows, eval.answer, eval.gender, person_weights(rows, 30, rng), 7.0, rng)
        truth = np.array([200, 200, 60]) / 460
        away.append([np.abs(found.raw - truth).max(), np.abs(found.mix - truth).max()])
        assert found.draws.std(0).max() > 0, "but never for sure"
    raw, drawn = np.mean(away, axis=0)
    assert drawn < 0.7 * raw


def test_ages_that_shift_inside_a_band_are_warned_about():
    rng = np.random.default_rng(5)
    rows, _ = draw(rng, (300, 300, 100), middle=(50, 60))
    weights = person_weights(rows, 60, rng)
    for middle, expected in (((50, 60), False), ((30, 45), True)):
        seen, answer = draw(rng, (150, 250, 100), middle=middle)
        eval = answers_of(seen, answer)
        assert estimate(rows, eval.answer, eval.gender, weights, 7.0, rng).unlike is expected


def test_the_misfit_of_the_mix_itself_is_zero():
    density = np.random.default_rng(6).dirichlet(np.ones(40), 6)
    mix = np.full(6, 1 / 6)
    assert misfit(density, mix, 1000 * mix @ density) == pytest.approx(0, abs=1e-12)
    assert misfit(density, mix, 1000 * density[0]) > 0.01


def test_people_are_resampled_inside_gender_and_band():
    rows, _ = draw(np.random.default_rng(7), (30, 20, 5))
    weights = person_weights(rows, 50, np.random.default_rng(0))
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    for s in np.unique(stratum):
        assert (weights[:, stratum == s].sum(1) == (stratum == s).sum()).all()


def test_answers_are_drawn_in_as_averaging_five_networks_narrows_them():
    rng = np.random.default_rng(8)
    rows, _ = draw(rng, (300, 300, 150), own=0.5)
    seen, answer = draw(rng, (200, 200, 200), networks=5, own=0.5)
    eval = answers_of(seen, answer)
    found = calibrate(rows, np.full(3, 1 / 3), eval, draws=10)
    assert found.keep**2 == pytest.approx(0.5 + 0.5 / 5, abs=0.05)
    averaged = answer.mean(1)
    one = calibrate(rows, np.full(3, 1 / 3), None, draws=10)
    fused = {
        name: macro_f1(seen.label, seen.cell * 3 + np.digitize(averaged, c.thresholds))
        for name, c in (("narrowed", found), ("as it is", one))
    }
    assert fused["narrowed"] > fused["as it is"] - 0.003
    gap = {
        name: abs(expected_scores(c, 600).mean() - fused[name]) for name, c in (("narrowed", found), ("as it is", one))
    }
    assert gap["narrowed"] < 0.025 < gap["as it is"]


def test_a_missing_network_is_left_out():
    rng = np.random.default_rng(9)
    rows, _ = draw(rng, (100, 100, 60))
    seen, answer = draw(rng, (60, 60, 60), networks=3, own=0.5)
    eval = answers_of(seen, answer)
    weights = person_weights(rows, 20, rng)
    alone = estimate(rows, answer[:, :1], eval.gender[:, :1], weights, 7.0, np.random.default_rng(0))
    gone = answer.copy()
    gone[:, 1:] = np.nan
    padded = estimate(rows, gone, eval.gender, weights, 7.0, np.random.default_rng(0))
    assert padded.raw == pytest.approx(alone.raw)
    assert Eval(gone, eval.gender, 7.0).removed == 0


def test_expected_scores_are_those_of_eval_people_drawn_from_the_same_world():
    rng = np.random.default_rng(10)
    rows, _ = draw(rng, (300, 300, 200))
    mix = np.array([0.3, 0.3, 0.4])
    found = calibrate(rows, mix, None, draws=200)
    drawn = expected_scores(found, 200)
    seen = []
    for _ in range(40):
        fresh, _ = draw(rng, (60, 60, 80))
        seen.append(macro_f1(fresh.label, fuse(fresh, found.thresholds)))
    assert drawn.mean() == pytest.approx(np.mean(seen), abs=0.02)
    assert drawn.std() == pytest.approx(np.std(seen), rel=0.4)


def test_the_interval_is_centred_on_the_cross_fitted_score_and_wider_for_few_people():
    rng = np.random.default_rng(11)
    widths = []
    for counts in ((300, 300, 300), (300, 300, 12)):
        rows, _ = draw(rng, counts)
        found = calibrate(rows, np.full(3, 1 / 3), None, draws=100)
        low, high = expected_score(found, 300, 0.6, seed=1)
        drawn = np.ptp(np.quantile(expected_scores(found, 300, seed=1), [0.05, 0.95]))
        assert low < 0.6 < high
        assert abs((low + high) / 2 - 0.6) < 0.02
        widths.append((high - low) / drawn)
    assert 1 < widths[0] < 1.03
    assert widths[1] > 1.15


def test_cross_fitting_answers_every_photo_by_people_of_other_parts():
    rows, _ = draw(np.random.default_rng(12), (60, 60, 30))
    part = parts_of(rows)
    stratum = rows.gender[rows.first] * 3 + rows.band[rows.first]
    table = np.array([np.bincount(part[stratum == s], minlength=5) for s in range(6)])
    assert (np.ptp(table, axis=1) <= 1).all(), "parts are stratified"
    labels = cross_fitted(rows, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert np.array_equal(labels // 3, rows.cell)
    # the answers of one part may not change what that part is answered by
    mine = part[rows.person] == 2
    other = replace(rows, answer=np.where(mine, 100.0, rows.answer))
    changed = cross_fitted(other, np.full((1, 6), 1 / 6), 2.0, np.zeros(2))
    assert (changed[mine] % 3 == 2).all()


def test_another_bandwidth_needs_a_clear_gain():
    rows, _ = draw(np.random.default_rng(13), (200, 200, 100))
    assert best_bandwidth(rows, np.full(6, 1 / 6)) == BANDWIDTH
