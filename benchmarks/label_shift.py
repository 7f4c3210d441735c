"""Label shift by simulation: what estimating the eval mix of ages recovers, and whether the forecast is true.

    python benchmarks/label_shift.py --draws 200 --jobs 2 > label_shift.json

A made-up world in the contest's proportions: ages from its list of people per age, answers
38 + 0.85 (age - 38) + N(0, 4) per person + N(0, 3) per photo, gender right for 97 % and mask for 99 % of
photos, seven photos a person. Eval people: the old are U(0.02, 0.40) of all, the young U(0.3, 0.6) of the
rest. Persons of eval photos are never shown to the code. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from models.labels import band  # noqa: E402
from pipeline.answers import Known  # noqa: E402
from pipeline.calibration import BANDWIDTH, Eval, calibrate, cross_fitted, expected_score  # noqa: E402
from pipeline.judging import MIXES  # noqa: E402
from pipeline.prior import em  # noqa: E402
from pipeline.scoring import macro_f1  # noqa: E402
from pipeline.thresholds import Answers, crossings  # noqa: E402

PER_AGE = (
    [192, 407, 267, 41, 58, 72, 62, 82, 44, 15, 25, 16, 17, 3, 7, 5, 13, 19, 8, 3, 14, 6]
    + [20, 7, 13, 18, 13, 27, 14, 10, 39, 31, 80, 63, 78, 64, 82, 100, 123, 106, 159, 85, 192]
)  # fmt: skip
AGES = np.repeat(np.arange(18, 61), PER_AGE)
WOMEN = np.array([732 / 1281, 817 / 1227, 109 / 192])
PHOTOS = 7
SCENARIOS = {
    "2700": {},
    "540": {"people": 540},
    "no shift": {"shift": False},
    "flat ages": {"flat": True},
    "five networks": {"networks": 5},
    "540, no shift": {"people": 540, "shift": False},
    "540, flat ages": {"people": 540, "flat": True},
    "540, five networks": {"people": 540, "networks": 5},
}


def world(rng, ages, networks=1, own=0.0):
    """Photos of people of these ages: (rows as Known, age answers (n, networks)).

    own: the part of each answer's variance, of person and of photo, that belongs to the network.
    """
    person = np.repeat(np.arange(len(ages)), PHOTOS)
    gender = (rng.random(len(ages)) < WOMEN[band(ages)]).astype(int)[person]
    n, age = len(person), ages[person].astype(float)
    mask = np.tile([0, 0, 0, 0, 0, 1, 2], len(ages))

    def noise():
        return rng.normal(0, 4, len(ages))[person] + rng.normal(0, 3, n)

    shared = np.sqrt(1 - own) * noise()
    answer = 38 + 0.85 * (age - 38) + shared
    answers = np.stack([answer + (np.sqrt(own) * noise() if own else 0) for _ in range(networks)], axis=1)
    said = np.where(rng.random(n) < 0.97, gender, 1 - gender)
    seen = np.where(rng.random(n) < 0.99, mask, (mask + rng.integers(1, 3, n)) % 3)
    bands = band(age)
    label = mask * 6 + gender * 3 + bands
    rows = Known(person, age, answers[:, 0], label, bands, gender, seen * 2 + said, len(ages), 5, 0)
    return rows, answers


def draw(seed, people=2700, eval_people=1800, shift=True, flat=False, networks=1):
    """One world: validation rows, eval answers without persons, eval rows (the truth), the eval mix."""
    rng = np.random.default_rng([seed, people, shift, flat, networks])
    own = 0.5 if networks > 1 else 0.0
    rows, _ = world(rng, rng.permutation(AGES)[:people], own=own)
    mix = np.bincount(band(AGES)) / len(AGES)
    if shift:
        old = rng.uniform(0.02, 0.40)
        young = rng.uniform(0.3, 0.6) * (1 - old)
        mix = np.array([young, 1 - old - young, old])
    count = np.diff(np.rint(np.cumsum(mix) * eval_people).astype(int), prepend=0)
    ages = [rng.choice(AGES[band(AGES) == b], k) for b, k in enumerate(count)]
    if flat:
        ages[1] = rng.integers(30, 60, count[1])
    truth, answers = world(rng, np.concatenate(ages), networks, own)
    eval = Eval(answers, np.repeat((truth.cell % 2)[:, None], networks, axis=1), float(PHOTOS))
    return rows, eval, truth, count / eval_people


EDGES = np.arange(20, 62, 2.5)


def binned_em(rows, eval):
    """EM on histograms of the validation answers, band x gender (Saerens et al. 2002): nothing pooled."""
    kind, size = rows.band * 2 + rows.gender, 2 * (len(EDGES) + 1)
    code = np.digitize(rows.answer, EDGES) * 2 + rows.cell % 2
    table = np.stack([np.bincount(code[kind == k], minlength=size) for k in range(6)]) + 1e-9
    seen = np.bincount((np.digitize(eval.answer, EDGES) * 2 + eval.gender).ravel(), minlength=size)
    return _bands(em(table / table.sum(1, keepdims=True), seen.astype(float)))


def corrected_em(rows, eval):
    """EM on calibrated chances of the bands (after Alexandari et al. 2020): a logistic fit with intercepts."""

    def features(answer):
        unit = (np.ravel(answer) - 40) / 15
        return np.stack([unit, unit**2, unit**3], axis=1)

    model = LogisticRegression(C=100.0, max_iter=500).fit(features(rows.answer), rows.band)
    bins = np.arange(0.25, 100, 0.5)
    likelihood = model.predict_proba(features(bins)).T / np.bincount(rows.band)[:, None]
    return em(likelihood, np.histogram(eval.answer, np.arange(0, 100.1, 0.5))[0].astype(float))


def density_ml(rows, eval, bandwidth=1.0):
    """Greatest likelihood on kernel densities of the answers of each band (after Moreo et al. 2024)."""
    edges = np.arange(0, 100.1, 0.5)
    bend = np.arange(-20, 21) * 0.5
    kernel = np.exp(-0.5 * (bend / bandwidth) ** 2)
    table = [np.convolve(np.histogram(rows.answer[rows.band == b], edges)[0], kernel, "same") for b in range(3)]
    table = np.stack(table) + 1e-9
    return em(table / table.sum(1, keepdims=True), np.histogram(eval.answer, edges)[0].astype(float))


def _bands(shares):
    return shares.reshape(3, 2).sum(1)


def one(seed, resamples, **scenario):
    """All figures of one draw."""
    rows, eval, truth, mix = draw(seed, **scenario)
    answer = eval.answer.mean(1)

    def score(thresholds):
        return macro_f1(truth.label, truth.cell * 3 + band(answer, thresholds))

    start = time.perf_counter()
    found = calibrate(rows, None, eval, bandwidth=None, draws=resamples, seed=seed)
    seconds = time.perf_counter() - start
    train = rows.counts / rows.people
    guess = found.estimate

    def given(shares, bandwidth=found.bandwidth):
        return score(calibrate(rows, shares, eval, bandwidth=bandwidth, draws=1).thresholds)

    rivals = {"binned": binned_em(rows, eval), "corrected": corrected_em(rows, eval), "density": density_ml(rows, eval)}
    plain = Answers(rows.answer, rows.label, rows.cell).surface((rivals["binned"] / train)[rows.band])
    cross = cross_fitted(found.rows, found.mixes[:MIXES], found.bandwidth, found.pull, seed)
    centre = macro_f1(found.rows.label, cross, found.photo_weights)
    low, high = expected_score(found, eval.people, centre, seed=seed)
    spread = np.quantile(_sum(guess.draws), [0.05, 0.95], axis=0)
    return {
        "mix": mix,
        "score": {
            "plain 30/60": score((30, 60)),
            "best possible": Answers(answer, truth.label, truth.cell).surface().values.max(),
            "true mix": given(mix),
            "estimate": score(found.thresholds),
            "train mix": given(train),
            "binned EM, unsmoothed": score(plain.best(crossings(rows.age, rows.answer))),
        },
        "share": {"estimate": guess.mix, "before drawing in": guess.raw, **rivals},
        "covers mix": (spread[0] <= mix) & (mix <= spread[1]),
        "unlike": guess.unlike,
        "expected": [centre, low, high],
        "bandwidth": found.bandwidth,
        "seconds": seconds,
    }


def _sum(shares):
    return shares.reshape(len(shares), 3, 2).sum(2)


def interval(values):
    """Mean and 95 % interval of the mean over draws."""
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(v), 4) for v in (values.mean(), values.mean() - half, values.mean() + half)]


def gather(results):
    """The figures of a scenario over its draws."""
    scores = {name: np.array([r["score"][name] for r in results]) for name in results[0]["score"]}
    mixes = np.array([r["mix"] for r in results])
    plain = scores["plain 30/60"].mean()
    thirds = np.array_split(np.argsort(mixes[:, 2], kind="stable"), 3)
    errors = {}
    for name in results[0]["share"]:
        error = np.abs(np.array([r["share"][name] for r in results]) - mixes).max(1)
        errors[name] = {
            "mean": round(float(error.mean()), 4),
            "by third of old share": [round(float(error[t].mean()), 4) for t in thirds],
        }
    expected = np.array([r["expected"] for r in results])
    reached = scores["estimate"]
    return {
        "draws": len(results),
        "macro_f1": {name: round(float(v.mean()), 4) for name, v in scores.items()},
        "recovered of what the true mix recovers": round(
            float((reached.mean() - plain) / (scores["true mix"].mean() - plain)), 4
        ),
        "true mix of the best possible": round(
            float((scores["true mix"].mean() - plain) / (scores["best possible"].mean() - plain)), 4
        ),
        "estimate minus train mix": interval(reached - scores["train mix"]),
        "estimate minus binned EM, unsmoothed": interval(reached - scores["binned EM, unsmoothed"]),
        "largest share error": errors,
        "mix covered at 90 %": np.mean([r["covers mix"] for r in results], axis=0).round(3).tolist(),
        "warned": float(np.mean([r["unlike"] for r in results])),
        "expected score": {
            "covered at 90 %": round(float(np.mean((expected[:, 1] <= reached) & (reached <= expected[:, 2]))), 3),
            "signed error": interval(expected[:, 0] - reached),
            "mean width": round(float(np.mean(expected[:, 2] - expected[:, 1])), 4),
        },
        "bandwidths": {
            str(h): int(n)
            for h, n in zip(*np.unique([r["bandwidth"] for r in results], return_counts=True), strict=True)
        },
        "seconds of a calibration": round(float(np.median([r["seconds"] for r in results])), 2),
    }


def done(path):
    """The draws kept in a file of JSON lines: {(scenario, seed): figures}."""
    lines = path.read_text().splitlines() if path and path.is_file() else []
    return {(line["scenario"], line["seed"]): line["figures"] for line in map(json.loads, lines)}


def plain(value):
    """Arrays and numpy numbers as JSON knows them."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def main() -> None:
    """Run the scenarios, ten draws of each in turn, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=100, help="resamples inside each calibration")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--keep", type=Path, help="file that keeps each draw: what is in it is not run again")
    settings = parser.parse_args()
    kept = done(settings.keep)
    with Parallel(settings.jobs) as parallel:
        for start in range(0, settings.draws, 10):
            for name in settings.scenarios:
                seeds = [s for s in range(start, min(start + 10, settings.draws)) if (name, s) not in kept]
                found = parallel(delayed(one)(seed, settings.resamples, **SCENARIOS[name]) for seed in seeds)
                lines = [
                    json.dumps({"scenario": name, "seed": seed, "figures": figures}, default=plain)
                    for seed, figures in zip(seeds, found, strict=True)
                ]
                if settings.keep:
                    with settings.keep.open("a") as file:
                        file.writelines(line + "\n" for line in lines)
                kept |= {(name, seed): json.loads(line)["figures"] for seed, line in zip(seeds, lines, strict=True)}
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}; {settings.jobs} processes of one thread",
        "resamples": settings.resamples,
        "usual bandwidth": BANDWIDTH,
        "scenarios": {
            name: gather([kept[name, seed] for seed in range(settings.draws)]) for name in settings.scenarios
        },
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
