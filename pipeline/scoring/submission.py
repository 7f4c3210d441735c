"""A submission beside the truth: everything that is known of it then, as a dictionary for JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.labels import BANDS, GENDERS, LABELS, MASKS, NAMES, decode, fused
from pipeline.scoring.bootstrap import interval
from pipeline.scoring.metrics import confusion, errors, f1_of, macro_f1

if TYPE_CHECKING:
    import pandas as pd


SCORED = "scored.csv"
"""The truth beside the submission, photo by photo, as score writes it: what others may show of eval photos."""


def evaluate_submission(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    photos_per_person: float = 7.0,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every metric of the score stage, ready for JSON.

    truth: photo, label, and where known person, age (years); predictions: photo, label and, where known,
    age_years. Each photo stands once in each. Photos whose truth is blank are counted, not scored.
    photos_per_person: of the train people, used where persons are unknown. Raises UserError when a photo is
    scored twice, or not at all.
    """
    known, rows, y, p, person = _joined(truth, predictions)

    def interval_of(labels: NDArray[np.int64]) -> list[float]:
        return list(interval(y, labels, person, photos_per_person, draws=draws, seed=seed))

    full = confusion(y, p, LABELS)
    assert full.sum() == len(known), "every photo is scored exactly once"
    f1 = f1_of(np.diag(full), full.sum(0), full.sum(1))
    present = int((full.sum(1) > 0).sum())
    attributes = {"mask": MASKS, "gender": GENDERS, "band": BANDS}
    result: dict[str, Any] = {
        "photos": len(known),
        "people": len(np.unique(person)) if person is not None else None,
        "without_truth": len(truth) - len(known),
        "macro_f1": macro_f1(y, p),
        "interval": interval_of(p),
        "labels_present": present,
        "accuracy": float((y == p).mean()),
        "errors": errors(y, p),
        "f1_of_label": {NAMES[i]: float(f1[i]) for i in range(LABELS) if full[i].sum()},
        "confusion": full.tolist(),
    }
    if present < LABELS:
        result["macro_f1_18"] = float(f1.sum() / LABELS)
    for (name, words), a, b in zip(attributes.items(), decode(y), decode(p), strict=True):
        result[f"accuracy_{name}"] = float((a == b).mean())
        result[f"confusion_{name}"] = confusion(a, b, len(words)).tolist()
    if "age_years" in rows:
        result |= _of_ages(rows, known, y, p, interval_of)
    return result


def _joined(
    truth: pd.DataFrame, predictions: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.int64], NDArray[np.int64], NDArray[np.str_] | None]:
    """The photos whose truth is known, their predictions, both as labels (n,), and the persons (n,) if known."""
    import pandas as pd

    for name, table in (("truth", truth), ("predictions", predictions)):
        twice = table["photo"][table["photo"].duplicated()]
        if len(twice):
            raise UserError(f"the {name} name the photo {twice.iloc[0]} more than once: score it once")
    known = truth[truth["label"].notna()]
    if not len(known):
        raise UserError("the truth names no label of any photo: there is nothing to score")
    missing = ~known["photo"].isin(predictions["photo"])
    if missing.any():
        raise UserError(f"{missing.sum()} photos have no prediction, the first is {known['photo'][missing].iloc[0]}")
    rows = predictions.set_index("photo").loc[known["photo"]]
    if rows["label"].isna().any():
        raise UserError(f"the prediction of {rows.index[rows['label'].isna()][0]} is blank")
    y, p = known["label"].to_numpy(np.int64), rows["label"].to_numpy(np.int64)
    for name, labels in (("truth", y), ("predictions", p)):
        if labels.min() < 0 or labels.max() >= LABELS:
            raise UserError(f"the {name} hold a label outside 0 to {LABELS - 1}")
    person = known["person"] if "person" in known else pd.Series(pd.NA, index=known.index)
    person = person.astype(str).to_numpy() if person.notna().all() else None
    return known, rows, y, p, person


def _of_ages(
    rows: pd.DataFrame,
    known: pd.DataFrame,
    y: NDArray[np.int64],
    p: NDArray[np.int64],
    interval_of: Callable[[NDArray[np.int64]], list[float]],
) -> dict[str, Any]:
    """The mean age error, and what the score would be with the bands of the predicted ages at 30 and 60."""
    result: dict[str, Any] = {}
    years = rows["age_years"].to_numpy(np.float64)
    if "age" in known:
        error = np.abs(years - known["age"].to_numpy(np.float64, na_value=np.nan))
        result["age_error"] = float(np.nanmean(error)) if np.isfinite(error).any() else None
    if np.isfinite(years).all():
        plain = fused(p // len(BANDS), years)
        result["macro_f1_30_60"] = macro_f1(y, plain)
        result["interval_30_60"] = interval_of(plain)
    return result
