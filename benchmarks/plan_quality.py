"""What the plan for the machine costs in quality: a preset's specialists with it and without, several seeds.

    python benchmarks/plan_quality.py --preset lite --data data/drawn ../shared/faces --seeds 3

With the plan a network trains as machine.py has it, without it in float32 with its channels first, on timm's layers.
Both are calibrated
for the age mix of the train people, so that nothing but training differs. The difference is paired by seed; its
interval resamples people, the same ones for both. `--length 0.5` trains half as long. Runs stay in --runs: the same
command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.measures import hardware, versions
from pipeline.comparison import jobs
from pipeline.comparison.outcomes import person_of
from pipeline.dataset.photos import read_data_set
from pipeline.dataset.truth import read_truth
from pipeline.run.presets import PRESETS, TASKS
from pipeline.runtime import store
from pipeline.scoring.bootstrap import resample_together
from pipeline.scoring.metrics import macro_f1

PLANS = {"on": (), "off": ("--precision", "float32", "--channels-last", "no", "--layers", "timm")}


def commands(run: Path, data: Path, preset: str, seed: int, plan: str, length: float) -> tuple[tuple[str, ...], ...]:
    """All stages of a run, one after the other."""
    where = ("--run", str(run), "--data", str(data), "--preset", preset)
    trainings = [
        ("train", task, *where, "--seed", str(seed), "--threads", "1", *PLANS[plan],
         "--epochs", str(PRESETS[preset][task].epochs * length))
        for task in TASKS
    ]  # fmt: skip
    after = [("predict", *where, "--threads", "1", "--engine", "torch"), ("calibrate", *where, "--prior", "train")]
    return (*trainings, *after, ("submit", *where))


def compare(data: Path, preset: str, seeds: int, length: float, folder: Path, at_once: int) -> dict[str, object]:
    """Macro-F1 with and without the plan on a data set."""
    found = read_data_set(data)
    runs = {(plan, seed): folder / f"{found.name}-{preset}-{plan}-{seed}" for seed in range(seeds) for plan in PLANS}
    todo = [
        jobs.Job(run.name, commands(run, data, preset, seed, plan, length), run.with_suffix(".log"))
        for (plan, seed), run in runs.items()
    ]
    jobs.run(todo, at_once, "plan")
    truth = read_truth(data)
    labels = np.stack([store.read_csv(run / "submission.csv")["ans"].to_numpy(np.int64) for run in runs.values()])
    per_person = len(found.train) / found.train["person"].nunique()
    drawn = resample_together(truth["label"], labels, person_of(truth), per_person)
    on, off = ([i for i, (plan, _) in enumerate(runs) if plan == name] for name in PLANS)
    scores = [macro_f1(truth["label"], one) for one in labels]
    differences = [scores[a] - scores[b] for a, b in zip(on, off, strict=True)]
    spread = drawn[:, on].mean(1) - drawn[:, off].mean(1)
    return {
        "eval photos": len(truth),
        "on": [scores[i] for i in on],
        "off": [scores[i] for i in off],
        "difference": float(np.mean(differences)),
        "95 % by person": np.quantile(spread, [0.025, 0.975]).tolist(),
        "95 % by seed": (np.mean(differences) + np.array([-1, 1]) * _error(differences)).tolist(),
    }


def _error(differences: list[float]) -> float:
    """Half a 95 % interval of their mean, by Student's t."""
    from scipy import stats

    n = len(differences)
    return float(stats.t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--length", type=float, default=1.0, help="share of the preset's epochs")
    parser.add_argument("--runs", type=Path, default=Path("runs/plan"))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    given = parser.parse_args()
    found = {
        str(data): compare(data.resolve(), given.preset, given.seeds, given.length, given.runs, given.jobs)
        for data in given.data
    }
    print(json.dumps({"hardware": hardware(), "versions": versions(), "length": given.length} | found, indent=1))


if __name__ == "__main__":
    main()
