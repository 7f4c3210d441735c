"""The rivals keep the specialists' contract; what is theirs alone is here."""

import numpy as np
import pytest
import torch

from models import backbone, losses
from models.labels import BANDS, LABELS, band, decode, encode
from models.tasks import build_task
from pipeline.run.presets import PRESETS, columns_of

LABELLED = np.array(
    [[mask, gender, age] for mask in range(3) for gender in range(2) for age in (18, 29, 30, 45, 60, 100)], np.float32
)
"""Photos of every label: mask, gender, age."""
HEADS = [
    {"age_head": head, "head_balance": balance, "age_loss": loss}
    for balance in ("uncertainty", "sum")
    for head, loss in (("bands", "distribution"), ("years", "distribution"), ("years", "l1"), ("years", "mse"))
]
KINDS = [("joint", {"loss": "cross_entropy"}), ("joint", {"loss": "focal"}), *(("multihead", head) for head in HEADS)]
every = pytest.mark.parametrize(
    ("task", "given"), KINDS, ids=lambda v: v if isinstance(v, str) else "-".join(v.values())
)


def make(task, **settings):
    return build_task(task, PRESETS["small"][task] | {"smoothing": 0.0} | settings)


def logits_of(one, n, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (n, one.num_logits + one.learned))).float()


@every
def test_contract(task, given):
    one = make(task, **given)
    assert columns_of(task) == ("mask", "gender", "age")
    targets = torch.from_numpy(one.targets(LABELLED))
    weights = one.weights(targets, targets)
    assert weights.shape == (len(LABELLED),)
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    out = logits_of(one, len(LABELLED)).requires_grad_()
    loss = one.loss(out, targets, weights)
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(out.grad).all()
    assert (out.grad[:, : one.num_logits].abs().sum(1) > 0).all()
    predictions = one.predict(out.detach())
    assert (predictions.shape, predictions.dtype) == ((len(LABELLED), len(one.columns)), torch.float32)
    truth, classes = one.true_class(targets.numpy()), one.predicted_class(predictions.numpy())
    assert truth.tolist() == encode(LABELLED[:, 0], LABELLED[:, 1], band(LABELLED[:, 2])).tolist()
    assert set(classes.tolist()) <= set(range(LABELS))
    assert one.initial_bias(targets).shape == (one.num_logits,)


@every
def test_following_the_gradient_finds_the_labels(task, given):
    one = make(task, age_spread=0.5, **given)
    targets = torch.from_numpy(one.targets(LABELLED))
    out = torch.zeros(len(targets), one.num_logits + one.learned, requires_grad=True)
    optimizer = torch.optim.Adam([out], lr=0.3)
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 0.3 * (1 - step / 400)
        optimizer.zero_grad()
        one.loss(out, targets, torch.ones(len(targets))).backward()
        optimizer.step()
    found = one.predicted_class(one.predict(out.detach()).numpy())
    # An age at a band's very edge may be answered a hair below it.
    sure = ~np.isin(LABELLED[:, 2], (30, 60)) | (given.get("age_head") == "bands") | (task == "joint")
    assert found[sure].tolist() == one.true_class(targets.numpy())[sure].tolist()
    metrics = one.metrics(one.predict(out.detach()).numpy(), targets.numpy())
    if "age_years" in one.columns:
        assert metrics["mean_absolute_error"] < 1
    else:
        assert metrics == {}


@every
def test_the_initial_bias_predicts_how_common_each_class_is(task, given):
    one, rng = make(task, **given), np.random.default_rng(0)
    rows = LABELLED[rng.choice(len(LABELLED), 500, p=np.arange(1, 37) / np.arange(1, 37).sum())]
    targets = torch.from_numpy(one.targets(rows))
    bias = torch.cat([one.initial_bias(targets), torch.zeros(one.learned)])
    predicted = dict(zip(one.columns, one.predict(bias[None])[0].tolist(), strict=True))
    shares = {"gender_female": rows[:, 1].mean(), "age_years": rows[:, 2].mean()}
    shares |= {f"band_{b}": (band(rows[:, 2]) == b).mean() for b in range(len(BANDS))}
    shares |= {f"label_{k:02d}": (one.true_class(targets.numpy()) == k).mean() for k in range(LABELS)}
    for column, value in predicted.items():
        if column in shares:
            assert value == pytest.approx(shares[column], abs=2.5 if column == "age_years" else 0.01)


