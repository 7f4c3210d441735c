"""Training and prediction as people write them, to compare with: a pass over the files per network.

    python benchmarks/usual_scripts.py --data ../shared/faces --preset lite --out submission.csv

*usual* is the script of a tutorial: Pillow, torchvision's transforms, float32 as it comes, two loader processes.
*tuned* is the same with what tuning guides advise: a loader process for every core, channels last, bfloat16
autocast where the machine has instructions for it, a fused optimizer, copies that do not wait. On a GPU it is there
once more with a compiled network. The command is *usual* from the files to a submission, as whole.py times it: the
networks of a preset from the same weights, for as many steps as ours take, without a look at validation people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import joblib
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from models import backbone
from models.backbone import Network
from models.labels import band, encode
from models.task import Augmentation
from models.tasks import build_task
from pipeline.comparison.cost import photos_per_epoch
from pipeline.dataset.folds import fold_table, with_folds
from pipeline.dataset.photos import read_data_set
from pipeline.run import presets
from pipeline.run.settings import PRESETS, TASKS
from pipeline.runtime.machine import has_bfloat16
from pipeline.training.sampling import epoch_steps, steps_of
from pipeline.training.start import packaged_folder

Size = tuple[int, int]


class PhotoFiles(Dataset):
    """Photos as files, with a label each."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[float], transform: transforms.Compose):
        self.paths, self.labels, self.transform = paths, torch.tensor(labels, dtype=torch.float32), transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), self.labels[index]


def transform_for(network: Network, size: Size, strength: Augmentation | None = None) -> transforms.Compose:
    """From a photo to a network's input; in training as strong as ours in light and place, and nothing beside."""
    altered = []
    if strength:
        shift, scale = (strength.shift, strength.shift), (1 - strength.scale, 1 + strength.scale)
        altered = [
            transforms.RandomHorizontalFlip(strength.flip),
            transforms.RandomAffine(strength.rotate, shift, scale),
            transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    mean, deviation = [(buffer.flatten() / 255).tolist() for buffer in (network.mean, network.deviation)]
    return transforms.Compose(
        [transforms.Resize(size), *altered, transforms.ToTensor(), transforms.Normalize(mean, deviation)]
    )


@dataclass(frozen=True)
class Script:
    device: str
    tuned: bool
    compiled: bool = False

    @staticmethod
    def all(device: str) -> dict[str, Script]:
        """The scripts that a device's owner would write, by name."""
        found = {"usual": Script(device, False), "tuned": Script(device, True)}
        return found | ({"tuned and compiled": Script(device, True, True)} if device == "cuda" else {})

    def loader(self, photos: PhotoFiles, batch_size: int, training: bool) -> DataLoader:
        return DataLoader(
            photos,
            batch_size,
            shuffle=training,
            drop_last=training,
            num_workers=joblib.cpu_count() if self.tuned else 2,
            pin_memory=self.tuned and self.device == "cuda",
        )

    def autocast(self) -> torch.autocast:
        helps = self.device == "cuda" or has_bfloat16()
        return torch.autocast(self.device, torch.bfloat16, enabled=self.tuned and helps)

    def ready(self, network: nn.Module) -> nn.Module:
        network = network.to(self.device)
        network = network.to(memory_format=torch.channels_last) if self.tuned else network
        return torch.compile(network) if self.compiled else network

    def put(self, pixels: Tensor) -> Tensor:
        if self.tuned:
            return pixels.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        return pixels.to(self.device)

    def train(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        photos: PhotoFiles,
        batch_size: int,
        lr: float,
        steps: int | None = None,
    ) -> Iterator[float]:
        """An epoch, or so many steps with a cosine of learning rates, a step at a time; gives the loss of each."""
        network = self.ready(network).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, fused=self.tuned)
        schedule = steps and torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        loader = self.loader(photos, batch_size, training=True)
        for pixels, labels in islice(chain.from_iterable(repeat(loader)), steps) if steps else loader:
            pixels, labels = self.put(pixels), labels.to(self.device, non_blocking=self.tuned)
            optimizer.zero_grad()
            with self.autocast():
                value = loss(network(pixels), labels)
            value.backward()
            optimizer.step()
            if schedule:
                schedule.step()
            yield value.item()

    @torch.no_grad()
    def predict(self, network: nn.Module, photos: PhotoFiles, batch_size: int) -> Tensor:
        """The network's logits (N, logits)."""
        network = self.ready(network).eval()
        logits = []
        for pixels, _ in self.loader(photos, batch_size, training=False):
            with self.autocast():
                logits.append(network(self.put(pixels)).float().cpu())
        return torch.cat(logits)


def submission(root: Path, preset: str) -> pd.DataFrame:
    """Train a preset's specialists on all train people but a fold, and label the eval photos; bands at 30 and 60."""
    data, script, predicted = read_data_set(root), Script("cpu", tuned=False), {}
    rows = with_folds(data.train, fold_table(data.train))
    rows = rows[rows["fold"] != 0]
    for task in TASKS:
        made = presets.settings_of(preset, task)
        one, size = build_task(task, made), (made.height, made.width)
        torch.manual_seed(0)
        network = backbone.build(made, one.num_logits, str(packaged_folder(made.backbone)))
        network.begin_at(one.initial_bias(torch.tensor(rows[task].to_numpy(np.float32))))
        labels = rows[task].to_numpy(np.float32).tolist()
        files = PhotoFiles(list(map(data.path, rows["photo"])), labels, transform_for(network, size, one.augmentation))
        steps = steps_of(made.epochs, epoch_steps(photos_per_epoch(task, made, rows), made.batch_size))
        losses = script.train(
            network.backbone,
            lambda logits, targets, one=one: one.loss(logits, targets, torch.ones_like(targets)),
            files, made.batch_size, made.lr, steps,
        )  # fmt: skip
        for step, loss in enumerate(losses, 1):
            if step % 20 == 0 or step == steps:
                print(f"usual {task}: step {step} of {steps}, loss {loss:.3f}", flush=True)
        unseen = PhotoFiles(
            list(map(data.path, data.eval["photo"])), [0.0] * len(data.eval), transform_for(network, size)
        )
        predicted[task] = one.predict(script.predict(network.backbone, unseen, made.batch_size)).numpy()
    mask, gender = predicted["mask"].argmax(1), (predicted["gender"][:, 0] >= 0.5).astype(int)
    ages = band(predicted["age"][:, 0])
    return pd.DataFrame({"photo": data.eval["photo"], "ans": encode(mask, gender, ages)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", choices=PRESETS, default="lite")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    submission(given.data.resolve(), given.preset).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
