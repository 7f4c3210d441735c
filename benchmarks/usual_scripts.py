"""Training and prediction as people write them, for speed.py to compare with: a pass over the files per network.

*usual* is the script of a tutorial: Pillow, torchvision's transforms, float32 as it comes, two loader processes.
*tuned* is the same with what tuning guides advise: a loader process for every core, channels last, bfloat16
autocast where the machine has instructions for it, a fused optimizer, copies that do not wait. On a GPU it is there
once more with a compiled network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from models.backbone import Network
from models.cpu import faster
from models.task import Augmentation
from pipeline.runtime.machine import has_bfloat16

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
        network = faster.give_back(network).to(self.device)
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
    ) -> Iterator[float]:
        """An epoch, a step at a time; gives the loss of each."""
        network = self.ready(network).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, fused=self.tuned)
        for pixels, labels in self.loader(photos, batch_size, training=True):
            pixels, labels = self.put(pixels), labels.to(self.device, non_blocking=self.tuned)
            optimizer.zero_grad()
            with self.autocast():
                value = loss(network(pixels), labels)
            value.backward()
            optimizer.step()
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
