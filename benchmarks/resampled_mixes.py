"""Label shift on a finished run: eval people drawn into other mixes of ages, estimated and scored.

    python benchmarks/resampled_mixes.py --run runs/faces-small --mixes 20 > resampled_mixes.json

Of each mix, the old are U(0.02, 0.40) of all and the young U(0.3, 0.6) of the rest, drawn with replacement from
the eval people of a band, as many in all as there are. The networks stay as they are; the combiner is fitted
anew to each draw's answers without seeing its truth. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from models.labels import BANDS, encode
from pipeline.answers import average_folds, cell
from pipeline.combiner import Combiner
from pipeline.inputs import gather, read_answers
from pipeline.photos import read_truth
from pipeline.runs import RunSettings, open_run
from pipeline.scoring import macro_f1
from pipeline.thresholds import Answers


def drawn_people(rng: np.random.Generator, truth: pd.DataFrame) -> list[str]:
    """As many people as there are, in a mix of ages of their own."""
    people = truth.drop_duplicates("person")
    old = rng.uniform(0.02, 0.40)
    young = rng.uniform(0.3, 0.6) * (1 - old)
    count = np.diff(np.rint(np.cumsum([young, 1 - old - young, old]) * len(people)).astype(int), prepend=0)
    return [
        person
        for band, size in enumerate(count)
        for person in rng.choice(people["person"][people["band"] == band].to_numpy(), size)
    ]


def with_people(table: pd.DataFrame, chosen: list[str], person: pd.Series) -> pd.DataFrame:
    """The rows of the chosen people's photos; whoever is chosen twice has twice as many photos."""
    rows = table.assign(who=table["photo"].map(person)).groupby("who").groups
    parts = [table.loc[rows[who]].assign(photo=table.loc[rows[who], "photo"] + f"#{i}") for i, who in enumerate(chosen)]
    return pd.concat(parts, ignore_index=True)


def one(validation: pd.DataFrame, answers: pd.DataFrame, truth: pd.DataFrame) -> dict:
    """Scores under each way to choose the thresholds, and how far the estimated mix is off."""
    right = truth.set_index("photo").loc[average_folds(answers)["photo"]]
    mix = np.bincount(right["band"], minlength=len(BANDS)) / len(right)
    hidden = answers.assign(person="")
    fitted = {
        "train": Combiner(prior="train").fit(validation, hidden),
        "estimate": Combiner(prior="estimate").fit(validation, hidden),
        "true": Combiner(prior=tuple(mix)).fit(validation, hidden),
    }

    def score(labels: pd.DataFrame) -> float:
        return macro_f1(right["label"], labels["label"])

    labels = {name: combiner.predict(answers) for name, combiner in fitted.items()}
    any_of = labels["train"]
    plain = any_of.assign(label=encode(any_of["mask"], any_of["gender"], np.digitize(any_of["age_years"], (30, 60))))
    surface = Answers(any_of["age_years"].to_numpy(), right["label"].to_numpy(), cell(any_of)).surface()
    mean, (low, high) = (fitted["estimate"].report_["expected"][key] for key in ("macro_f1", "interval"))
    reached = score(labels["estimate"])
    return {
        "mix": mix.round(3).tolist(),
        "estimated mix": fitted["estimate"].mix_.round(3).tolist(),
        "largest share error": float(np.abs(fitted["estimate"].mix_ - mix).max()),
        "warned": fitted["estimate"].report_["mix"]["unlike"],
        "macro_f1": {
            "30/60": score(plain),
            **{name: score(table) for name, table in labels.items()},
            "best possible": float(surface.values.max()),
        },
        "expected": {"macro_f1": mean, "interval": [low, high], "covers": bool(low <= reached <= high)},
    }


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--run", type=Path, required=True)
    reader.add_argument("--mixes", type=int, default=20)
    reader.add_argument("--seed", type=int, default=0)
    given = reader.parse_args()
    run = open_run(RunSettings(run=given.run), make=False)
    validation, answers = gather(run), read_answers(run.folder / "predictions.csv")
    truth = read_truth(run.data, run.follow_links)
    person = truth.set_index("photo")["person"]
    as_it_is = one(validation, answers, truth)
    draws = []
    for number in range(given.mixes):
        chosen = drawn_people(np.random.default_rng((given.seed, number)), truth)
        draws.append(one(validation, *(with_people(table, chosen, person) for table in (answers, truth))))
        print(f"{number + 1} of {given.mixes} mixes", file=sys.stderr)
    means = {name: float(np.mean([d["macro_f1"][name] for d in draws])) for name in draws[0]["macro_f1"]}
    gain = np.array([d["macro_f1"]["estimate"] - d["macro_f1"]["train"] for d in draws])
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
        "eval people as they are": as_it_is,
        "mixes": given.mixes,
        "mean macro_f1": means,
        "estimate minus train": {
            "mean": float(gain.mean()),
            "95 % interval of the mean": (
                gain.mean() + np.array([-1.96, 1.96]) * gain.std(ddof=1) / len(gain) ** 0.5
            ).tolist(),
        },
        "mean largest share error": float(np.mean([d["largest share error"] for d in draws])),
        "expected score covered at 90 %": float(np.mean([d["expected"]["covers"] for d in draws])),
        "warned": float(np.mean([d["warned"] for d in draws])),
        "draws": draws,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
