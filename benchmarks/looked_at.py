"""Whether Grad-CAM shows where specialists look: the mask's below the nose, and what is left of it with random weights.

    python benchmarks/looked_at.py --run runs/drawn-small

The run is one of drawn people whose photos are not framed by faces. A hundred new people are drawn, a photo each, masks
worn in every way; the share of each specialist's map below the nose, which drawing knows, is told with its 95 %
interval, and that of the mask's minus the age's. Maps of the same networks with random weights are correlated, rank by
rank, with those of the trained ones (Adebayo et al. 2018).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measures import hardware
from scipy.stats import spearmanr

from models import backbone
from models.errors import UserError
from pipeline.images.framing import View, fit
from pipeline.prediction.grad_cam import looked_at
from pipeline.prediction.run_predictions import framing_of, networks_of
from pipeline.prediction.trained import trained_network
from pipeline.run.folder import open_run
from pipeline.run.settings import RunStage
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import HEIGHT, POINTS, WORN, backdrop, take

PEOPLE, DRAWS = 100, 4000


def photos() -> tuple[list[NDArray[np.uint8]], NDArray[np.float64]]:
    """Photos of new people, and how far down the nose is in each, as a share of its height."""
    made, noses = [], []
    for number in range(PEOPLE):
        rng = np.random.default_rng((18, number))
        person = Person(rng, number % 2, 18 + number * 7 % 60, 1.0)
        photo, points = take(person, backdrop(rng), rng, WORN[number % len(WORN)])
        made.append(photo)
        noses.append(points[POINTS.index("nose")][1] / HEIGHT)
    return made, np.array(noses)


def below(maps: NDArray[np.float32], noses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the share of each map (N, H, W) below the nose; NaN where a map is empty."""
    rows = (np.arange(maps.shape[1]) + 0.5) / maps.shape[1]
    inside = (maps * (rows[None] > noses[:, None])[:, :, None]).sum((1, 2))
    whole = maps.sum((1, 2))
    return np.divide(inside, whole, out=np.full(len(maps), np.nan), where=whole > 0)


def told(values: NDArray[np.float64]) -> list[float]:
    """The mean over people and its 95 % interval, people drawn again."""
    values = values[np.isfinite(values)]
    drawn = values[np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))].mean(1)
    return [round(float(one), 3) for one in (values.mean(), *np.quantile(drawn, [0.025, 0.975]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    run = open_run(RunStage.of(run=parser.parse_args().run), make=False)
    networks = networks_of(run, "specialists")
    if framing_of(networks) is not None:
        raise UserError("the run frames photos by faces: nobody has told where noses are in its frames.")
    shown, noses = photos()
    found: dict[str, object] = {"hardware": hardware(), "people": PEOPLE}
    shares, alike = {}, {}
    for task, folds in networks.items():
        one, network = trained_network(folds[0])
        view = View.of(folds[0].settings)
        pixels = np.stack([fit(photo, view) for photo in shown])
        (maps,) = looked_at(one, network, pixels).values()
        shares[task] = below(maps, noses)
        torch.manual_seed(0)
        random = backbone.build(folds[0].settings, one.num_logits, "none", one.learned)
        (other,) = looked_at(one, random, pixels).values()
        both = [(a.ravel(), b.ravel()) for a, b in zip(maps, other, strict=True) if a.any() and b.any()]
        alike[task] = {"photos": len(both), "correlation": told(np.array([spearmanr(a, b).statistic for a, b in both]))}
    found["share of the map below the nose"] = {task: told(share) for task, share in shares.items()}
    found["mask minus age"] = told(shares["mask"] - shares["age"])
    found["with random weights"] = alike
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