def test_the_heads_are_the_specialists_on_slices():
    one, settings = make("multihead", head_balance="sum"), PRESETS["small"]["multihead"]
    targets, out = torch.from_numpy(one.targets(LABELLED)), logits_of(one, len(LABELLED))
    weights = torch.rand(len(LABELLED))
    parts = out.split([3, 2, 101], 1)
    alone = [
        build_task(task, PRESETS["small"][task] | {"smoothing": 0.0}).loss(part, targets[:, k], weights)
        for k, (task, part) in enumerate(zip(("mask", "gender", "age"), parts, strict=True))
    ]
    assert one.loss(out, targets, weights).item() == pytest.approx(sum(alone).item(), rel=1e-6)
    heavier = make("multihead", head_balance="sum", age_weight=1.2)
    expected = (alone[0] + alone[1] + 1.2 * alone[2]).item()
    assert heavier.loss(out, targets, weights).item() == pytest.approx(expected, rel=1e-6)
    assert settings.head_balance == "uncertainty"


def test_what_uncertainty_learns_stands_behind_the_outputs():
    one = make("multihead")
    targets, out = torch.from_numpy(one.targets(LABELLED)), logits_of(one, len(LABELLED))
    out[:, one.num_logits :] = torch.tensor([0.3, -0.2, 1.0])
    plain = make("multihead", head_balance="sum")
    ones = torch.ones(len(LABELLED))
    each = [
        h.loss(o, targets[:, k], ones) for k, (h, o) in enumerate(zip(plain.heads, plain._slices(out), strict=True))
    ]
    expected = losses.uncertainty_weighted(torch.stack(each), out[0, one.num_logits :], [False] * 3).sum()
    assert one.loss(out, targets, ones).item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(one.predict(out), plain.predict(out[:, : plain.num_logits]))


def test_a_heads_weight_holds_at_the_variances_that_are_learned():
    """At the log-variances that are best for the losses, a head of weight 10 pulls ten times as hard."""
    targets = torch.from_numpy(LABELLED)
    norms = {}
    for weight in (1.0, 10.0):
        one = make("multihead", age_weight=weight)
        out = logits_of(one, len(LABELLED)).requires_grad_()
        slices = zip(one.heads, one._slices(out), strict=True)
        each = [h.loss(o, targets[:, k], torch.ones(len(targets))).item() for k, (h, o) in enumerate(slices)]
        with torch.no_grad():
            out[:, one.num_logits :] = torch.log(2 * torch.tensor(each))
        one.loss(out, targets, torch.ones(len(targets))).backward()
        norms[weight] = [piece.norm().item() for piece in one._slices(out.grad)]
    assert norms[10.0][2] == pytest.approx(10 * norms[1.0][2], rel=1e-5)
    assert norms[10.0][:2] == pytest.approx(norms[1.0][:2], rel=1e-5)


def test_a_network_learns_its_log_variances_with_its_weights():
    settings = PRESETS["small"]["multihead"] | {
        "backbone": "test_convnext", "backbone_options": {}, "height": 64, "width": 48,
    }  # fmt: skip
    one = build_task("multihead", settings)
    network = backbone.build(settings, one.num_logits, learned=one.learned)
    assert "backbone.learned" in network.state_dict()
    photos = torch.randint(0, 255, (2, 3, 64, 48), dtype=torch.uint8)
    targets = torch.from_numpy(one.targets(LABELLED[[0, -1]]))
    optimizer = torch.optim.Adam([network.backbone.learned], lr=0.2)
    out = network(photos)
    assert out.shape == (2, one.num_logits + 3)
    assert (out[:, one.num_logits :] == 0).all()
    for _ in range(120):
        optimizer.zero_grad()
        one.loss(network(photos), targets, torch.ones(2)).backward()
        optimizer.step()
    plain = make("multihead", head_balance="sum")
    with torch.no_grad():
        slices = plain._slices(network(photos))
        each = torch.stack(
            [h.loss(o, targets[:, k], torch.ones(2)) for k, (h, o) in enumerate(zip(plain.heads, slices, strict=True))]
        )
    # Kendall's optimum of a classification: the variance is twice the loss
    torch.testing.assert_close(network.backbone.learned.exp(), 2 * each, rtol=0.15, atol=0.02)


def test_the_joint_network_learns_the_18_labels():
    mask, gender, bands = decode(make("joint").targets(LABELLED))
    assert mask.tolist() == LABELLED[:, 0].tolist()
    assert gender.tolist() == LABELLED[:, 1].tolist()
    assert bands.tolist() == band(LABELLED[:, 2]).tolist()


@every
def test_gradcheck(task, given):
    one = make(task, **given)
    rows = np.arange(0, len(LABELLED), 5)
    targets = torch.from_numpy(one.targets(LABELLED[rows])).double()
    logits = logits_of(one, len(rows)).double().requires_grad_()
    weights = torch.linspace(0.5, 1.5, len(rows), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: one.loss(z, targets, weights), logits)
