"""The one contract, held to all three specialists."""

import numpy as np
import pytest
import torch

from models.labels import band
from models.tasks import build_task
from pipeline.run.presets import PRESETS, TASKS, columns_of

COLUMNS = {
    "mask": ("mask_worn", "mask_wrong", "mask_none"),
    "gender": ("gender_female",),
    "age": ("age_years",),
}
TARGETS = {
    "mask": torch.tensor([0.0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 1, 2]),
    "gender": torch.tensor([0.0, 1, 1, 0, 1, 1, 1, 1]),
    "age": torch.tensor([18.0, 25, 25, 25, 29, 30, 59, 60, 0, 100]),
}


def make(task, **settings):
    return build_task(task, PRESETS["small"][task] | settings)


KINDS = [
    ("mask", {}),
    ("gender", {}),
    *((task, {"loss": loss}) for task in ("mask", "gender") for loss in ("focal", "soft_f1")),
    *(("age", {"age_loss": kind}) for kind in ("distribution", "l1", "mse")),
]
every = pytest.mark.parametrize(
    ("task", "given"), KINDS, ids=lambda v: v if isinstance(v, str) else "".join(v.values())
)


def logits(one, n):
    return torch.from_numpy(np.random.default_rng(n).normal(0, 3, (n, one.num_logits))).float()


@every
def test_contract(task, given):
    one, targets = make(task, **given), TARGETS[task]
    assert (one.name, columns_of(task)) == (task, (task,))
    assert one.columns == COLUMNS[task]
    n = len(targets)
    out = logits(one, n).requires_grad_()
    weights = one.weights(targets, targets)
    assert (weights.shape, weights.dtype) == ((n,), torch.float32)
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert (weights > 0).all()
    loss = one.loss(out, targets, weights)
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(out.grad).all()
    assert (out.grad.abs().sum(1) > 0).all()
    predictions = one.predict(out.detach())
    assert (predictions.shape, predictions.dtype) == ((n, len(one.columns)), torch.float32)
    truth, classes = one.true_class(targets.numpy()), one.predicted_class(predictions.numpy())
    for array in (truth, classes):
        assert (array.shape, array.dtype) == ((n,), np.int64)
        assert set(array.tolist()) <= set(range(one.classes))
    assert set(truth.tolist()) == set(range(one.classes))


@every
def test_following_the_gradient_finds_the_targets(task, given):
    one, targets = make(task, smoothing=0.0, age_spread=0.5, **given), TARGETS[task]
    out = torch.zeros(len(targets), one.num_logits, requires_grad=True)
    optimizer = torch.optim.Adam([out], lr=0.3)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.3 * (1 - step / 300)
        optimizer.zero_grad()
        one.loss(out, targets, torch.ones_like(targets)).backward()
        optimizer.step()
    predictions = one.predict(out.detach()).numpy()
    if task == "age":
        np.testing.assert_allclose(predictions[:, 0], targets.numpy(), atol=0.5)
    else:
        np.testing.assert_array_equal(one.predicted_class(predictions), one.true_class(targets.numpy()))
        np.testing.assert_array_equal(one.true_class(targets.numpy()), targets.numpy())


@every
def test_bfloat16_outputs_answer_in_float32(task, given):
    one = make(task, **given)
    out = logits(one, 4).bfloat16()
    assert one.predict(out).dtype == torch.float32
    torch.testing.assert_close(one.predict(out), one.predict(out.float()))
    targets = TARGETS[task][:4]
    assert one.loss(out, targets, torch.ones(4)).dtype == torch.float32


def test_mask_answers_are_probabilities_and_the_largest_wins():
    one = make("mask")
    out = logits(one, 50)
    predictions = one.predict(out).numpy()
    np.testing.assert_allclose(predictions.sum(1), 1, rtol=1e-6)
    assert (predictions >= 0).all()
    np.testing.assert_array_equal(one.predicted_class(predictions), out.argmax(1).numpy())


