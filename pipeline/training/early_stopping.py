"""Early stopping: of the averaged weights after each epoch, those with the best validation score are the model.

That score is then the best of several, so it flatters: it is shown with the caveat optimistic wherever it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class EarlyStopping:
    """Keeps the best epoch's weights, and says when `patience` epochs brought no better score; 0: never.

    `best` holds the score, the weights and the log's row of that epoch, None before the first; `since` counts the
    epochs after it.
    """

    def __init__(self, patience: int):
        self.patience, self.since = patience, 0
        self.best: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.since

    def see(self, score: float, row: int, weights: dict[str, Tensor]) -> None:
        """An epoch's score, its row in the log and its weights, which are copied if it is the best so far."""
        if self.best is None or score > self.best["score"]:
            copied = {name: value.detach().clone() for name, value in weights.items()}
            self.best, self.since = {"score": score, "row": row, "weights": copied}, 0
        else:
            self.since += 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"since": self.since, "best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.since, self.best = state["since"], state["best"]
