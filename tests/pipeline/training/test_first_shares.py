"""A network begins by predicting what its epochs show."""

import numpy as np
import pytest
from tiny import settings_of

from models.tasks import build_task
from pipeline.training.data import TrainingData, rows_of_epoch
from pipeline.training.start import Start, network_at_start

SEVEN = [0, 0, 0, 0, 0, 1, 2]
"""The photos of a person by mask: five worn right, one wrong, one not."""


def data_of(targets):
    rows = np.arange(len(targets))
    pixels = np.zeros((len(targets), 64, 48, 3), np.uint8)
    return TrainingData(pixels, np.array(targets, np.float32), rows, rows[:0], rows[:0])


def shares_at_start(task, targets, **given):
    settings = settings_of(task) | given
    one = build_task(task, settings)
    network = network_at_start(one, data_of(targets), settings, Start("none"))
    return network.backbone.get_classifier().bias.detach().softmax(0)


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ({}, [0.5, 0.25, 0.25]),
        ({"undersample": 1.0}, [1 / 3, 1 / 3, 1 / 3]),
        ({"undersample": 0.0}, [5 / 7, 1 / 7, 1 / 7]),
        ({"sampling": "balanced"}, [1 / 3, 1 / 3, 1 / 3]),
        ({"class_balance": 1.0}, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_a_mask_network_begins_at_the_shares_of_an_epoch(given, shares):
    assert shares_at_start("mask", SEVEN * 200, **given).tolist() == pytest.approx(shares, abs=2e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_where_an_epoch_shows_all_the_bias_is_that_of_all(seed):
    ages = np.random.default_rng(seed).integers(18, 90, 300).tolist()
    settings = settings_of("age")
    one, data = build_task("age", settings), data_of(ages)
    assert rows_of_epoch(one, data, settings, 3).tolist() == data.train.tolist()
    assert shares_at_start("gender", [0, 0, 0, 1] * 300)[1].item() == pytest.approx(0.25, abs=2e-3)
