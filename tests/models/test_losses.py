"""The losses against torch's own, plain numpy in float64, and numeric gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from models import losses

LOGITS = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (7, 3)))
AGE_LOGITS = torch.from_numpy(np.random.default_rng(1).normal(0, 2, (6, 101))).float()
AGES = torch.tensor([0.0, 18.0, 29.5, 45.25, 60.0, 100.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_cross_entropy_is_torchs(smoothing):
    targets = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    mine = losses.cross_entropy(LOGITS, targets, torch.ones(7), smoothing)
    torch.testing.assert_close(mine, functional.cross_entropy(LOGITS, targets, label_smoothing=smoothing))


def test_cross_entropy_is_a_weighted_mean_over_photos():
    targets, weights = torch.tensor([0, 1, 2, 2, 1, 0, 0]), torch.tensor([0.1, 2, 1, 3, 0.5, 0.4, 0]).double()
    each = functional.cross_entropy(LOGITS, targets, reduction="none", label_smoothing=0.1)
    expected = sum(float(w * e) for w, e in zip(weights, each, strict=True)) / 7
    assert losses.cross_entropy(LOGITS, targets, weights, 0.1).item() == pytest.approx(expected, rel=1e-12)


def test_smoothed_cross_entropy_by_hand():
    shares = np.full(3, 0.3 / 3) + 0.7 * np.eye(3)[1]
    z = LOGITS[0].numpy()
    expected = -(shares * (z - np.log(np.exp(z).sum()))).sum()
    mine = losses.cross_entropy(LOGITS[:1], torch.tensor([1]), torch.ones(1), 0.3)
    assert mine.item() == pytest.approx(expected, rel=1e-12)


def test_a_photos_part_does_not_depend_on_its_batch():
    weights = torch.tensor([4.0, 1.0])
    one = losses.weighted_mean(torch.tensor([3.0, 0.0]), weights)
    assert one == 6.0  # 4 * 3 / 2: divided by photos, not by the sum of the weights


def age_distribution_in_numpy(logits, ages, weights, spread):
    logits, years = logits.numpy().astype(np.float64), np.arange(101.0)
    total = 0.0
    for z, age, weight in zip(logits, ages.tolist(), weights.tolist(), strict=True):
        soft = np.exp(-((years - age) ** 2) / (2 * spread**2))
        soft /= soft.sum()
        log_shares = z - z.max() - np.log(np.exp(z - z.max()).sum())
        error = abs((np.exp(log_shares) * years).sum() - age)
        total += weight * (-(soft * log_shares).sum() + error)
    return total / len(logits)


@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
def test_age_distribution_in_float64_numpy(spread):
    weights = torch.tensor([0.5, 1.5, 1.0, 2.0, 0.5, 0.5])
    expected = age_distribution_in_numpy(AGE_LOGITS, AGES, weights, spread)
    assert losses.age_distribution(AGE_LOGITS, AGES, weights, spread).item() == pytest.approx(expected, rel=1e-5)


def test_age_distribution_is_least_at_the_soft_labels():
    age = torch.tensor([40.0])
    right = (-0.5 * ((torch.arange(101.0) - 40) / 2) ** 2)[None]
    least = losses.age_distribution(right, age, torch.ones(1), 2.0)
    for other in (AGE_LOGITS[:1], right.roll(1, 1), right * 1.5, right * 0.5):
        assert losses.age_distribution(other, age, torch.ones(1), 2.0) > least + 1e-3


def test_age_distribution_gradient_is_finite_at_sure_and_wrong_answers():
    logits = torch.zeros(2, 101)
    logits[:, 5] = 200.0
    logits.requires_grad_()
    losses.age_distribution(logits, torch.tensor([95.0, 5.0]), torch.ones(2)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 95] < 0 < logits.grad[0, 5]


def test_gradients_are_those_of_small_differences():
    targets, weights = torch.tensor([0, 1, 2, 2, 1, 0, 0]), torch.rand(7, dtype=torch.float64)
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.cross_entropy(z, targets, weights, 0.1), logits)


def test_age_distribution_gradient_is_that_of_numpys_small_differences():
    logits, weights = AGE_LOGITS[:2].clone().requires_grad_(), torch.tensor([0.5, 1.5])
    losses.age_distribution(logits, AGES[1:3], weights).backward()
    for photo, year in ((0, 18), (0, 90), (1, 29), (1, 3)):
        moved = [AGE_LOGITS[:2].double().clone() for _ in range(2)]
        moved[0][photo, year] -= 1e-4
        moved[1][photo, year] += 1e-4
        low, high = (age_distribution_in_numpy(m, AGES[1:3], weights, 2.0) for m in moved)
        assert logits.grad[photo, year].item() == pytest.approx((high - low) / 2e-4, rel=1e-3, abs=1e-6)


def test_expected_age_by_adding_up():
    for answer, z in zip(losses.expected_age(AGE_LOGITS).tolist(), AGE_LOGITS.double().tolist(), strict=True):
        shares = np.exp(z) / np.exp(z).sum()
        assert answer == pytest.approx(sum(year * share for year, share in enumerate(shares)), rel=1e-5)


def test_expected_age_of_a_sure_answer_is_that_year():
    logits = torch.full((3, 101), -100.0)
    logits[[0, 1, 2], [0, 37, 100]] = 100.0
    torch.testing.assert_close(losses.expected_age(logits), torch.tensor([0.0, 37.0, 100.0]))


@pytest.fixture
def ages():
    """Few of 18, many of 25, one of 60, and the ends."""
    return torch.tensor([18.0] * 5 + [25.0] * 60 + [26.0] * 30 + [60.0] + [0.0, 100.0])


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_density_weights_have_mean_1(ages, power):
    weights = losses.density_weights(ages, power)
    assert weights.dtype == torch.float32
    assert weights.double().mean().item() == pytest.approx(1, abs=1e-6)


def test_density_power_0_counts_every_photo_the_same(ages):
    torch.testing.assert_close(losses.density_weights(ages, 0.0), torch.ones(len(ages)))


def smoothed_density(ages, kernel=2.0):
    """By loops: at each year, the Gaussian mean of the counts around it."""
    counts, density = np.bincount(ages.long().numpy(), minlength=101), {}
    for year in set(ages.long().tolist()):
        near = np.exp(-((np.arange(101) - year) ** 2) / (2 * kernel**2))
        density[year] = (near * counts).sum() / near.sum()
    return density


def test_density_power_1_makes_every_smoothed_age_count_the_same(ages):
    density = smoothed_density(ages)
    weights = losses.density_weights(ages, 1.0).double().numpy()
    products = [weight * density[int(age)] for weight, age in zip(weights, ages.tolist(), strict=True)]
    np.testing.assert_allclose(products, products[0], rtol=1e-5)
    # With a kernel too narrow to smooth, that is every age's total.
    sharp = losses.density_weights(ages, 1.0, kernel=0.05).numpy()
    totals = [sharp[ages.numpy() == age].sum() for age in np.unique(ages)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_density_power_a_half_is_between(ages):
    full, half = losses.density_weights(ages, 1.0).double(), losses.density_weights(ages, 0.5).double()
    torch.testing.assert_close(half / half[0], (full / full[0]).sqrt(), rtol=1e-5, atol=1e-6)
