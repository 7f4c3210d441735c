"""The losses against torch's own, plain numpy in float64, and numeric gradients."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from models import losses
from models.tasks import build_task
from pipeline.run.presets import PRESETS

LOGITS = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (7, 3)))
AGE_LOGITS = torch.from_numpy(np.random.default_rng(1).normal(0, 2, (6, 101))).float()
TARGETS = torch.tensor([0, 1, 2, 2, 1, 0, 0])
WEIGHTS = torch.tensor([0.1, 2, 1, 3, 0.5, 0.4, 0.7]).double()
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


def test_ranges_of_ages_in_float64_numpy():
    ranges = torch.tensor([[0.0, 2.0], [18.0, 18.0], [20.0, 29.0], [45.25, 45.25], [70.0, 90.0], [90.0, 100.0]])
    weights, spread = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.5, 0.7]), 2.0
    total = 0.0
    for logits, (first, last), weight in zip(AGE_LOGITS.double().numpy(), ranges.numpy(), weights, strict=True):
        years = [first] if first == last else np.arange(first, last + 1)
        labels = [np.exp(-0.5 * ((np.arange(101) - year) / spread) ** 2) for year in years]
        soft = np.mean([label / label.sum() for label in labels], axis=0)
        log_shares = logits - np.log(np.exp(logits).sum())
        expected = np.exp(log_shares) @ np.arange(101)
        error = max(first - expected, expected - last, 0)
        total += float(weight) * (-(soft * log_shares).sum() + error)
    mine = losses.age_distribution(AGE_LOGITS, ranges, weights, spread)
    assert mine.item() == pytest.approx(total / 6, rel=1e-5)


def test_ranges_count_on_all_their_years():
    ranges = torch.tensor([[20.0, 29.0]] * 50 + [[33.0, 33.0]] * 5)
    apart = torch.cat([torch.arange(20.0, 30.0).repeat(5), torch.full((5,), 33.0)])
    torch.testing.assert_close(losses.log_density(ranges), losses.log_density(apart))
    one, other = losses.density_weights(ranges, 0.5), losses.density_weights(apart, 0.5)
    torch.testing.assert_close(one[-1] / one[0], other[-1] / other[:50].mean())


def test_an_age_as_a_range_of_itself_is_that_age():
    weights = torch.rand(6)
    one = losses.age_distribution(AGE_LOGITS, AGES, weights)
    torch.testing.assert_close(losses.age_distribution(AGE_LOGITS, torch.stack([AGES, AGES], 1), weights), one)
    for count in (losses.log_density, lambda ages: losses.density_weights(ages, 0.7)):
        torch.testing.assert_close(count(AGES), count(torch.stack([AGES, AGES], 1)))


def test_the_slope_of_ranges_is_numeric():
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 2, (3, 101))).requires_grad_()
    ranges = torch.tensor([[20.0, 29.0], [0.0, 100.0], [70.0, 90.0]])
    assert torch.autograd.gradcheck(lambda x: losses.age_distribution(x, ranges, torch.ones(3)), logits)


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
    for predicted, z in zip(losses.expected_age(AGE_LOGITS).tolist(), AGE_LOGITS.double().tolist(), strict=True):
        shares = np.exp(z) / np.exp(z).sum()
        assert predicted == pytest.approx(sum(year * share for year, share in enumerate(shares)), rel=1e-5)


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


def test_density_power_1_makes_every_smoothed_age_count_the_same(ages, monkeypatch):
    density = smoothed_density(ages)
    weights = losses.density_weights(ages, 1.0).double().numpy()
    products = [weight * density[int(age)] for weight, age in zip(weights, ages.tolist(), strict=True)]
    np.testing.assert_allclose(products, products[0], rtol=1e-5)
    # With a kernel too narrow to smooth, that is every age's total.
    monkeypatch.setattr(losses, "KERNEL", 0.05)
    sharp = losses.density_weights(ages, 1.0).numpy()
    totals = [sharp[ages.numpy() == age].sum() for age in np.unique(ages)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_density_power_a_half_is_between(ages):
    full, half = losses.density_weights(ages, 1.0).double(), losses.density_weights(ages, 0.5).double()
    torch.testing.assert_close(half / half[0], (full / full[0]).sqrt(), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ focal


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_at_gamma_0_is_torchs_cross_entropy(smoothing):
    each = functional.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=smoothing)
    mine = losses.focal(LOGITS, TARGETS, WEIGHTS, 0.0, smoothing)
    assert mine.item() == pytest.approx((each * WEIGHTS).mean().item(), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_of_two_classes_is_torchvisions(gamma):
    """Theirs has one output: the difference of our two."""
    logits, targets = LOGITS[:, :2] * 2, TARGETS % 2
    each = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], targets.double(), alpha=-1, gamma=gamma)
    mine = losses.focal(logits, targets, WEIGHTS, gamma)
    assert mine.item() == pytest.approx((each * WEIGHTS).mean().item(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_focal_by_hand(smoothing):
    total = 0.0
    for z, target, weight in zip(LOGITS.numpy(), TARGETS.tolist(), WEIGHTS.tolist(), strict=True):
        p = np.exp(z) / np.exp(z).sum()
        soft = np.full(3, smoothing / 3) + (1 - smoothing) * np.eye(3)[target]
        total -= weight * (soft * (1 - p) ** 2.0 * np.log(p)).sum()
    assert losses.focal(LOGITS, TARGETS, WEIGHTS, 2.0, smoothing).item() == pytest.approx(total / 7, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 2.0])
def test_the_gradient_of_focal_is_finite_at_sure_answers_right_and_wrong(gamma):
    logits = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    losses.focal(logits, torch.tensor([0, 1]), torch.ones(2), gamma).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1, 1] < 0 < logits.grad[1, 0]


# ------------------------------------------------------------------------------------------------------- soft macro-F1

MANY = torch.from_numpy(np.random.default_rng(5).normal(0, 1, (40, 5)))
SOME = torch.from_numpy(np.random.default_rng(6).choice([0, 1, 3], 40, p=[0.7, 0.2, 0.1]))  # 2 and 4 never occur
COUNTS = torch.from_numpy(np.random.default_rng(7).uniform(0.2, 3, 40))


@pytest.mark.parametrize("weights", [torch.ones(40).double(), COUNTS], ids=["even", "weighted"])
def test_soft_macro_f1_of_hard_answers_is_scikit_learns(weights):
    hard = MANY.argmax(1)
    assert set(hard.tolist()) == set(range(5))
    expected = f1_score(
        SOME, hard, labels=np.unique(SOME), average="macro", zero_division=0, sample_weight=weights.numpy()
    )
    assert losses.soft_macro_f1(MANY * 1e4, SOME, weights).item() == pytest.approx(1 - expected, abs=1e-6)


def test_soft_macro_f1_by_counting_shares():
    shares = MANY.softmax(1).numpy()
    scores = []
    for one in (0, 1, 3):
        true = SOME.eq(one).numpy()
        hit = sum(w * p for w, p, t in zip(COUNTS.numpy(), shares[:, one], true, strict=True) if t)
        scores.append(2 * hit / ((COUNTS.numpy() * shares[:, one]).sum() + COUNTS.numpy()[true].sum()))
    mine = losses.soft_macro_f1(MANY, SOME, COUNTS)
    assert mine.item() == pytest.approx(1 - np.mean(scores), rel=1e-9)


def test_a_class_that_the_batch_lacks_counts_for_nothing_in_soft_macro_f1():
    """Answering it costs hits, but there is no score of 0 for it: one photo right of one is a score of 1."""
    right = torch.tensor([[100.0, 0, 0]])
    assert losses.soft_macro_f1(right, torch.tensor([0]), torch.ones(1)).item() == pytest.approx(0, abs=1e-6)
    wrong = losses.soft_macro_f1(right, torch.tensor([2]), torch.ones(1))
    assert wrong.item() == pytest.approx(1, abs=1e-6)


# --------------------------------------------------------------------------------------------------- picked by name


def test_a_loss_is_picked_by_its_name():
    given = LOGITS, TARGETS, WEIGHTS
    assert losses.classification("cross_entropy", *given, 0.1) == losses.cross_entropy(*given, 0.1)
    assert losses.classification("focal", *given, 0.1, 3.0) == losses.focal(*given, 3.0, 0.1)
    assert losses.classification("soft_f1", *given) == losses.soft_macro_f1(*given)
    with pytest.raises(ValueError, match="hinge"):
        losses.classification("hinge", *given)


@pytest.mark.parametrize(("kind", "smooths"), [("cross_entropy", True), ("focal", True), ("soft_f1", False)])
def test_smoothing_is_of_cross_entropy_and_focal_alone(kind, smooths):
    without, smoothed = (losses.classification(kind, LOGITS, TARGETS, WEIGHTS, s) for s in (0.0, 0.3))
    assert (without != smoothed) == smooths


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "soft_f1"])
def test_half_precision_is_widened_and_float64_stays(kind):
    half = losses.classification(kind, LOGITS.bfloat16(), TARGETS.float(), WEIGHTS.float())
    assert half.dtype == torch.float32
    assert half == losses.classification(kind, LOGITS.bfloat16().float(), TARGETS, WEIGHTS.float())
    assert losses.classification(kind, LOGITS, TARGETS, WEIGHTS).dtype == torch.float64


# ------------------------------------------------------------------------------------------------ numeric gradients


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("kind", "gamma"), [("cross_entropy", 0.0), ("focal", 0.0), ("focal", 0.5), ("focal", 2.0), ("soft_f1", 0.0)]
)
def test_gradcheck_of_the_losses_of_classes(kind, gamma, smoothing):
    def loss(logits):
        return losses.classification(kind, logits, TARGETS, WEIGHTS, smoothing, gamma)

    assert torch.autograd.gradcheck(loss, LOGITS.clone().requires_grad_())


def test_gradcheck_of_the_age_distribution():
    logits, ages = AGE_LOGITS[:3].double().requires_grad_(), AGES[1:4].double()
    assert torch.autograd.gradcheck(lambda z: losses.expected_age(z), logits)
    assert torch.autograd.gradcheck(lambda z: losses.age_distribution(z, ages, WEIGHTS[:3]), logits)


@pytest.mark.parametrize("task", ["mask", "gender"])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "soft_f1"])
def test_gradcheck_of_the_classifiers(task, kind):
    one = build_task(task, PRESETS["small"][task] | {"loss": kind})
    logits = LOGITS[:, : one.num_logits].clone().requires_grad_()
    targets = (TARGETS % one.num_logits).float()
    assert torch.autograd.gradcheck(lambda z: one.loss(z, targets, WEIGHTS), logits)


@pytest.mark.parametrize("kind", ["l1", "mse", "distribution"])
def test_gradcheck_of_ages(kind):
    one = build_task("age", PRESETS["small"]["age"] | {"age_loss": kind})
    logits = AGE_LOGITS.double()[:, : one.num_logits].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: one.loss(z, AGES.double(), WEIGHTS[:6]), logits)


# ------------------------------------------------------------------------------------------------ several tasks at once

LOSSES = torch.tensor([0.3, 1.7, 40.0], dtype=torch.float64)
REGRESSION = (False, False, True)


def test_uncertainty_weighting_by_hand():
    s = torch.tensor([0.2, -1.0, 3.0], dtype=torch.float64)
    expected = np.exp(-0.2) * 0.3 + 0.1 + np.exp(1.0) * 1.7 - 0.5 + np.exp(-3.0) * 40 / 2 + 1.5
    assert losses.uncertainty_weighted(LOSSES, s, REGRESSION).sum().item() == pytest.approx(expected, rel=1e-9)


def test_uncertainty_weighting_is_least_where_the_variances_are_the_losses():
    """In closed form: exp(s) = 2 L of a classification, L of a regression, and each then adds (1 + s) / 2."""
    best = torch.log(LOSSES * torch.tensor([2.0, 2.0, 1.0])).requires_grad_()
    least = losses.uncertainty_weighted(LOSSES, best, REGRESSION).sum()
    least.backward()
    torch.testing.assert_close(best.grad, torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert least.item() == pytest.approx(((1 + best) / 2).sum().item(), rel=1e-9)
    for i in range(3):
        for off in (-0.1, 0.1):
            moved = best.detach() + off * torch.eye(3)[i]
            assert losses.uncertainty_weighted(LOSSES, moved, REGRESSION).sum() > least


def test_following_the_gradient_no_loss_drowns_another():
    """A regression a hundred times as large ends with the weight of the others: each task's part is about 1/2."""
    s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([s], lr=0.05)
    for _ in range(2000):
        optimizer.zero_grad()
        losses.uncertainty_weighted(LOSSES, s, REGRESSION).sum().backward()
        optimizer.step()
    parts = (-s.detach()).exp() * LOSSES * torch.tensor([1, 1, 0.5])
    torch.testing.assert_close(parts, torch.full((3,), 0.5).double(), rtol=1e-3, atol=1e-3)


def test_gradcheck_of_uncertainty_weighting():
    given = LOSSES.clone().requires_grad_(), torch.tensor([0.2, -1.0, 3.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda each, s: losses.uncertainty_weighted(each, s, REGRESSION), given)
