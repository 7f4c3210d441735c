"""The line and everyone's residuals around it: what stands for a band of few people."""

import numpy as np
import pytest
from made_predictions import draw

from pipeline.combiner.pooled_residuals import PooledResiduals


def test_a_density_has_its_bands_mean_and_spread():
    rows, _ = draw(np.random.default_rng(1), (700, 700, 700), offset=(0, 0, 4.0))
    model = PooledResiduals(rows)
    density = model.density()
    assert density.sum(1) == pytest.approx(np.ones(3))
    for band, row in enumerate(density):
        inside = rows.predicted_age[rows.band == band]
        mean = row @ model.grid
        assert mean == pytest.approx(inside.mean(), abs=0.5), "with the offset of the oldest"
        assert np.sqrt(row @ (model.grid - mean) ** 2) == pytest.approx(inside.std(), rel=0.07)


def test_people_who_weigh_nothing_are_not_there():
    rows, _ = draw(np.random.default_rng(2), (60, 60, 30))
    model = PooledResiduals(rows)
    half = (np.arange(150) % 2).astype(float)
    moved = PooledResiduals(
        type(rows)(
            **{
                **vars(rows),
                "predicted_age": np.where(half[rows.person] > 0, rows.predicted_age, rows.predicted_age.mean()),
            }
        )
    )
    there = np.searchsorted(model.grid, moved.grid)
    np.testing.assert_allclose(model.density(half)[:, there], moved.density(half), atol=1e-9)


def test_an_offset_of_few_people_is_drawn_toward_the_line():
    rng = np.random.default_rng(2)
    errors = {"kept": [], "drawn": []}
    for _ in range(60):
        rows, _ = draw(rng, (60, 60, 12))
        line = PooledResiduals(rows).line()
        old = rows.band[rows.first] == 2
        truth = 6 + 0.85 * 60
        errors["drawn"].append((line[old].mean() - truth) ** 2)
        errors["kept"].append((rows.predicted_age[rows.band == 2].mean() - truth) ** 2)
    assert np.mean(errors["drawn"]) < 0.75 * np.mean(errors["kept"])
