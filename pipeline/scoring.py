"""Macro-F1, errors by attribute, and intervals that resample people.

Macro-F1 here is `f1_score(y, p, labels=np.unique(y), average="macro", zero_division=0)` of scikit-learn:
the mean over the labels that occur in the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import UserError
from models.labels import BANDS, GENDERS, LABELS, MASKS, NAMES, band, decode, encode

if TYPE_CHECKING:
    import pandas as pd

ATTRIBUTES = ("mask_state", "gender", "age")
"""The three parts of a label, by the names of the table of errors, in the order of `decode`."""
ERRORS = ("correct", "age", "mask_state", "gender", "gender,age", "mask_state,age", "mask_state,gender",
          "mask_state,gender,age")  # fmt: skip
"""The rows of the table of errors: which parts of the label are wrong."""


def macro_f1(truth: ArrayLike, answer: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Macro-F1 over the labels that occur in the truth.

    truth, answer: (n,) whole numbers from 0; weights: (n,) of at least 0, all one when left out; a label whose
    photos all weigh 0 does not occur.
    Raises ValueError when there is no photo or the lengths differ.
    """
    truth, answer = _pair(truth, answer)
    classes = int(max(truth.max(), answer.max())) + 1
    weights = None if weights is None else np.asarray(weights, np.float64)
    true = np.bincount(truth, weights, minlength=classes)
    predicted = np.bincount(answer, weights, minlength=classes)
    right = truth == answer
    hit = np.bincount(truth[right], None if weights is None else weights[right], minlength=classes)
    return float(f1_of(hit, predicted, true)[true > 0].mean())


