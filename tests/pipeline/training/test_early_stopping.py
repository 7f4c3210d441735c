"""Early stopping by itself: which epoch is kept, and when patience runs out."""

import pytest
import torch

from pipeline.training.early_stopping import EarlyStopping


def after(scores, patience):
    """What has been seen by the end of its patience, and after how many epochs that was."""
    early = EarlyStopping(patience)
    weights = {"w": torch.zeros(1)}
    for row, score in enumerate(scores):
        weights["w"].fill_(row)  # in place, as averaged weights change
        early.see(score, row, weights)
        if early.over:
            return early, row + 1
    return early, len(scores)


@pytest.mark.parametrize(
    ("scores", "patience", "best", "epochs"),
    [
        ([0.3, 0.5, 0.4, 0.5, 0.6], 2, 1, 4),  # no better twice: as good is not better
        ([0.3, 0.5, 0.4, 0.6, 0.5], 2, 3, 5),
        ([0.5, 0.4], 1, 0, 2),
        ([0.1, 0.2, 0.3], 1, 2, 3),
        ([0.0, 0.0, 0.0, 0.0], 3, 0, 4),
    ],
)
def test_the_best_epoch_is_kept_until_patience_runs_out(scores, patience, best, epochs):
    early, seen = after(scores, patience)
    assert seen == epochs
    assert early.best["row"] == best
    assert early.best["score"] == scores[best]
    assert early.best["weights"]["w"] == best
    assert early.over == (early.since >= patience)


def test_without_patience_it_is_never_over():
    early, _ = after([0.5] + [0.1] * 50, 0)
    assert not early.over


def test_it_goes_on_from_its_state():
    early, _ = after([0.3, 0.5, 0.4], 2)
    again = EarlyStopping(2)
    again.load(early.state())
    for one in (early, again):
        one.see(0.45, 3, {"w": torch.ones(1)})
        assert one.over
        assert one.best["row"] == 1