def test_gender_answers_the_probability_of_female():
    one = make("gender")
    out = torch.tensor([[5.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    predictions = one.predict(out).numpy()[:, 0]
    np.testing.assert_allclose(predictions, [1 / (1 + np.exp(5)), 1 / (1 + np.exp(-5)), 0.5], rtol=1e-5)
    np.testing.assert_array_equal(one.predicted_class(predictions[:, None]), [0, 1, 1])


@pytest.mark.parametrize("kind", ["distribution", "l1", "mse"])
def test_age_classes_are_bands_of_the_answer(kind):
    one = make("age", age_loss=kind)
    predictions = np.array([[12.0], [29.99], [30.0], [59.99], [60.0], [88.0]], np.float32)
    np.testing.assert_array_equal(one.predicted_class(predictions), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(one.true_class(predictions[:, 0]), band(predictions[:, 0]))


def test_the_age_distribution_answers_within_its_years():
    predictions = make("age").predict(logits(make("age"), 60) * 30)
    assert predictions.min() >= 0
    assert predictions.max() <= 100


@pytest.mark.parametrize("scale", [20.0, 1.0])
@pytest.mark.parametrize(("kind", "norm"), [("l1", np.abs), ("mse", np.square)])
def test_regression_answers_invert_the_scaling_of_the_loss(kind, norm, scale):
    one = make("age", age_loss=kind, age_scale=scale)
    targets = TARGETS["age"]
    # The outputs at which the loss is zero are those whose answer is the target.
    zero = (
        (targets - one.predict(torch.zeros(1, 1))[0, 0])
        / (one.predict(torch.ones(1, 1)) - one.predict(torch.zeros(1, 1)))[0, 0]
    )[:, None]
    assert one.loss(zero, targets, torch.ones(10)).item() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(one.predict(zero)[:, 0], targets, rtol=1e-5, atol=1e-4)
    # An error of `scale` years is one unit.
    assert one.predict(zero + 1)[0, 0].item() == pytest.approx(targets[0].item() + scale, rel=1e-5)
    off = norm(np.arange(10) / 10)
    weights = torch.linspace(0.1, 1.9, 10)
    loss = one.loss(zero + torch.arange(10)[:, None] / 10, targets, weights)
    assert loss.item() == pytest.approx((off * weights.numpy()).mean(), rel=1e-5)


def test_figures_beside_the_scores_are_age_alones():
    predictions, targets = np.array([[20.0], [44.5], [60.0]], np.float32), np.array([25.0, 44.0, 60.0], np.float32)
    assert make("age").metrics(predictions, targets) == {"mean_absolute_error": pytest.approx(5.5 / 3)}
    assert make("gender").metrics(predictions / 100, targets > 30) == {}
    assert make("mask").metrics(np.eye(3, dtype=np.float32), np.arange(3)) == {}


@pytest.mark.parametrize("given", [{}, {"undersample": 0.0}, {"undersample": 3.0}, {"sampling": "balanced"}])
def test_class_balance_evens_what_an_epoch_shows(given):
    """Over the rows of an epoch every class weighs the same, and the mean weight is 1."""
    from pipeline.training import sampling

    targets = np.repeat([0.0, 1.0, 2.0], [500, 100, 130]).astype(np.float32)
    one = make("mask", class_balance=1.0, **given)
    rows = np.arange(len(targets))
    seen = sampling.rows_of(rows, targets.astype(int), 0, 0, one.settings.sampling, one.undersample)
    weights = one.weights(torch.from_numpy(targets), torch.from_numpy(targets[seen])).numpy()
    by_class = np.bincount(targets[seen].astype(int), weights[seen])
    np.testing.assert_allclose(by_class, by_class.mean(), rtol=0.01)
    assert weights[seen].mean() == pytest.approx(1, abs=0.01)


def test_class_balance_evens_the_classes():
    targets = TARGETS["mask"]
    counts = np.bincount(targets.long())

    def totals(balance):
        weights = make("mask", class_balance=balance, undersample=0.0).weights(targets, targets).numpy()
        return np.array([weights[targets.numpy() == mask].sum() for mask in range(3)])

    np.testing.assert_allclose(totals(0.0), counts, rtol=1e-6)
    np.testing.assert_allclose(totals(1.0), 14 / 3, rtol=1e-6)
    half = totals(0.5)
    np.testing.assert_allclose(half / half.sum(), np.sqrt(counts) / np.sqrt(counts).sum(), rtol=1e-6)


def test_a_mask_class_without_photos_is_no_fault():
    targets = torch.tensor([0.0, 0.0, 2.0])
    weights = make("mask", class_balance=1.0).weights(targets, targets)
    np.testing.assert_allclose(weights, [0.75, 0.75, 1.5], rtol=1e-6)


def test_rare_ages_reach_the_weights():
    targets = torch.tensor([20.0] * 30 + [70.0])
    np.testing.assert_allclose(make("age", rare_ages=0.0).weights(targets, targets), 1)
    weights = make("age", rare_ages=1.0).weights(targets, targets)
    assert weights[-1] / weights[0] == pytest.approx(30, rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_augmentation_suits(task):
    strength = make(task).augmentation
    assert abs(strength.rotate) < 45
    for name in ("flip", "move", "light", "colour", "grey", "blur", "noise", "erase"):
        assert 0 <= getattr(strength, name) <= 1


def test_a_head_may_begin_at_the_marginal_answer():
    bias = make("gender").initial_bias(TARGETS["gender"])
    assert bias.softmax(0)[1].item() == pytest.approx((6 + 1) / (8 + 2))
    even = make("mask", class_balance=1.0, undersample=0.0).initial_bias(TARGETS["mask"].repeat(1000))
    assert even.softmax(0).tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    counts = make("mask", class_balance=0.0).initial_bias(TARGETS["mask"].repeat(1000))
    assert counts.softmax(0).tolist() == pytest.approx([10 / 14, 2 / 14, 2 / 14], abs=1e-3)


@pytest.mark.parametrize("kind", ["distribution", "l1", "mse"])
def test_an_age_may_begin_at_the_mean(kind):
    one = make("age", age_loss=kind)
    ages = torch.from_numpy(np.random.default_rng(0).uniform(30, 60, 500)).float()
    bias = one.initial_bias(ages)
    assert bias.shape == (one.num_logits,)
    assert one.predict(bias[None]).item() == pytest.approx(ages.mean().item(), abs=0.5)