def confusion(truth: ArrayLike, answer: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: rows are the truth, columns the answer; both (n,) whole numbers."""
    truth, answer = np.asarray(truth, np.int64), np.asarray(answer, np.int64)
    if truth.size and not (min(truth.min(), answer.min()) >= 0 and max(truth.max(), answer.max()) < classes):
        raise ValueError(f"a class is not between 0 and {classes - 1}")
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def interval(
    truth: ArrayLike,
    answer: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """The percentile interval of macro-F1 when people are drawn again (Efron 1979).

    truth, answer: (n,) labels of the 18; person: (n,) any hashable, or None where nobody is named. People
    are drawn with replacement inside each gender x band, so no draw loses an age band. Photos without
    persons count as photos / photos_per_person: so many photos are drawn inside each gender x band.
    weights: (n,) of the photos, only where persons are named.
    """
    drawn = resample(truth, answer, person, photos_per_person, draws, seed, weights)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(
    truth: ArrayLike,
    answer: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """(draws,) macro-F1 of resampled people; the arguments are those of `interval`."""
    return resample_together(truth, np.asarray(answer)[None], person, photos_per_person, draws, seed, weights)[:, 0]


def resample_together(
    truth: ArrayLike,
    answers: ArrayLike,
    person: ArrayLike | None = None,
    photos_per_person: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """(draws, K) macro-F1 of K systems on the same resampled people, so that differences in a draw are paired.

    answers: (K, n) labels; the other arguments are those of `interval`.
    """
    answers = np.asarray(answers, np.int64)
    truth = _pair(truth, answers[0])[0]
    stratum = truth % (LABELS // len(MASKS))
    if person is None:
        # photos with the same truth and answers are alike: one unit for each such row, drawn by its count
        rows, count = np.unique(np.column_stack([truth, *answers]), axis=0, return_counts=True)
        truth, answers, unit = rows[:, 0], rows[:, 1:].T, np.arange(len(rows))
        unit_stratum = truth % (LABELS // len(MASKS))
        divide = photos_per_person
    else:
        _, first, unit = np.unique(np.asarray(person), return_index=True, return_inverse=True)
        unit_stratum, count, divide = stratum[first], np.ones(len(first), np.int64), 1.0
    weights = None if weights is None or person is None else np.asarray(weights, np.float64)
    tables = [counts_of(unit, truth * LABELS + answer, len(count), weights) for answer in answers]
    units = np.concatenate([*(table[:, : 2 * LABELS] for table in tables), tables[0][:, 2 * LABELS :]], axis=1)
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, units.shape[1]))
    for s in np.unique(unit_stratum):
        rows = np.flatnonzero(unit_stratum == s)
        size = max(1, round(count[rows].sum() / divide))
        for start in range(0, draws, 250):
            stop = min(start + 250, draws)
            times = _times(rng, count[rows], size, stop - start)
            total[start:stop] += times @ units[rows]
    true = total[:, None, -LABELS:]
    hit, predicted = total[:, :-LABELS].reshape(draws, len(answers), 2, LABELS).transpose(2, 0, 1, 3)
    return f1_of(hit, predicted, true).sum(2) / (true > 0).sum(2)


def score(
    truth: pd.DataFrame,
    answers: pd.DataFrame,
    photos_per_person: float = 7.0,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of the score stage, ready for JSON.

    truth: photo, label, and where known person, age (years); answers: photo, label and, where known,
    age_years. Each photo stands once in each. Photos whose truth is blank are counted, not scored.
    photos_per_person: the train figure, used where persons are unknown. Raises UserError when a photo is
    scored twice, or not at all.
    """
    import pandas as pd

    for name, table in (("truth", truth), ("answers", answers)):
        twice = table["photo"][table["photo"].duplicated()]
        if len(twice):
            raise UserError(f"the {name} name the photo {twice.iloc[0]} more than once: score it once")
    known = truth[truth["label"].notna()]
    if not len(known):
        raise UserError("the truth names no label of any photo: there is nothing to score")
    missing = ~known["photo"].isin(answers["photo"])
    if missing.any():
        raise UserError(f"{missing.sum()} photos have no answer, the first is {known['photo'][missing].iloc[0]}")
    rows = answers.set_index("photo").loc[known["photo"]]
    if rows["label"].isna().any():
        raise UserError(f"the answer of {rows.index[rows['label'].isna()][0]} is blank")
    y, p = known["label"].to_numpy(np.int64), rows["label"].to_numpy(np.int64)
    for name, labels in (("truth", y), ("answers", p)):
        if labels.min() < 0 or labels.max() >= LABELS:
            raise UserError(f"the {name} hold a label outside 0 to {LABELS - 1}")
    person = known["person"] if "person" in known else pd.Series(pd.NA, index=known.index)
    person = person.astype(str).to_numpy() if person.notna().all() else None
    full = confusion(y, p, LABELS)
    assert full.sum() == len(known), "every photo is scored exactly once"
    f1 = f1_of(np.diag(full), full.sum(0), full.sum(1))
    present = int((full.sum(1) > 0).sum())
    parts = {"mask": MASKS, "gender": GENDERS, "band": BANDS}
    result: dict[str, Any] = {
        "photos": len(known),
        "people": len(np.unique(person)) if person is not None else None,
        "without_truth": len(truth) - len(known),
        "macro_f1": macro_f1(y, p),
        "interval": list(interval(y, p, person, photos_per_person, draws=draws, seed=seed)),
        "labels_present": present,
        "accuracy": float((y == p).mean()),
        "errors": errors(y, p),
        "f1_of_label": {NAMES[i]: float(f1[i]) for i in range(LABELS) if full[i].sum()},
        "confusion": full.tolist(),
    }
    if present < LABELS:
        result["macro_f1_18"] = float(f1.sum() / LABELS)
    for (name, words), a, b in zip(parts.items(), decode(y), decode(p), strict=True):
        result[f"accuracy_{name}"] = float((a == b).mean())
        result[f"confusion_{name}"] = confusion(a, b, len(words)).tolist()
    if "age_years" in rows:
        years = rows["age_years"].to_numpy(np.float64)
        if "age" in known:
            error = np.abs(years - known["age"].to_numpy(np.float64, na_value=np.nan))
            result["age_error"] = float(np.nanmean(error)) if np.isfinite(error).any() else None
        if np.isfinite(years).all():
            mask, gender, _ = decode(p)
            plain = encode(mask, gender, band(years))
            result["macro_f1_30_60"] = macro_f1(y, plain)
            result["interval_30_60"] = list(interval(y, plain, person, photos_per_person, draws=draws, seed=seed))
    return result


def errors(truth: ArrayLike, answer: ArrayLike) -> dict[str, int]:
    """How many photos have which parts of their label wrong; (n,) labels; the counts sum to n."""
    wrong = [a != b for a, b in zip(decode(truth), decode(answer), strict=True)]
    code = wrong[0] * 4 + wrong[1] * 2 + wrong[2] * 1
    count = np.bincount(code, minlength=8)
    names = [",".join(n for n, bit in zip(ATTRIBUTES, (4, 2, 1), strict=True) if c & bit) for c in range(8)]
    by_name = dict(zip([n or "correct" for n in names], count.tolist(), strict=True))
    table = {name: by_name[name] for name in ERRORS}
    assert sum(table.values()) == np.asarray(truth).size, "every photo is counted exactly once"
    return table


def report(result: dict[str, Any]) -> str:
    """The figures of `score` as a few lines of plain text."""
    low, high = result["interval"]
    of = f"{result['photos']} photos" + (f" of {result['people']} people" if result["people"] else "")
    lines = [f"macro-F1 {result['macro_f1']:.4f}  (95 % interval {low:.3f} to {high:.3f}; {of})"]
    if "macro_f1_18" in result:
        lines[0] += f"; {result['labels_present']} of {LABELS} labels occur, over all 18: {result['macro_f1_18']:.4f}"
    if "macro_f1_30_60" in result:
        lines.append(f"  with age thresholds 30 and 60 it would be {result['macro_f1_30_60']:.4f}")
    parts = ", ".join(f"{name} {result[f'accuracy_{name}']:.4f}" for name in ("mask", "gender", "band"))
    lines.append(f"accuracy {result['accuracy']:.4f}  ({parts})")
    if result.get("age_error") is not None:
        lines.append(f"age error {result['age_error']:.2f} years on average")
    lines += ["", "photos wrong by attribute"]
    lines += [
        f"  {name:<22}{count:>8}{count / result['photos']:>9.2%}"
        for name, count in result["errors"].items()
        if count or "," not in name
    ]
    for name, words in (("mask", MASKS), ("gender", GENDERS), ("band", BANDS)):
        lines += ["", f"{name}: rows are the truth, columns the answer"]
        lines.append(" " * 14 + "".join(f"{word:>14}" for word in words))
        lines += [
            f"  {word:<12}" + "".join(f"{count:>14}" for count in row)
            for word, row in zip(words, result[f"confusion_{name}"], strict=True)
        ]
    return "\n".join(lines)


def f1_of(hit: NDArray, predicted: NDArray, true: NDArray) -> NDArray[np.float64]:
    both = predicted + true
    return np.divide(2.0 * hit, both, out=np.zeros(np.shape(both)), where=both > 0)


def _times(rng: np.random.Generator, count: NDArray, size: int, draws: int) -> NDArray[np.float64]:
    """(draws, units) how often each unit is among `size` drawn with replacement in proportion to count."""
    if (count == 1).all():  # numbering what is drawn is several times faster than a multinomial
        drawn = rng.integers(0, len(count), (draws, size)) + np.arange(draws)[:, None] * len(count)
        table = np.bincount(drawn.ravel(), minlength=draws * len(count)).reshape(draws, -1)
    else:
        table = rng.multinomial(size, count / count.sum(), size=draws)
    return table.astype(np.float64)


def counts_of(unit: NDArray, pair: NDArray, units: int, weights: NDArray | None = None) -> NDArray[np.float64]:
    """(units, 3 * 18): per unit its hits, its answers and its truths, by label."""
    truth, answer = pair // LABELS, pair % LABELS
    right = truth == answer
    table = [
        np.bincount(
            unit[keep] * LABELS + label[keep],
            None if weights is None else weights[keep],
            minlength=units * LABELS,
        ).reshape(units, LABELS)
        for keep, label in ((right, truth), (slice(None), answer), (slice(None), truth))
    ]
    return np.concatenate(table, axis=1).astype(np.float64)


def _pair(truth: ArrayLike, answer: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    truth, answer = np.asarray(truth, np.int64), np.asarray(answer, np.int64)
    if truth.ndim != 1 or truth.shape != answer.shape or not truth.size:
        raise ValueError(f"truth and answer are lists of the same length, not {truth.shape} and {answer.shape}")
    return truth, answer
