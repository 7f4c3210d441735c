"""Which mixes explain predictions: EM, the score statistic, the posterior and the misfit, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import draw
from scipy.optimize import minimize
from scipy.stats import chi2

from pipeline.combiner.densities import Densities, Smoothing
from pipeline.combiner.evidence import TOWARD_MULTINOMIAL, Evidence, em, evidence
from pipeline.combiner.posterior import ANYTHING, NEAR_TRAIN, drawn_from_hyperprior, hyperprior, posterior

TRAIN = np.array([0.47, 0.45, 0.08])


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_em_finds_the_greatest_likelihood(seed, classes):
    rng = np.random.default_rng(seed)
    density = rng.dirichlet(np.ones(30), classes)
    count = rng.multinomial(500, rng.dirichlet(np.ones(classes)) @ density).astype(float)
    prior = em(density, count)
    assert prior.sum() == pytest.approx(1)
    assert (prior >= 0).all()

    def loss(free):
        shares = np.exp(free - free.max())
        return -count @ np.log(shares / shares.sum() @ density)

    rival = min(minimize(loss, rng.normal(size=classes), method="BFGS").fun for _ in range(2))
    assert -count @ np.log(prior @ density) <= rival + 1e-3


def test_em_returns_a_mix_it_was_given_exactly():
    density = np.random.default_rng(0).dirichlet(np.ones(40), 6)
    prior = np.array([0.3, 0.05, 0.2, 0.25, 0.15, 0.05])
    assert em(density, prior @ density, tolerance=1e-10) == pytest.approx(prior, abs=1e-5)


def of_people(rows, eval_rows, smoothing=Smoothing(12)):  # noqa: B008
    """The evidence of eval people, given validation people."""
    densities = Densities(rows, smoothing)
    code = densities.code(eval_rows.predicted_age, eval_rows.cell % 2)
    return evidence(densities, np.bincount(code, minlength=densities.density.shape[1]) / len(code), eval_rows.people)


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    return of_people(draw(rng, (180, 170, 40), skew=True)[0], draw(rng, (50, 40, 30), skew=True)[0])


def test_the_statistic_is_the_scores_square_in_units_of_its_variance(found):
    """The slope of the log-likelihood, taken by differences, and its variance, by a loop over bands."""
    prior, step = np.array([0.4, 0.35, 0.25]), 1e-6

    def likelihood(young, old):
        return found.seen @ np.log(np.array([young, 1 - young - old, old]) @ found.density)

    slope = np.array(
        [
            (likelihood(0.4 + step, 0.25) - likelihood(0.4 - step, 0.25)) / 2 / step,
            (likelihood(0.4, 0.25 + step) - likelihood(0.4, 0.25 - step)) / 2 / step,
        ]
    )
    score = (found.density[[0, 2]] - found.density[1]) / (prior @ found.density)
    variance = np.zeros((2, 2))
    for b in range(3):
        variance += (prior[b] / found.eval_people + prior[b] ** 2 / found.people[b]) * score @ found.noise[b] @ score.T
    value = found.statistic(prior[None])[0][0]
    assert value == pytest.approx(slope @ np.linalg.solve(variance, slope), rel=1e-4)


def test_a_persons_noise_is_that_of_people_around_their_class():
    rows, _ = draw(np.random.default_rng(1), (60, 50, 30))
    densities = Densities(rows, Smoothing(8))
    seen = densities.shares.mean(0)
    made = evidence(densities, seen, 140)
    for band in range(3):
        inside = densities.kind // 2 == band
        rest = densities.shares[inside].copy()
        for gender in range(2):
            mine = densities.kind[inside] % 2 == gender
            rest[mine] -= rest[mine].mean(0)
        own, chance = rest.T @ rest / (inside.sum() - 2), np.diag(made.density[band])
        chance -= np.outer(made.density[band], made.density[band])
        weight = (inside.sum() - 2) / (inside.sum() - 2 + TOWARD_MULTINOMIAL)
        away = made.noise[band] - weight * own  # the rest is drawn toward noise by chance
        times = np.trace(away) / np.trace(chance)
        np.testing.assert_allclose(away, times * chance, atol=2e-4)
        assert 0 < times < 2 * (1 - weight)
        assert made.people[band] == pytest.approx(inside.sum(), rel=0.02)


def test_the_true_mix_has_a_statistic_as_of_chi_squared():
    """Over validation people and eval people drawn anew: a real interval, not one in a formula."""
    rng, values = np.random.default_rng(2), []
    for _ in range(200):
        counts = rng.multinomial(290, rng.dirichlet((3, 3, 3))) + 3
        seen = of_people(draw(rng, (400, 400, 200), skew=True)[0], draw(rng, counts, skew=True)[0])
        values.append(seen.statistic((counts / counts.sum())[None])[0][0])
    assert np.mean(values) == pytest.approx(2, abs=0.4)
    assert np.quantile(values, 0.95) == pytest.approx(chi2.ppf(0.95, 2), rel=0.3)


def test_genders_inside_the_bands_follow_what_is_seen():
    rng = np.random.default_rng(3)
    rows, (eval_rows, _) = draw(rng, (200, 200, 80))[0], draw(rng, (150, 100, 100))
    keep = (eval_rows.gender == 1) | (rng.random(350) < 0.3)[eval_rows.person]
    some = replace(
        eval_rows, **{name: getattr(eval_rows, name)[keep] for name in ("predicted_age", "cell", "gender", "band")}
    )
    made = of_people(rows, replace(some, people=int(keep.sum() / 7)))
    women = np.bincount(some.band, some.gender) / np.bincount(some.band)
    np.testing.assert_allclose(made.genders[:, 1], women, atol=0.08)
    np.testing.assert_allclose(made.likeliest, np.bincount(some.band) / len(some.band), atol=0.12)


def test_the_prior_is_a_density_over_all_mixes():
    ends = (np.indices((1000, 1000)).reshape(2, -1).T + 0.5) / 1000
    ends = ends[ends.sum(1) < 1]
    priors = np.stack([ends[:, 0], 1 - ends.sum(1), ends[:, 1]], 1)
    density = np.exp(hyperprior(priors, TRAIN))
    assert density.mean() / 2 == pytest.approx(1, abs=0.01)  # half of the square is a mix
    rng = np.random.default_rng(4)
    drawn = np.array([drawn_from_hyperprior(rng, TRAIN) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(0), density @ priors / density.sum(), atol=0.015)
    near = np.abs(drawn - TRAIN).max(1) < 0.03
    expected = density[np.abs(priors - TRAIN).max(1) < 0.03].sum() / density.sum()
    assert near.mean() == pytest.approx(expected, abs=0.03)
    assert (1 - ANYTHING) * 2 / len(NEAR_TRAIN) * 0.8 < expected < 1 - ANYTHING


@pytest.mark.parametrize("widen", [1.0, 3.0])
def test_the_posterior_is_prior_times_likelihood(found, widen):
    ends = (np.indices((400, 400)).reshape(2, -1).T + 0.5) / 400
    ends = ends[ends.sum(1) < 1]
    priors = np.stack([ends[:, 0], 1 - ends.sum(1), ends[:, 1]], 1)
    statistic, sharp = found.statistic(priors)
    log = sharp - statistic / 2 / widen + hyperprior(priors, TRAIN)
    weight = np.exp(log - log.max())
    made = posterior(found, TRAIN, widen)
    np.testing.assert_allclose(made.mean, weight @ priors / weight.sum(), atol=0.004)
    drawn = made.draws(4000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), made.mean, atol=0.002)
    spread = np.sqrt(weight @ (priors - weight @ priors / weight.sum()) ** 2 / weight.sum())
    np.testing.assert_allclose(drawn.std(0), spread, rtol=0.05)
    assert drawn.sum(1) == pytest.approx(np.ones(4000))
    assert (drawn > 0).all()


def test_much_evidence_leaves_little_and_none_leaves_hardly_more_than_the_prior(found):
    """Where nothing is known the slope of the likelihood remains, which moves the prior a little (Jeffreys 1946)."""
    many = replace(found, people=found.people * 1e4, eval_people=1e7)
    sharp = posterior(many, TRAIN)
    np.testing.assert_allclose(sharp.mean, many.likeliest, atol=0.01)
    assert sharp.draws(500, np.random.default_rng(0)).std(0).max() < 0.01
    none = posterior(replace(found, eval_people=1e-3), TRAIN)
    drawn = np.array([drawn_from_hyperprior(np.random.default_rng(s), TRAIN) for s in range(3000)])
    np.testing.assert_allclose(none.mean, drawn.mean(0), atol=0.03)


def test_what_a_mix_explains_does_not_misfit():
    rows, _ = draw(np.random.default_rng(5), (200, 200, 80))
    densities = Densities(rows, Smoothing(16))
    made = evidence(densities, densities.shares.mean(0), 480)
    exact = replace(made, seen=np.array([0.2, 0.3, 0.5]) @ made.raw, density=made.raw)
    assert exact.misfit() == pytest.approx(0, abs=1e-3)


def test_misfit_is_usual_in_other_mixes_and_not_where_ages_shift():
    rng = np.random.default_rng(6)
    usual, shifted = [], []
    for _ in range(60):
        rows, _ = draw(rng, (150, 150, 50), middle=(50, 60))
        usual.append(of_people(rows, draw(rng, (40, 30, 40), middle=(50, 60))[0]).misfit())
        shifted.append(of_people(rows, draw(rng, (40, 50, 20), middle=(30, 45))[0]).misfit())
    assert np.mean(usual) == pytest.approx(7, abs=2)
    assert np.mean(np.array(usual) > chi2.ppf(0.95, 7)) < 0.15
    assert np.mean(np.array(shifted) > chi2.ppf(0.95, 7)) > 0.9


def test_a_band_of_a_single_person_is_no_error():
    rows, _ = draw(np.random.default_rng(7), (20, 20, 1))
    made = of_people(rows, draw(np.random.default_rng(8), (10, 10, 5))[0])
    assert isinstance(made, Evidence)
    assert np.isfinite(posterior(made, rows.counts / 41).mean).all()
    assert np.isfinite(made.misfit())
